# SPDX-License-Identifier: Apache-2.0
"""bench churn: connections are opened, make one request each, and are closed again; what the processes keep of them.

Resident memory of client, server and helper worker at the start, after each tenth, and at the end. The baseline is the
memory after the second tenth: by then the tombstones, which live for 10 s (docs/protocol.md W5), are as many as the
rate makes them, and every buffer has been used."""

from __future__ import annotations

import psutil

from ..demo.stack import Program, Stack
from .catalog import Outcome
from .figure import figure
from .load import Load
from .site import Request, whole_stack

CONNECTIONS, OPENED = 64, 1_000_000
BASE = 2
"""The sample that the last one is compared with; the first is of the start."""
MIB = 1 << 20


def run(request: Request) -> Outcome:
    """One series."""
    with whole_stack(request, "churn", helpers=1) as stack:
        return _run(request, stack)


def _run(request: Request, stack: Stack) -> Outcome:
    wanted = request.requests or OPENED
    load = Load(stack)
    # no other path: what is measured here is also the helper's memory
    load.start(request.connections or CONNECTIONS, record_replies=False, VCL_PATHS="helpers")
    load.server.order("fold")
    host = next(iter(stack.helpers))
    processes = {
        "client": psutil.Process(load.pid(load.client)),
        "server": psutil.Process(load.pid(load.server)),
        "helper": psutil.Process(stack.worker_pid(host)),
    }
    samples: list[dict[str, float]] = []

    def sample() -> None:
        samples.append({name: process.memory_info().rss / MIB for name, process in processes.items()})

    def look() -> None:
        opened = int(load.progress.get("opened", 0))
        if opened >= len(samples) * wanted / 10:
            sample()
            kept = ", ".join(f"{name} {rss:.1f}" for name, rss in samples[-1].items())
            request.say(f"{opened:,} connections opened; MiB: {kept}")

    sample()
    load.begin("churn", "churn", requests=wanted)
    phase = load.await_phase("churn", look)
    sample()
    load.finish()
    done = {end: next(line for line in program.lines if "done" in line) for end, program in _ends(load).items()}
    outcome = Outcome(facts={"MiB": samples})
    counted = done["server"]["folded_connections"]
    faults = {
        f"no end met an error: {load.errors[:3]}": not load.errors and done["client"]["errors"] == 0,
        f"each request was answered: {done['client']}": done["client"]["sent"] == done["client"]["replies"],
        f"the server saw {wanted} connections begin and end in order, not {counted}": counted >= wanted,
    }
    outcome.faults += [what for what, holds in faults.items() if not holds]
    seconds = (phase["ended_us"] - phase["began_us"]) / 1e6
    outcome.figures.append(figure("churn", "connections opened and closed", wanted, "connections", seed=request.seed))
    outcome.figures.append(figure("churn", "rate", wanted / seconds, "connections/s", seed=request.seed))
    for name in processes:
        first, last = samples[min(BASE, len(samples) - 1)][name], samples[-1][name]
        outcome.figures.append(
            figure(
                "churn",
                f"memory of the {name}",
                last,
                "MiB",
                baseline=first,
                baseline_name="after the second tenth",
                seed=request.seed,
            )
        )
    return outcome


def _ends(load: Load) -> dict[str, Program]:
    return {"client": load.client, "server": load.server}
