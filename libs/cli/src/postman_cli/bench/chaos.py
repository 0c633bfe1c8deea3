# SPDX-License-Identifier: Apache-2.0
"""bench chaos: real helpers are killed, stopped, cut off and restarted at random moments under load, links lose and
delay. Workload (load.py), nemesis (nemesis.py) and checker (judge.py) are apart: the checker reads what both ends of
the load wrote down, when all has ended.

The figures: how many of what was sent was lost, duplicated, out of order or corrupted (the ledger), and for each kill
of the helper in use the time from the signal to each connection's first reply after the silence that the kill began."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from ..demo.stack import Stack
from .catalog import Outcome
from .figure import Figure, figure
from .load import Load
from .nemesis import Done, Nemesis, schedule
from .replies import Replies, Spread
from .site import Request, whole_stack

CONNECTIONS, REQUESTS, KILLS, PAUSES = 1000, 20_000_000, 100, 50
THINK_US_PER_CONNECTION = 10
WITHIN_US = 2_000_000
SAID_EVERY = 10


def run(request: Request) -> Outcome:
    """Torments until all faults are done and all requests answered."""
    with whole_stack(request, "chaos") as stack:
        return torment(request, stack)


def torment(request: Request, stack: Stack) -> Outcome:
    """In a stack that is up."""
    connections = request.connections or CONNECTIONS
    wanted = request.requests or REQUESTS
    choice = request.random()
    kills = KILLS if request.kills is None else request.kills
    faults = schedule(choice, kills, PAUSES if request.pauses is None else request.pauses)
    load = Load(stack)
    load.start(connections)
    load.begin("chaos", "closed", think_us=THINK_US_PER_CONNECTION * connections)
    names: dict[int, str] = stack.wait_helpers()

    def in_use() -> str | None:
        return names.get(load.helper_id)  # ids belong to names and stay

    nemesis = Nemesis(stack, choice, in_use)
    request.say(f"{connections} connections, {len(faults)} faults, seed {request.seed}")
    for number, done in enumerate(nemesis.torment(faults), 1):
        load.check_alive()
        if number % SAID_EVERY == 0 or number == len(faults):
            request.say(f"{number} of {len(faults)} faults, {load.replies_now:,} replies; {done.kind} of {done.host}")
    load.await_replies(wanted, lambda replies: request.say(f"{replies:,} of {wanted:,} replies"))
    verdict, replies = load.finish()
    outcome = Outcome(facts={"ledger": verdict.as_dict(), "faults": dict(Counter(done.kind for done in nemesis.done))})
    if not verdict.clean or load.errors:
        outcome.faults.append(f"the ledger is clean: {verdict} {load.errors[:3]}")
    outcome.figures += _counts(request.seed, verdict.as_dict(), nemesis.done, load)
    outcome.figures += _resume(request.seed, replies, nemesis.done)
    return outcome


def _counts(seed: int, ledger: dict[str, Any], done: list[Done], load: Load) -> list[Figure]:
    def count(metric: str, value: float, unit: str) -> Figure:
        return figure("chaos", metric, value, unit, seed=seed)

    found = [count(f"faults: {kind}", number, "faults") for kind, number in Counter(d.kind for d in done).items()]
    found.append(count("requests answered", ledger["delivered"] // 2, "requests"))
    for fault in ("lost", "duplicated", "reordered", "corrupted", "invented"):
        found.append(count(f"messages {fault}", ledger[fault], "messages"))
    found.append(count("connections that ended with an error", len(load.errors), "connections"))
    found.append(count("moves of the session", int(load.progress["moves"]), "moves"))
    return found


def _resume(seed: int, replies: Replies, done: list[Done]) -> list[Figure]:
    """Over all connections of all kills of the helper in use; the spread is that of the kills."""
    kills = [fault for fault in done if fault.kind == "kill" and fault.in_use]
    each = [replies.resume_ms(kill.at_us, WITHIN_US) for kill in kills]
    together = Spread.of(np.concatenate(each) if each else np.array([]))
    spreads = [Spread.of(one) for one in each]
    found = []
    for share in ("p50", "p99", "max"):
        per_kill = figure("chaos", "", [getattr(spread, share) for spread in spreads], "ms")
        found.append(
            Figure(
                **{
                    **figure("chaos", f"kill to resume, {share}", getattr(together, share), "ms", seed=seed).as_dict(),
                    "runs": len(kills),
                    "spread": per_kill.spread,
                }
            )
        )
    return found
