# SPDX-License-Identifier: Apache-2.0
"""Attackers in the lab, off the path and on it: forged RESUME, replays, injected data, OPEN floods, amplification.

No connection is stolen, corrupted or starved. Each attempt and what came of it becomes a row of a table. A longer run,
with more copies of everything and longer floods, writes it as a document:

    POSTMAN_ATTACK_S=10 POSTMAN_ATTACKS_DOC=docs/attacks.md .venv/bin/pytest tests/e2e/test_attacker.py
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import attack_report
import psutil
import pytest
from attack_kinds import ATTEMPTS, FORGED_ANSWERS, Attempt
from attack_wire import OPEN, OPEN_BYTES, authentic_opens, datagrams, opened

from postman_cli.demo.ledger import REQUEST, message
from postman_cli.demo.stack import Program, Stack
from postman_cli.demo.traffic import Traffic
from postman_contracts.rest import Resolution

ATTACK_S = float(os.environ.get("POSTMAN_ATTACK_S", "3"))

pytestmark = [pytest.mark.root, pytest.mark.timeout(300 + 20 * ATTACK_S)]

HERE = Path(__file__).parent
PORT = 7000
CONNECTIONS, RATE_PER_S, OPENERS = 16, 400, 3
COPIES = int(100 * ATTACK_S)
# Whoever has these gets what is answered to datagrams that claim to come from there: nobody asked for it.
VICTIM_MAC, VICTIM_IP, VICTIM_NET = "02:00:00:00:00:66", "198.18.0.66", "198.19.0.0"
ETHERNET_IP_UDP_BYTES = 42
FLOOD_RATE_PER_S = 201_000  # a little more than what is to be shown
AUTHENTIC_OPENS = int(20_000 * ATTACK_S)
SESSIONS_PER_CLIENT_MAX = 1024  # S17
# A tombstone lasts 10 s (C7). A second less: an answer leaves a moment after the clock was read.
TOMBSTONE_S_MIN = 9.0


def part(stack: Stack, host: str, role: str, *arguments: str, **env: str) -> Program:
    where = stack.lab.topology.host("s1").data_address
    path = os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])
    argv = [role.rstrip("0123456789"), where, str(PORT), *arguments]
    return stack.start(host, f"attacked-{role}", "attack_parts", argv, PYTHONPATH=path, **env)


@contextmanager
def captured(stack: Stack, folder: Path, *devices: str, only: str = "udp", count: int = 6000) -> Iterator[list[Path]]:
    folder.mkdir(exist_ok=True)
    paths = [folder / f"{device}.pcap" for device in devices]
    argv = ["tcpdump", "-B", "8192", "--immediate-mode", "-U", "-c", str(count)]
    dumps = [
        stack.lab.switch.start([*argv, "-i", f"d-{device}", "-w", str(path), only], stderr=subprocess.PIPE)
        for device, path in zip(devices, paths, strict=True)
    ]
    try:
        for dump in dumps:
            assert dump.stderr is not None
            assert b"listening" in dump.stderr.readline()
        yield paths
    finally:
        for dump in dumps:
            dump.terminate()
            dump.communicate()


def add_victim(stack: Stack) -> None:
    """A host that only counts what it gets."""
    switch = stack.lab.switch
    switch.run("ip", "link", "add", "d-victim", "type", "veth", "peer", "name", "victim0")
    switch.run("ip", "link", "set", "victim0", "up")
    switch.run("ip", "link", "set", "d-victim", "master", "data", "up")
    switch.run("bridge", "fdb", "replace", VICTIM_MAC, "dev", "d-victim", "master", "static")
    for host in ("s1", "c1"):
        stack.lab[host].run("ip", "neigh", "replace", VICTIM_IP, "lladdr", VICTIM_MAC, "dev", "data0")
    stack.lab["s1"].run("ip", "route", "add", f"{VICTIM_NET}/16", "via", VICTIM_IP)


def link_counters(stack: Stack, device: str) -> dict[str, int]:
    argv = stack.lab.switch.enter(["ip", "-s", "-j", "link", "show", device])
    return dict(json.loads(subprocess.run(argv, check=True, capture_output=True).stdout)[0]["stats64"]["tx"])


def udp_counters(stack: Stack, host: str) -> dict[str, int]:
    argv = stack.lab[host].enter(["grep", "^Udp:", "/proc/net/snmp"])
    names, values = subprocess.run(argv, check=True, capture_output=True, text=True).stdout.splitlines()
    return dict(zip(names.split()[1:], map(int, values.split()[1:]), strict=True))


def victim_bytes(stack: Stack) -> int:
    """UDP payload that was sent to the spoofed addresses so far."""
    tx = link_counters(stack, "d-victim")
    return tx["bytes"] - ETHERNET_IP_UDP_BYTES * tx["packets"]


def newest(program: Program) -> dict[str, Any]:
    assert program.process.poll() is None, program.log_tail()
    return program.lines[-1]


def received(client: Program) -> int:
    return int(newest(client)["received"])


def wait_replies(client: Program, more: int, timeout_s: float = 60) -> None:
    """The honest connections go on."""
    until, deadline = received(client) + more, time.monotonic() + timeout_s
    while received(client) < until:
        assert time.monotonic() < deadline, newest(client)
        time.sleep(0.05)


def nb_opened(programs: dict[str, Program]) -> int:
    return sum(newest(programs[name])["opened"] for name in programs if name.startswith("opener"))


def helper_used(client: Program, timeout_s: float = 60) -> int:
    deadline = time.monotonic() + timeout_s
    while True:
        used = max(map(int, newest(client)["helpers"]), default=0)
        if used != 0:
            return used
        assert time.monotonic() < deadline, newest(client)
        time.sleep(0.1)


def told_again(programs: dict[str, Program]) -> None:
    """The lines that they said last, and one that they were just saying, tell of what was before now."""
    heard = {name: len(program.lines) for name, program in programs.items()}
    for name, program in programs.items():
        program.wait_for(lambda _: True, "its next counters", after=heard[name] + 1)


def drops(program: Program) -> dict[str, int]:
    return dict(newest(program)["vcl"]["drops"])


def more(now: dict[str, int], before: dict[str, int]) -> dict[str, int]:
    return {name: n - before.get(name, 0) for name, n in now.items() if n > before.get(name, 0)}


def attempt_once(
    stack: Stack, attempt: Attempt, hostile: subprocess.Popen[bytes], programs: dict[str, Program], helper: str
) -> dict[str, Any]:
    host = {"server": "s1", "client": "c1", "helper": helper}[attempt.target]
    ends = {name: programs[name] for name in ("server", "client")}
    before = {name: drops(program) for name, program in ends.items()}
    before_bytes, before_helper = victim_bytes(stack), stack.worker_stats(helper)["drops"]
    assert hostile.stdin is not None
    assert hostile.stdout is not None
    order = [attempt.makes, f"d-{host}", stack.lab.topology.host(host).data_address, COPIES]
    hostile.stdin.write(json.dumps(order).encode() + b"\n")
    hostile.stdin.flush()
    sent = json.loads(hostile.stdout.readline())
    wait_replies(programs["client"], 50)
    told_again(ends)
    refused = {name: more(drops(program), before[name]) for name, program in ends.items()}
    refused["helper"] = more(stack.worker_stats(helper)["drops"], before_helper)
    return {
        **asdict(attempt),
        **sent,
        "bytes_to_spoofed_address": victim_bytes(stack) - before_bytes,
        "drops": {name: counts for name, counts in refused.items() if counts},
    }


def attempts(
    stack: Stack, kinds: tuple[Attempt, ...], pcaps: list[Path], programs: dict[str, Program], helper: str
) -> list[dict[str, Any]]:
    argv = [sys.executable, str(HERE / "attacker.py"), *map(str, pcaps), VICTIM_MAC, VICTIM_IP]
    hostile = stack.lab.switch.start(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        return [attempt_once(stack, attempt, hostile, programs, helper) for attempt in kinds]
    finally:
        hostile.communicate()


def made_up_open(pcaps: list[Path]) -> bytes:
    return next(d.payload for d in datagrams(pcaps[0]) if d.payload[0] & 31 == OPEN and len(d.payload) == OPEN_BYTES)


def authentic(stack: Stack) -> bytes:
    """What another client can make, which has a valid token of its own and says that it is everywhere."""
    where = f"host={stack.lab.topology.host('s1').data_address}&port={PORT}"
    found = Resolution.model_validate(stack.ask("registry", "GET", f"/v1/resolve?{where}&agent=mallory"))
    return b"".join(
        authentic_opens(
            AUTHENTIC_OPENS,
            token=found.token,
            token_key=found.token_key,
            server_id=found.server_id,
            shard=found.shard,
        )
    )


@contextmanager
def undisturbed(attacker: int) -> Iterator[None]:
    """The attacker has a machine of his own elsewhere: here, a real-time priority. What he attacks shares the rest as
    ever, before whatever else runs on this machine (sched(7), "The autogroup feature"), where we may say so."""

    def schedule(policy: int, priority: int, group_nice: int) -> None:
        with suppress(OSError):
            os.sched_setscheduler(attacker, policy, os.sched_param(priority))
        with suppress(OSError):
            Path("/proc/self/autogroup").write_text(str(group_nice))

    schedule(os.SCHED_FIFO, 1, -20)
    try:
        yield
    finally:
        schedule(os.SCHED_OTHER, 0, 0)


def flood(
    stack: Stack, name: str, opens: bytes, pcaps: list[Path], programs: dict[str, Program], work: Path
) -> dict[str, Any]:
    open_file, host = work / "opens.bin", stack.lab.topology.host("s1").data_address
    open_file.write_bytes(opens)
    target = next(d for d in datagrams(pcaps[1]) if d.to_ip == bytes(map(int, host.split("."))))
    server, client = programs["server"], programs["client"]
    told_again(programs)
    before, link, udp = newest(server)["vcl"], link_counters(stack, "d-s1"), udp_counters(stack, "s1")
    before_bytes, replies, before_opened = victim_bytes(stack), received(client), nb_opened(programs)
    rss = psutil.Process(server.process.pid).memory_info().rss
    began_s = time.monotonic()
    argv = [str(work / "flood"), "d-s1", target.to_mac.hex(":"), host, str(PORT), VICTIM_MAC]
    argv += [VICTIM_NET, str(ATTACK_S), str(FLOOD_RATE_PER_S), str(open_file)]
    sender = stack.lab.switch.start(argv, stdout=subprocess.PIPE)
    with undisturbed(sender.pid):
        said, _ = sender.communicate(timeout=120 + ATTACK_S)
    assert sender.returncode == 0
    ended_s, link_now, udp_now = time.monotonic(), link_counters(stack, "d-s1"), udp_counters(stack, "s1")
    told_again({"server": server, "client": client})
    after = newest(server)["vcl"]
    row = {
        "name": name,
        **json.loads(said),
        "began_s": began_s,
        "ended_s": ended_s,
        "offered": more(link_now, link),
        "queue": more(udp_now, udp),
        "server": {name: after[name] - before[name] for name in after if isinstance(after[name], int)},
        "sessions": after["sessions"],
        "rss_bytes": psutil.Process(server.process.pid).memory_info().rss - rss,
        "replies": received(client) - replies,
        "bytes_to_spoofed_address": victim_bytes(stack) - before_bytes,
        "drops": more(after["drops"], before["drops"]),
    }
    told_again(programs)  # one more open has begun and ended since
    return row | {"opened": nb_opened(programs) - before_opened}


def captured_opening(stack: Stack, folder: Path) -> tuple[dict[str, Program], list[Path]]:
    """The honest programs, from their first OPEN on, and a planned move (RESUME) on the way."""
    with captured(stack, folder, "c1", "s1") as pcaps:
        programs = {"server": part(stack, "s1", "server")}
        programs["server"].wait_for(lambda line: line.get("waiting_for") == "", "a registered server")
        # A busy machine can look like a dead helper; there must be batches to copy, so there is no other path.
        programs["client"] = part(stack, "c1", "client", str(CONNECTIONS), str(RATE_PER_S), VCL_PATHS="helpers")
        openers = {f"opener{n}": part(stack, "c1", f"opener{n}") for n in range(OPENERS)}
        programs |= openers
        programs["client"].wait_for(lambda line: line.get("connections") == CONNECTIONS, "connected clients")
        for opener in openers.values():
            opener.wait_for(lambda line: line.get("opened", 0) > 0, "a first connection")
        used = helper_used(programs["client"])
        stack.ask("registry", "POST", f"/v1/helpers/{used}/drain", {})
        wait_replies(programs["client"], 400)
        stack.ask("registry", "POST", f"/v1/helpers/{used}/undrain", {})
    return programs, pcaps


def asserted_attempts(rows: list[dict[str, Any]], accepted: int, honest: int, acks: dict[bytes, dict]) -> None:
    # To an address that asked for nothing goes at most three times what came from there (S17, S18).
    for row in rows:
        assert row["bytes_to_spoofed_address"] <= 3 * row["bytes"], row
    # S2, C7: an OPEN that is repeated makes no second connection before the first one's tombstone has ended.
    for cids in acks.values():
        times = sorted(cids.values())
        assert all(later - sooner > TOMBSTONE_S_MIN for sooner, later in pairwise(times)), times
    # Nothing else was opened that nobody asked for. On what such copies open nobody speaks (security.md).
    assert accepted <= honest + sum(len(cids) - 1 for cids in acks.values())


def asserted_flood(row: dict[str, Any]) -> None:
    """Nobody starved: what honest clients opened meanwhile was opened, and their connections went on."""
    assert row["opened"] > 0
    assert row["replies"] > 0
    assert row["bytes_to_spoofed_address"] <= row["bytes"], row  # each answer to an OPEN is shorter than that
    assert row["server"]["accepts"] <= row["opened"] + SESSIONS_PER_CLIENT_MAX


def test_attackers_steal_corrupt_and_starve_nothing(shared_stack: Stack, tmp_path: Path) -> None:
    stack = shared_stack
    names = stack.wait_helpers()
    add_victim(stack)
    subprocess.run(["cc", "-O2", "-o", str(tmp_path / "flood"), str(HERE / "flood.c")], check=True)
    # The answers to all OPENs, honest ones and copies, by whichever path: IP and UDP headers, then the frame's type.
    answers = captured(stack, tmp_path / "acks", "c1", "victim", only="udp[8] = 0x24", count=1_000_000)
    with answers as ack_pcaps:
        programs, pcaps = captured_opening(stack, tmp_path / "seen")
        helper = names[helper_used(programs["client"])]
        worker = stack.worker_pid(helper)
        rows = attempts(stack, ATTEMPTS, pcaps, programs, helper)
        accepted = newest(programs["server"])["vcl"]["accepts"]
        told_again({name: program for name, program in programs.items() if name.startswith("opener")})
        honest = CONNECTIONS + nb_opened(programs) + OPENERS
    acks = opened(*ack_pcaps)
    rows += attempts(stack, FORGED_ANSWERS, pcaps, programs, helper)
    floods = [
        flood(stack, "made up", made_up_open(pcaps), pcaps, programs, tmp_path),
        flood(stack, "authentic", authentic(stack), pcaps, programs, tmp_path),
    ]
    wait_replies(programs["client"], 400)

    # In this order: what a program still does when it is told to stop, the next one answers.
    final = {}
    for name in (*(f"opener{n}" for n in range(OPENERS)), "client", "server"):
        programs[name].stop(timeout_s=60)
        final[name] = next(line for line in reversed(programs[name].lines) if line["final"])
    report = {
        "run": {
            "seconds": ATTACK_S,
            "connections": CONNECTIONS,
            "rate": RATE_PER_S,
            "authentic": AUTHENTIC_OPENS,
            "openers": OPENERS,
        },
        "rows": rows,
        "floods": floods,
        "final": final,
        "opens": [times for name in final if name.startswith("opener") for times in final[name]["opens"]],
        "not_vcl": [why for name in final if name.startswith("opener") for why in final[name]["not_vcl"]],
        "again": sum(len(cids) - 1 for cids in acks.values()),
        "accepted": accepted,
        "honest": honest,
    }
    (stack.work_dir / "attacks.json").write_text(json.dumps(report, indent=1))
    print(attack_report.document(report))  # noqa: T201 (what this test is for)
    if "POSTMAN_ATTACKS_DOC" in os.environ:
        Path(os.environ["POSTMAN_ATTACKS_DOC"]).write_text(attack_report.document(report))

    # Nothing corrupted, lost or given to somebody else, at either end; no connection ended.
    assert final["client"]["clean"], final["client"]
    assert final["server"]["clean"], final["server"]
    assert final["client"]["connects"] == CONNECTIONS
    assert stack.worker_pid(helper) == worker
    # Who does not hear of the registry in time (its 2 s are spent on a busy machine) connects all the same.
    assert all("registry unreachable" in why for why in report["not_vcl"])
    asserted_attempts(rows, accepted, honest, acks)
    for row in floods:
        asserted_flood(row)
    # The floods were told apart from honest OPENs by name, and asked for what only an address's owner hears.
    assert floods[0]["drops"].get("token", 0) > 0
    assert floods[0]["drops"].get("mac", 0) > 0
    assert floods[1]["server"]["open_cookies"] > 0


def test_encrypted_payload_is_on_no_wire(shared_stack: Stack, tmp_path: Path) -> None:
    """W11: a capture of the client's leg and of the trunk has none of the messages; of a plain connection it has."""
    seen = {}
    for encrypt, port in (("1", 7001), ("0", 7002)):
        traffic = Traffic(shared_stack, port=port)
        with captured(shared_stack, tmp_path / encrypt, "c1", "s1") as pcaps:
            traffic.start(connections=4, requests=50, VCL_ENCRYPT=encrypt, VCL_PATHS="helpers")
            verdict, client, _ = traffic.finish()
        assert verdict.clean, verdict
        assert client["errors"] == []
        wires = [path.read_bytes() for path in pcaps]
        assert min(map(len, wires)) > 10_000
        texts = [message(REQUEST, connection, n)[16:48] for connection in range(6) for n in range(50)]
        seen[encrypt] = [sum(text in wire for text in texts) for wire in wires]
    assert seen["1"] == [0, 0]
    assert min(seen["0"]) > 0
