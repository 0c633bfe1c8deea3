# SPDX-License-Identifier: Apache-2.0
"""Attackers in the lab, off the path and on it: forged RESUME, replays, injected data, an OPEN flood, amplification.

No connection is stolen, corrupted or starved. Each attempt and what came of it becomes a row of a table; with
POSTMAN_ATTACKS_DOC the table is written there as a document (docs/attacks.md):

    POSTMAN_ATTACKS_DOC=docs/attacks.md .venv/bin/pytest tests/e2e/test_attacker.py
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import pytest
from scapy.layers.inet import IP, UDP
from scapy.utils import PcapReader

from postman_cli.demo.ledger import REQUEST, message
from postman_cli.demo.stack import Program, Stack
from postman_cli.demo.traffic import Traffic

pytestmark = [pytest.mark.root, pytest.mark.timeout(400)]

HERE = Path(__file__).parent
PORT = 7000
CONNECTIONS, RATE_PER_S = 16, 400
# Whoever has these gets what is answered to datagrams that claim to come from there: nobody asked for it.
VICTIM_MAC, VICTIM_IP = "02:00:00:00:00:66", "198.18.0.66"
ETHERNET_IP_UDP_BYTES = 42
FLOOD_S, FLOOD_RATE_PER_S = 10, 200_000
COUNT = 1000
JUDGED = ("lost", "duplicated", "reordered", "altered")


@dataclass(frozen=True)
class Attempt:
    name: str
    attacker: str
    makes: str  # what attacker.py makes
    target: str  # "server", "helper" or "client"
    rules: str


ATTEMPTS = (
    Attempt("Data with a guessed connection id", "off path", "data, guessed id, spoofed", "server", "W5, W7"),
    Attempt("Data with a guessed connection id", "off path", "data, guessed id, spoofed", "helper", "W5, W9"),
    Attempt("RESUME of a known session, guessed MAC", "on path", "forged RESUME, spoofed", "server", "W6, S3"),
    Attempt("RESUME of a known session, guessed MAC", "on path", "forged RESUME", "helper", "W6, S3"),
    Attempt(
        "Data of a known connection, guessed numbers and check", "on path", "data, known id, spoofed", "server", "W7"
    ),
    Attempt("Data of a known connection, guessed numbers and check", "on path", "data, known id", "client", "W7"),
    Attempt(
        "OPEN, RESUME, PROBE copied, from another address", "on path", "copied control, spoofed", "server", "S2, S3, S8"
    ),
    Attempt(
        "OPEN, RESUME, PROBE copied, from another address", "on path", "copied control, spoofed", "helper", "S2, S3, S8"
    ),
    Attempt("Data copied, from another address", "on path", "copied data, spoofed", "server", "S6, C2"),
    Attempt("Everything copied, from its own address", "on path", "copies", "helper", "C2, S3"),
    Attempt("Everything copied, from its own address", "on path", "copies", "client", "C2"),
    Attempt("Batches copied, from their own address", "on path (trunk)", "copies", "server", "T2"),
    Attempt("Batches copied, from another address", "on path (trunk)", "copies, spoofed", "server", "T2, T3"),
    Attempt("Batches and frames with one bit altered", "on path (trunk)", "altered", "server", "T1, W6, W7"),
    Attempt("Answers of the server with guessed MACs and tokens", "on path", "forged answers", "client", "W6, C9"),
    Attempt("BUSY and PONG (they have no MAC)", "on path", "forged hints", "client", "O3, S11"),
)


def part(stack: Stack, host: str, role: str, *arguments: str, **env: str) -> Program:
    where = stack.lab.topology.host("s1").data_address
    path = os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])
    return stack.start(
        host, f"attacked-{role}", "attack_parts", [role, where, str(PORT), *arguments], PYTHONPATH=path, **env
    )


@contextmanager
def captured(stack: Stack, path: Path, *hosts: str) -> Iterator[list[Path]]:
    paths = [path / f"{host}.pcap" for host in hosts]
    dumps = [
        stack.lab.switch.start(
            ["tcpdump", "-i", f"d-{host}", "-B", "8192", "--immediate-mode", "-U", "-w", str(to), "-c", "6000", "udp"]
        )
        for host, to in zip(hosts, paths, strict=True)
    ]
    try:
        time.sleep(1.0)  # tcpdump says nothing once it listens
        yield paths
    finally:
        for dump in dumps:
            dump.terminate()
            dump.wait()


def add_victim(stack: Stack) -> None:
    """A host that only counts what it gets."""
    switch = stack.lab.switch
    switch.run("ip", "link", "add", "d-victim", "type", "veth", "peer", "name", "victim0")
    switch.run("ip", "link", "set", "victim0", "up")
    switch.run("ip", "link", "set", "d-victim", "master", "data", "up")
    switch.run("bridge", "fdb", "replace", VICTIM_MAC, "dev", "d-victim", "master", "static")
    for host in ("s1", "c1"):
        stack.lab[host].run("ip", "neigh", "replace", VICTIM_IP, "lladdr", VICTIM_MAC, "dev", "data0")


def victim_bytes(stack: Stack) -> int:
    """UDP payload that was sent to the spoofed address so far."""
    argv = stack.lab.switch.enter(["ip", "-s", "-j", "link", "show", "d-victim"])
    tx = json.loads(subprocess.run(argv, check=True, capture_output=True).stdout)[0]["stats64"]["tx"]
    return int(tx["bytes"]) - ETHERNET_IP_UDP_BYTES * int(tx["packets"])


def newest(program: Program) -> dict:
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


def helper_used(client: Program, timeout_s: float = 60) -> int:
    """The helper on the client's path; on a busy machine it may be on the direct one for some seconds."""
    deadline = time.monotonic() + timeout_s
    while True:
        used = max(map(int, newest(client)["helpers"]), default=0)
        if used != 0:
            return used
        assert time.monotonic() < deadline, newest(client)
        time.sleep(0.1)


def drops(program: Program) -> dict[str, int]:
    return dict(newest(program)["vcl"]["drops"])


def new_drops(program: Program, before: dict[str, int]) -> dict[str, int]:
    time.sleep(0.6)  # it tells twice a second
    return {name: n - before.get(name, 0) for name, n in drops(program).items() if n > before.get(name, 0)}


def attempt_once(stack: Stack, attempt: Attempt, pcaps: list[Path], programs: dict[str, Program], helper: str) -> dict:
    host = {"server": "s1", "client": "c1", "helper": helper}[attempt.target]
    argv = [sys.executable, str(HERE / "attacker.py"), *map(str, pcaps), attempt.makes, f"d-{host}"]
    argv += [stack.lab.topology.host(host).data_address, str(COUNT), VICTIM_MAC, VICTIM_IP]
    before = {name: drops(program) for name, program in programs.items() if name != "opener"}
    before_bytes, before_helper = victim_bytes(stack), stack.worker_stats(helper)["drops"]
    done = subprocess.run(stack.lab.switch.enter(argv), capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    sent = json.loads(done.stdout)
    wait_replies(programs["client"], 200)
    refused = {name: new_drops(programs[name], counts) for name, counts in before.items()}
    helper_now = stack.worker_stats(helper)["drops"]
    refused["helper"] = {k: n - before_helper.get(k, 0) for k, n in helper_now.items() if n > before_helper.get(k, 0)}
    return {
        **asdict(attempt),
        **sent,
        "bytes_to_spoofed_address": victim_bytes(stack) - before_bytes,
        "drops": {name: counts for name, counts in refused.items() if counts},
    }


def flood(stack: Stack, pcaps: list[Path], programs: dict[str, Program], work: Path) -> dict:
    program, open_file = work / "flood", work / "open.bin"
    subprocess.run(["cc", "-O2", "-o", str(program), str(HERE / "flood.c")], check=True)
    with PcapReader(str(pcaps[0])) as packets:
        opens = [p for p in packets if UDP in p and len(p[UDP].payload) == 136 and bytes(p[UDP].payload)[0] == 0x22]
    open_file.write_bytes(bytes(opens[0][UDP].payload))
    with PcapReader(str(pcaps[1])) as packets:
        target = next(p for p in packets if UDP in p and p[IP].dst == stack.lab.topology.host("s1").data_address)
    before, before_bytes, opened = drops(programs["server"]), victim_bytes(stack), newest(programs["opener"])["opened"]
    replies, before_stats = received(programs["client"]), newest(programs["server"])["vcl"]
    argv = [str(program), "d-s1", target.dst, target[IP].dst, str(PORT), VICTIM_MAC, VICTIM_IP]
    argv += [str(FLOOD_S), str(FLOOD_RATE_PER_S), str(open_file)]
    done = subprocess.run(stack.lab.switch.enter(argv), capture_output=True, text=True, timeout=120, check=True)
    during = {
        "replies_meanwhile": received(programs["client"]) - replies,
        "opened_meanwhile": newest(programs["opener"])["opened"] - opened,
    }
    time.sleep(1.0)
    after = newest(programs["server"])["vcl"]
    return {
        "name": "OPENs: one copied, other tokens, other sessions, other MACs, each from another port",
        "attacker": "off path, flood",
        "makes": "flood",
        "target": "server",
        "rules": "K2, K3, S2, S17",
        **json.loads(done.stdout),
        **during,
        "datagrams_read": after["datagrams_in"] - before_stats["datagrams_in"],
        "sessions_now": after["sessions"],
        "cookies": after["open_cookies"] - before_stats["open_cookies"],
        "bytes_to_spoofed_address": victim_bytes(stack) - before_bytes,
        "drops": {"server": new_drops(programs["server"], before)},
    }


def captured_opening(stack: Stack, tmp_path: Path) -> tuple[dict[str, Program], list[Path]]:
    """The honest programs, from their first OPEN on, and a planned move (RESUME) on the way."""
    with captured(stack, tmp_path, "c1", "s1") as pcaps:
        programs = {"server": part(stack, "s1", "server")}
        programs["server"].wait_for(lambda line: line.get("waiting_for") == "", "a registered server")
        programs["client"] = part(stack, "c1", "client", str(CONNECTIONS), str(RATE_PER_S))
        programs["client"].wait_for(lambda line: line.get("connections") == CONNECTIONS, "connected clients")
        programs["opener"] = part(stack, "c1", "opener")
        programs["opener"].wait_for(lambda line: line.get("opened", 0) > 0, "a first connection")
        wait_replies(programs["client"], 200)
        used = helper_used(programs["client"])
        stack.ask("registry", "POST", f"/v1/helpers/{used}/drain", {})
        wait_replies(programs["client"], 600)
        stack.ask("registry", "POST", f"/v1/helpers/{used}/undrain", {})
    return programs, pcaps


def test_attackers_steal_corrupt_and_starve_nothing(stack: Stack, tmp_path: Path) -> None:
    names = stack.wait_helpers()
    add_victim(stack)
    programs, pcaps = captured_opening(stack, tmp_path)
    helper = names[helper_used(programs["client"])]
    worker = stack.worker_pid(helper)

    rows = [attempt_once(stack, attempt, pcaps, programs, helper) for attempt in ATTEMPTS]
    rows.append(flood(stack, pcaps, programs, tmp_path))
    wait_replies(programs["client"], 400)

    # In this order: what a program still does when it is told to stop, the next one answers.
    final = {}
    for name in ("opener", "client", "server"):
        programs[name].stop(timeout_s=60)
        final[name] = next(line for line in reversed(programs[name].lines) if line["final"])
    report = {"rows": rows, "final": final}
    (stack.work_dir / "attacks.json").write_text(json.dumps(report, indent=1))
    print(table(report))  # noqa: T201 (what this test is for)
    if "POSTMAN_ATTACKS_DOC" in os.environ:
        Path(os.environ["POSTMAN_ATTACKS_DOC"]).write_text(document(report))

    client, server, opener = final["client"], final["server"], final["opener"]
    # Nothing corrupted, lost or given to somebody else, at either end; no connection ended.
    assert client["clean"], client
    assert server["clean"], server
    assert client["connects"] == CONNECTIONS
    # Nothing opened that nobody asked for, and the path is where the client put it.
    # But copies of an OPEN whose connection and tombstone have ended: nobody speaks on what they open (security.md).
    copies = sum(row["opens_seen"] for row in rows if row["makes"].startswith("cop")) + 1
    assert server["accepted"] <= CONNECTIONS + opener["opened"] + copies
    assert stack.worker_pid(helper) == worker
    # Nobody starved: each OPEN that an honest client sent was answered, the flood's seconds too.
    assert opener["not_vcl"] == []
    assert rows[-1]["opened_meanwhile"] > 0
    assert rows[-1]["replies_meanwhile"] > 0
    # Nobody else was shot at: to an address that asked for nothing goes at most three times what came from there.
    for row in rows:
        assert row["bytes_to_spoofed_address"] <= 3 * row["bytes"], row
    # The flood was told apart from honest OPENs by name.
    flooded = rows[-1]["drops"]["server"]
    assert flooded.get("token", 0) > 0
    assert flooded.get("mac", 0) > 0


def table(report: dict) -> str:
    lines = ["| attempt | attacker | at | sent | bytes | answered to a spoofed address | dropped by name | rules |"]
    lines.append("|---|---|---|---|---|---|---|---|")
    for row in report["rows"]:
        who = "; ".join(
            f"{name}: " + ", ".join(f"{reason} {n}" for reason, n in sorted(counts.items()))
            for name, counts in row["drops"].items()
        )
        ratio = f"{row['bytes_to_spoofed_address']} bytes ({row['bytes_to_spoofed_address'] / row['bytes']:.2f})"
        lines.append(
            f"| {row['name']} | {row['attacker']} | {row['target']} | {row['sent']} | {row['bytes']} | {ratio} "
            f"| {who or 'nothing: repeated what is known'} | {row['rules']} |"
        )
    return "\n".join(lines)


def document(report: dict) -> str:
    flooded, final = report["rows"][-1], report["final"]
    times = sorted(final["opener"]["times_ms"])
    client, server = final["client"], final["server"]
    judged = {
        end: ", ".join(f"{word} {book[word]}" for word in JUDGED) for end, book in final.items() if end != "opener"
    }
    return f"""# Attacks in the lab

Written by `POSTMAN_ATTACKS_DOC=docs/attacks.md .venv/bin/pytest tests/e2e/test_attacker.py`, which also asserts what
[security.md](security.md) says of them. Real parts: control plane, two DPDK helpers, a server, {CONNECTIONS}
connections with {RATE_PER_S} requests a second, and a client that opens one connection after the other, each of a new
session. The attacker sits at the switch, with captures of the client's leg and of the trunk.

{table(report)}

Of the flood, {flooded["sent"]} OPENs left in {flooded["seconds"]} s: {flooded["rate_per_s"]:.0f} a second, of
{FLOOD_RATE_PER_S} that were asked for (two shared cores). The server read {flooded["datagrams_read"]} datagrams; the
rest was lost in the kernel's queues. Meanwhile {flooded["opened_meanwhile"]} honest connections were opened,
{flooded["replies_meanwhile"]} replies came, and the server asked for {flooded["cookies"]} cookies; it had
{flooded["sessions_now"]} sessions afterwards.

- At the client {client["received"]} replies: {judged["client"]}; connections that ended: {client["errors"]}.
- At the server {server["received"]} requests: {judged["server"]}.
- Opened one after the other: {len(times)}, over plain TCP {len(final["opener"]["not_vcl"])}; time to open: median
  {median(times):.1f} ms, longest {times[-1]:.1f} ms (not asserted).
"""


def test_encrypted_payload_is_on_no_wire(stack: Stack, tmp_path: Path) -> None:
    """W11: a capture of the client's leg and of the trunk has none of the messages; of a plain connection it has."""
    seen = {}
    for encrypt, port in (("1", 7001), ("0", 7002)):
        folder = tmp_path / encrypt
        folder.mkdir()
        traffic = Traffic(stack, port=port)
        with captured(stack, folder, "c1", "s1") as pcaps:
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
