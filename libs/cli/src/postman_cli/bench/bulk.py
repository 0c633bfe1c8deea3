# SPDX-License-Identifier: Apache-2.0
"""bench bulk: many bytes on one connection.

Direct: 1 GiB from one host to another by vcl-bulk (libs/vcl/bench/bulk.c), by turns over kernel TCP and over a virtual
connection on the direct path. Two conditions: the network devices as hosts have them (segmentation and checksums by the
device, MTU 1,500), and the same with the MTU of data centres, 9,000.

Over a helper: small requests go on at a fixed rate while another process sends a stream to the same server through the
same helper, at a fixed rate that the machine can carry. The small requests' 99th percentile with the stream against
that without, in turns."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..checkout import RELEASE_BUILD
from ..demo.stack import Program, Stack, StackError, work_dir_for
from ..lab.network import LabNetwork
from ..lab.topology import DATA_DEVICE, TOPOLOGIES
from .catalog import Outcome
from .figure import figure
from .load import PORT, Load
from .replies import Replies
from .site import Request, whole_stack

PROGRAM = RELEASE_BUILD / "libs" / "vcl" / "bench" / "vcl-bulk"
MIB, ROUNDS = 1024, 3
BULK_PORT = 7100
MTUS = (1500, 9000)
OFFLOADS = ("tx", "on", "tso", "on", "gso", "on", "gro", "on", "tx-udp-segmentation", "on")
CONNECTIONS, SECONDS, TURNS = 200, 5, 9
SMALL_PER_S = 4000
STREAM_BYTES_PER_S = 20_000_000


def run(request: Request) -> Outcome:
    """Both parts."""
    outcome = Outcome()
    for mtu in MTUS:
        _direct(request, outcome, mtu)
    with whole_stack(request, "bulk", helpers=1) as stack:
        _beside(request, outcome, stack)
    return outcome


# --- direct -------------------------------------------------------------------------------------------------


def _direct(request: Request, outcome: Outcome, mtu: int) -> None:
    rounds = request.runs or ROUNDS
    work_dir_for("bench-bulk").mkdir(parents=True, exist_ok=True)
    with LabNetwork(TOPOLOGIES["direct"]) as lab:
        for name in ("c1", "s1"):
            lab.switch.run("ip", "link", "set", f"d-{name}", "mtu", str(mtu))
            lab[name].run("ip", "link", "set", DATA_DEVICE, "mtu", str(mtu))
            lab[name].run("ethtool", "-K", DATA_DEVICE, *OFFLOADS)
        with _serving(lab) as address:
            argv = [str(PROGRAM), "run", address, str(BULK_PORT), str(request.mib or MIB), str(rounds)]
            done = subprocess.run(lab["c1"].enter(argv), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise StackError(f"{PROGRAM.name} ended with {done.returncode}: {done.stderr.strip()[-500:]}")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    rates = {
        transport: [line["bytes"] / line["seconds"] / 1e6 for line in lines if line["transport"] == transport]
        for transport in ("vcl", "tcp")
    }
    request.say(f"MTU {mtu}: {rates}")
    outcome.figures.append(
        figure(
            "bulk",
            f"one connection, direct path, MTU {mtu}",
            rates["vcl"],
            "MB/s",
            baseline=rates["tcp"],
            baseline_name="kernel TCP",
            seed=request.seed,
        )
    )
    outcome.facts[f"MTU {mtu}"] = lines[-1].get("stats", {})


@contextmanager
def _serving(lab: LabNetwork) -> Iterator[str]:
    address = lab.topology.host("s1").data_address
    server = lab["s1"].start([str(PROGRAM), "serve", address, str(BULK_PORT)], stdout=subprocess.PIPE)
    try:
        time.sleep(0.5)
        yield address
    finally:
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(5)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
        if server.stdout is not None:
            server.stdout.close()


# --- beside small messages -----------------------------------------------------------------------------------


def _beside(request: Request, outcome: Outcome, stack: Stack) -> None:
    seconds = request.seconds or SECONDS
    load = Load(stack)
    load.start(request.connections or CONNECTIONS, VCL_PATHS="helpers")
    other = _second_client(stack)
    load.phase("warm", "open", rate=SMALL_PER_S, seconds=2)
    names: dict[str, list[str]] = {"alone": [], "beside": []}
    streamed = []
    for turn in range(request.runs or TURNS):
        for what, found in names.items():
            found.append(f"{what}-{turn}")
            if what == "beside":
                other.order("stream", bytes_per_s=STREAM_BYTES_PER_S, seconds=seconds + 1)
                time.sleep(0.5)
            seen = len(other.lines)
            load.phase(found[-1], "open", rate=SMALL_PER_S, seconds=seconds)
            if what == "beside":
                said = other.wait_for(lambda line: "streamed" in line, "the stream's end", after=seen)
                if said["error"]:
                    raise StackError(f"the stream ended early: {said['error']}")
                streamed.append(said["streamed"] / (seconds + 1) / 1e6)
    load.server.order("streams")
    arrived = load.server.wait_for(lambda line: "stream_bytes" in line, "the streams' count")
    other.order("finish")
    other.wait_for(lambda line: "done" in line, "the second client's end")
    verdict, replies = load.finish()
    if not verdict.clean or load.errors or arrived["stream_faults"]:
        outcome.faults.append(f"the ledger is clean: {verdict} {load.errors[:3]} {arrived}")
    phases = {line["phase"]: line for line in load.client.lines if "phase" in line}
    p99 = {what: [_p99(phases[name], replies) for name in found] for what, found in names.items()}
    outcome.figures.append(
        figure(
            "bulk",
            "small requests beside a stream through one helper, p99",
            p99["beside"],
            "ms",
            baseline=p99["alone"],
            baseline_name="without the stream",
            seed=request.seed,
        )
    )
    outcome.figures.append(figure("bulk", "the stream through the helper", streamed, "MB/s", seed=request.seed))


def _p99(phase: dict[str, Any], replies: Replies) -> float | None:
    return replies.between(phase["began_us"], phase["ended_us"]).latency_ms().p99


def _second_client(stack: Stack) -> Program:
    """A process of its own, with a session of its own to the same server."""
    where = ["--host", stack.lab.topology.host("s1").data_address, "--port", str(PORT)]
    arguments = ["client", *where, "--history", str(stack.work_dir / "stream.history")]
    front = "postman_cli.bench.load_front"
    client = stack.start_with_orders("c1", "load-stream", front, arguments, VCL_PATHS="helpers")
    client.wait_for(lambda line: bool(line.get("attached")), "a session")
    return client
