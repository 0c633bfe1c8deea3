# SPDX-License-Identifier: Apache-2.0
"""Runs the demo: builds the lab and the stack, lets the client send, kills the helper in use, reads both ledgers."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from ..lab.network import LabNetwork
from ..lab.topology import TOPOLOGIES
from . import timing
from .stack import Stack, StackError
from .traffic import Traffic

# What the demo promises of assembling, where there are enough busy connections for it.
MESSAGES_PER_TRUNK_DATAGRAM_MIN = 4
CONNECTIONS_TO_ASSEMBLE = 64


@dataclass(frozen=True)
class DemoOptions:
    connections: int = 64
    requests: int = 200_000
    depth: int = 1
    hold_us_max: int = 100
    kill: bool = True


@dataclass(frozen=True)
class _Snapshot:
    """Counters at one moment, to tell the phases apart."""

    at_ns: int
    server_cpu_s: float
    batches: int
    entries: int


class Demo:
    def __init__(self, options: DemoOptions, work_dir: Path, say: Callable[[str], None]) -> None:
        self.options = options
        self.work_dir = work_dir
        self.say = say
        self.progress: Callable[[int], None] = lambda replies: None
        self._helper_names: dict[int, str] = {}
        self._killed: dict[str, Any] | None = None
        self._snapshots: list[_Snapshot] = []
        self._dead_workers: list[dict[str, Any]] = []

    def run(self) -> dict[str, Any]:
        """The result object; `ok` says whether everything that the demo claims held."""
        shutil.rmtree(self.work_dir, ignore_errors=True)
        self.work_dir.mkdir(parents=True)
        with LabNetwork(TOPOLOGIES["demo"]) as lab, Stack(lab, self.work_dir) as stack:
            self._start(stack)
            traffic = self._traffic(stack)
            if self.options.kill:
                traffic.follow(self.progress, until=self.options.requests // 2, on_helper=True)
                self._kill(stack, traffic)
            traffic.follow(self.progress)
            self.progress(self.options.requests)
            return self._result(stack, traffic)

    def _start(self, stack: Stack) -> None:
        self.say("control plane: Postgres, NATS, registry")
        stack.start_control()
        helpers = stack.lab.topology.with_role("helper")
        self.say(f"helpers: {len(helpers)} DPDK workers with their supervisors")
        for host in helpers:
            stack.start_helper(host, POSTMAN_HELPER_HOLD_US_MAX=str(self.options.hold_us_max))
        self._helper_names = stack.wait_helpers()

    def _traffic(self, stack: Stack) -> Traffic:
        self.say(f"{self.options.connections} connections, {self.options.requests:,} requests of 64 bytes")
        traffic = Traffic(stack)
        traffic.start(connections=self.options.connections, requests=self.options.requests, depth=self.options.depth)
        self._snapshots.append(self._snapshot(stack, traffic))
        return traffic

    def _snapshot(self, stack: Stack, traffic: Traffic) -> _Snapshot:
        assert traffic.server is not None
        times = psutil.Process(traffic.server.process.pid).cpu_times()
        alive = [stack.worker_stats(host) for host in stack.helpers if host not in self._without_worker(stack)]
        counters = [*alive, *self._dead_workers]
        return _Snapshot(
            time.monotonic_ns(),
            times.user + times.system,
            sum(c["trunk_batches_out"] for c in counters),
            sum(c["trunk_data_entries_out"] for c in counters),
        )

    def _without_worker(self, stack: Stack) -> set[str]:
        missing = set()
        for host in stack.helpers:
            try:
                stack.worker_pid(host)
            except StackError:
                missing.add(host)
        return missing

    def _kill(self, stack: Stack, traffic: Traffic) -> None:
        helper_id = traffic.helper_id
        if helper_id == 0:
            raise StackError("the client uses no helper: its path is direct")
        name = self._helper_names[helper_id]
        self._snapshots.append(self._snapshot(stack, traffic))
        last_words = stack.worker_stats(name)
        killed_ns = stack.kill_worker(name)
        # Its counters die with it; what it said a moment before stands for it from here on.
        self._dead_workers.append(last_words)
        self._killed = {"helper_id": helper_id, "name": name, "signal": "SIGKILL", "killed_ns": killed_ns}
        self.say(f"killed the worker of helper {name} (id {helper_id}) with SIGKILL")

    def _result(self, stack: Stack, traffic: Traffic) -> dict[str, Any]:
        self._snapshots.append(self._snapshot(stack, traffic))
        verdict, client_report, server_report = traffic.finish()
        killed = [self._death(client_report)] if self._killed else []
        phases = self._phases(client_report)
        trunk = server_report["vcl"]
        per_datagram = trunk["trunk_data_entries_in"] / max(trunk["trunk_batches_in"], 1)
        result: dict[str, Any] = {
            "demo": asdict(self.options),
            "phases": phases,
            "ledger": verdict.as_dict(),
            "requests": sum(book["sent"]["messages"] for book in client_report["books"].values()),
            "lost": verdict.lost,
            "duplicated": verdict.duplicated,
            "reordered": verdict.reordered,
            "messages_per_trunk_datagram": round(per_datagram, 2),
            "trunk_datagrams": trunk["trunk_batches_in"],
            "killed": killed,
            "errors": client_report["errors"] + server_report["errors"],
        }
        result["broken_claims"] = self._broken_claims(result, clean=verdict.clean)
        result["ok"] = not result["broken_claims"]
        return result

    def _broken_claims(self, result: dict[str, Any], *, clean: bool) -> list[str]:
        """Everything that the demo claims and that did not hold, in words."""
        per_datagram = result["messages_per_trunk_datagram"]
        few_connections = self.options.connections < CONNECTIONS_TO_ASSEMBLE
        claims = {
            "the ledger is clean": clean,
            "no end met an error": not result["errors"],
            f"all {self.options.requests:,} requests were sent": result["requests"] == self.options.requests,
            "the helper in use was killed": bool(result["killed"]) == self.options.kill,
            "its death was detected": all(death["detection_ms"] is not None for death in result["killed"]),
            f"more than {MESSAGES_PER_TRUNK_DATAGRAM_MIN} messages per trunk datagram, found {per_datagram}": (
                few_connections or per_datagram > MESSAGES_PER_TRUNK_DATAGRAM_MIN
            ),
        }
        return [claim for claim, holds in claims.items() if not holds]

    def _phases(self, client_report: dict[str, Any]) -> list[dict[str, Any]]:
        names = ["before the kill", "after the kill"] if self._killed else ["all"]
        edges = [client_report["started_ns"], *([self._killed["killed_ns"]] if self._killed else [])]
        edges.append(client_report["ended_ns"])
        phases = []
        for index, name in enumerate(names):
            figures = asdict(timing.phase(name, client_report["times"], edges[index], edges[index + 1]))
            before, after = self._snapshots[index], self._snapshots[index + 1]
            batches = after.batches - before.batches
            figures["server_cpu_us_per_request"] = (
                (after.server_cpu_s - before.server_cpu_s) * 1e6 / figures["delivered"]
                if figures["delivered"]
                else None
            )
            figures["messages_per_trunk_datagram"] = (after.entries - before.entries) / batches if batches > 0 else None
            phases.append({key: round(v, 2) if isinstance(v, float) else v for key, v in figures.items()})
        return phases

    def _death(self, client_report: dict[str, Any]) -> dict[str, Any]:
        """Detection: from the kill to the client's verdict; resume: to the first byte on each connection after it."""
        assert self._killed is not None
        killed_ns, helper_id = self._killed["killed_ns"], self._killed["helper_id"]

        def since_kill_ms(kind: str) -> float | None:
            for event in client_report["path_events"]:
                after = event["at_us"] * 1000 - killed_ns
                if event["type"] == kind and event["from_helper_id"] == helper_id and after > 0:
                    return float(round(after / 1e6, 2))
            return None

        resumed = timing.resume_times_ms(client_report["times"], killed_ns)
        return {
            **self._killed,
            "detection_ms": since_kill_ms("path_suspect"),
            "moved_ms": since_kill_ms("path_moved"),
            "resume_ms": {
                "connections": len(resumed),
                "p50": timing.percentile(resumed, 0.5),
                "p99": timing.percentile(resumed, 0.99),
                "max": resumed[-1] if resumed else None,
            },
        }
