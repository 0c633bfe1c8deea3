# SPDX-License-Identifier: Apache-2.0
"""bench overload: a server that computes a fixed time for each request, offered 0.5 to 3 times what it can do.

The capacity is measured first, in the same run: a closed loop in which every connection always waits for a reply. Then
an open loop offers each load; a request that comes when every connection has one outstanding is turned away and counts
as offered, not as answered (libs/vcl/bench/load_client.h). Goodput is replies a second after the first fifth of a
phase.

All goes by one helper: a session whose helper does not answer in time, on a machine with more to do than it can, is on
the direct path for a while, and the loads would be measured on different paths.

After the highest load comes the lowest again: the time until the 99th percentile of three windows in a row is back
among those that the lowest load had before. What is outstanding when the highest load ends is the load's own, and must
be answered beside the new requests, which takes (what is outstanding) / (capacity - new requests) whatever the
transport does. So the load has no more connections than a server can catch up with in the time that is to be measured.

The series of loads is repeated, and the figures are medians: a shared machine's capacity is not the same from second to
second."""

from __future__ import annotations

import time
from typing import Any

from ..demo.stack import Stack
from .catalog import Outcome
from .figure import figure
from .load import Load
from .replies import Replies
from .site import Request, whole_stack

CONNECTIONS, SECONDS, SETTLE_S, RUNS = 256, 5, 2, 3
WORK_US = 40
LOADS = (0.5, 1.0, 1.5, 2.0, 3.0)
BACK = "back"
WINDOW_US = 10_000
WINDOWS_IN_A_ROW = 3
NORMAL_SHARE = 0.95
"""Of the windows before: one in twenty may be above what counts as normal."""


def run(request: Request) -> Outcome:
    """All series of loads, through one helper."""
    with whole_stack(request, "overload", helpers=1) as stack:
        return _run(request, stack)


def _run(request: Request, stack: Stack) -> Outcome:
    seconds = request.seconds or SECONDS
    load = Load(stack)
    load.start(request.connections or CONNECTIONS, VCL_PATHS="helpers")
    load.server.order("work", us=WORK_US)
    time.sleep(1)
    series = [_series(request, load, turn, seconds) for turn in range(request.runs or RUNS)]
    busy = load.counters(load.server)
    verdict, replies = load.finish()
    outcome = Outcome(facts={"ledger": verdict.as_dict(), "server": {k: v for k, v in busy.items() if v}})
    if not verdict.clean or load.errors:
        outcome.faults.append(f"the ledger is clean: {verdict} {load.errors[:3]}")
    _figures(request, outcome, series, replies)
    return outcome


def _series(request: Request, load: Load, turn: int, seconds: int) -> dict[str, dict[str, Any]]:
    """Each phase by its name."""
    phases: dict[str, dict[str, Any]] = {}

    def phase(name: str, kind: str, seconds: int, **how: int) -> dict[str, Any]:
        phases[name] = load.phase(f"{name}-{turn}", kind, seconds=seconds, **how)
        return phases[name]

    capacity = _rate(phase("capacity", "closed", seconds))
    request.say(f"series {turn + 1}: capacity {capacity:,.0f} requests/s")
    phase("settle", "open", SETTLE_S, rate=round(capacity * LOADS[0]))
    for share in LOADS:
        done = phase(f"{share:g}", "open", seconds, rate=round(capacity * share))
        request.say(f"{share:g} x: {_rate(done):,.0f} replies/s, {done['turned_away']:,} turned away")
    phase(BACK, "open", seconds, rate=round(capacity * LOADS[0]))
    return phases


def _rate(phase: dict[str, Any]) -> float:
    return float(phase["replies"] / (phase["ended_us"] - phase["began_us"]) * 1e6)


def _figures(request: Request, outcome: Outcome, series: list[dict[str, dict[str, Any]]], replies: Replies) -> None:
    def add(metric: str, values: Any, unit: str, **more: Any) -> None:
        outcome.figures.append(figure("overload", metric, values, unit, seed=request.seed, **more))

    goodput = [{name: _goodput(phase, replies) for name, phase in phases.items()} for phases in series]
    peak = [max(of[f"{share:g}"] for share in LOADS) for of in goodput]
    add("capacity, closed loop", [of["capacity"] for of in goodput], "requests/s")
    for share in LOADS:
        name = f"{share:g}"
        mine = [phases[name] for phases in series]
        latency = [replies.between(phase["began_us"], phase["ended_us"]).latency_ms().p99 for phase in mine]
        add(f"offered at {name} x", [_offered(phase) for phase in mine], "requests/s")
        add(f"goodput at {name} x", [of[name] for of in goodput], "requests/s", baseline=peak, baseline_name="peak")
        add(f"reply time at {name} x, p99", latency, "ms")
    add("back to normal after the highest load", [_back_ms(phases, replies) for phases in series], "ms")


def _offered(phase: dict[str, Any]) -> float:
    return float((phase["sent"] + phase["turned_away"]) / (phase["ended_us"] - phase["began_us"]) * 1e6)


def _goodput(phase: dict[str, Any], replies: Replies) -> float:
    begin = phase["began_us"] + (phase["ended_us"] - phase["began_us"]) // 5
    return float(len(replies.between(begin, phase["ended_us"])) / (phase["ended_us"] - begin) * 1e6)


def _back_ms(phases: dict[str, dict[str, Any]], replies: Replies) -> float | None:
    """None when it never came back."""
    calm, after = phases[f"{LOADS[0]:g}"], phases[BACK]
    begin = calm["began_us"] + (calm["ended_us"] - calm["began_us"]) // 5
    before = sorted(p99 for p99 in replies.windows_p99_ms(begin, calm["ended_us"], WINDOW_US) if p99 is not None)
    if not before:
        return None
    normal = before[int(len(before) * NORMAL_SHARE)]
    in_a_row = 0
    windows = replies.windows_p99_ms(after["began_us"], after["ended_us"], WINDOW_US)
    for number, p99 in enumerate(windows):
        in_a_row = in_a_row + 1 if p99 is not None and p99 <= normal else 0
        if in_a_row == WINDOWS_IN_A_ROW:
            return (number + 1 - WINDOWS_IN_A_ROW) * WINDOW_US / 1000
    return None
