# SPDX-License-Identifier: Apache-2.0
"""bench failover: 1,000 busy connections; the helper that they use is killed with SIGKILL, or drained.

Kill: for each connection the time from the signal to its next byte, and to its first byte after the silence that the
kill began; of the session, the time to the verdict (detection) and from there to the acknowledged move (resume).
Baseline: the same two times after a moment at which nothing was killed, in the same run: what the load alone makes
them.

Drain: the helper is told to drain by the control plane, as `postman drain` does. Frames that are sent again between the
order and a second after the move, and the slowest request of that time against the 99th percentile before. Control:
the slowest request of as long a time before the order, in which nothing was drained.

The load leaves the machine room: a client that thinks between its requests, so that a reply takes as long as it takes
and does not wait in a queue that the load itself makes.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from ..demo.stack import Stack, StackError
from .catalog import Outcome
from .figure import figure
from .load import LOOK_S, Load
from .replies import Replies, Spread
from .site import Request, whole_stack

CONNECTIONS, RUNS = 1000, 5
THINK_US_PER_CONNECTION = 40
"""1,000 connections: 40 ms, so about 24,000 requests/s whatever the reply time."""
SETTLE_S, AFTER_S, MOVED_S_MAX, TRIES = 3.0, 3.0, 20.0, 5
WITHIN_US = 2_000_000


def now_us() -> int:
    """The clock of all times here."""
    return time.monotonic_ns() // 1000


def run(request: Request) -> Outcome:
    """Kills and drains, each `runs` times in turn, in one load."""
    with whole_stack(request, "failover") as stack:
        return _Failover(request, stack).run()


class _Failover:
    def __init__(self, request: Request, stack: Stack) -> None:
        self.request, self.stack = request, stack
        self.load = Load(stack)
        self.kills: list[dict[str, int]] = []
        self.drains: list[dict[str, Any]] = []

    def run(self) -> Outcome:
        connections = self.request.connections or CONNECTIONS
        self.request.say(f"{connections} connections")
        self.load.start(connections)
        self.load.begin("busy", "closed", think_us=THINK_US_PER_CONNECTION * connections)
        for turn in range(self.request.runs or RUNS):
            self._kill(turn)
            self._drain(turn)
        verdict, replies = self.load.finish()
        outcome = Outcome(facts={"ledger": verdict.as_dict()})
        if not verdict.clean or self.load.errors:
            outcome.faults.append(f"the ledger is clean: {verdict} {self.load.errors[:3]}")
        self._kill_figures(outcome, replies)
        self._drain_figures(outcome, replies)
        return outcome

    def _settle(self) -> str:
        """All helpers up, the session on one of them for a while; its name."""
        names = self.stack.wait_helpers()
        time.sleep(SETTLE_S)
        return names[self.load.await_helper()]

    def _moved(self, from_helper: int, since_us: int) -> dict[str, Any]:
        deadline = time.monotonic() + MOVED_S_MAX
        while time.monotonic() < deadline:
            for notice in self.load.notices:
                is_it = notice["type"] == "path_moved" and notice["from_helper_id"] == from_helper
                if is_it and notice["at_us"] > since_us:
                    return notice
            time.sleep(LOOK_S)
        raise StackError(f"the session did not leave helper {from_helper} within {MOVED_S_MAX} s: {self.load.progress}")

    def _helper_at(self, at_us: int) -> int:
        """The helper of the session's path at that time, as the session's own events have it; 0: direct."""
        moves = [n for n in self.load.notices if n["type"] == "path_moved"]
        before = [n["to_helper_id"] for n in moves if n["at_us"] <= at_us]
        after = [n["from_helper_id"] for n in moves if n["at_us"] > at_us]
        return int([*before[-1:], *after[:1], self.load.helper_id][0])

    def _kill(self, turn: int) -> None:
        for _ in range(TRIES):
            name = self._settle()
            quiet_us = now_us()
            time.sleep(SETTLE_S)
            helper = self._helper_at(now_us())
            name = self.stack.wait_helpers().get(helper, name)
            killed_us = self.stack.kill_worker(name) // 1000
            time.sleep(0.3)  # what happened until then has been said
            if helper != 0 and self._helper_at(killed_us) == helper:
                break
            self.request.say("the session had just moved elsewhere; once more")
        else:
            raise StackError(f"the session does not stay on a helper: {self.load.progress}")
        self.request.say(f"run {turn + 1}: killed helper {name}")
        moved = self._moved(helper, killed_us)
        suspected = [n["at_us"] for n in self.load.notices if n["type"] == "path_suspect" and n["at_us"] > killed_us]
        self.kills.append(
            {
                "quiet_us": quiet_us,
                "killed_us": killed_us,
                "suspected_us": min(suspected, default=moved["at_us"]),
                "moved_us": moved["at_us"],
            }
        )
        time.sleep(AFTER_S)

    def _drain(self, turn: int) -> None:
        name = self._settle()
        helper = self.load.helper_id
        before_calm = self._resent()
        time.sleep(1.0)
        before = self._resent()
        began_us = now_us()
        self.stack.ask("registry", "POST", f"/v1/helpers/{helper}/drain")
        self.request.say(f"run {turn + 1}: drained helper {name}")
        moved = self._moved(helper, began_us)
        time.sleep(1.0)
        ended_us = now_us()
        self.drains.append(
            {
                "began_us": began_us,
                "moved_us": moved["at_us"],
                "ended_us": ended_us,
                "resent": self._resent() - before,
                "resent_calm": before - before_calm,
            }
        )
        self.stack.ask("registry", "POST", f"/v1/helpers/{helper}/undrain")

    def _resent(self) -> int:
        return sum(self.load.counters(end)["frames_resent"] for end in (self.load.client, self.load.server))

    # --- figures --------------------------------------------------------------------------------------------

    def _kill_figures(self, outcome: Outcome, replies: Replies) -> None:
        def spreads(key: str, times: Any) -> list[Spread]:
            return [Spread.of(times(kill[key], WITHIN_US)) for kill in self.kills]

        for what, times in (("next byte", replies.next_byte_ms), ("resume", replies.resume_ms)):
            after, quiet = spreads("killed_us", times), spreads("quiet_us", times)
            for share in ("p50", "p99", "max"):
                outcome.figures.append(
                    self._figure(
                        f"kill to {what}, {share}",
                        [getattr(spread, share) for spread in after],
                        "ms",
                        baseline=[getattr(spread, share) for spread in quiet],
                        baseline_name="no kill",
                    )
                )
        detection = [(kill["suspected_us"] - kill["killed_us"]) / 1000 for kill in self.kills]
        move = [(kill["moved_us"] - kill["suspected_us"]) / 1000 for kill in self.kills]
        outcome.figures.append(self._figure("kill to detection", detection, "ms"))
        outcome.figures.append(self._figure("detection to acknowledged move", move, "ms"))
        resumed = [len(replies.resume_ms(kill["killed_us"], WITHIN_US)) for kill in self.kills]
        outcome.figures.append(self._figure("connections resumed", resumed, "connections"))

    def _drain_figures(self, outcome: Outcome, replies: Replies) -> None:
        slowest, undisturbed, before = [], [], []
        for drain in self.drains:
            during = replies.between(drain["began_us"], drain["ended_us"])
            calm = replies.between(drain["began_us"] - 2_000_000, drain["began_us"])
            control = replies.between(2 * drain["began_us"] - drain["ended_us"], drain["began_us"])
            slowest.append(during.latency_ms().max)
            undisturbed.append(control.latency_ms().max)
            before.append(calm.latency_ms().p99)
        outcome.figures.append(
            self._figure(
                "drain: frames sent again",
                [d["resent"] for d in self.drains],
                "frames",
                baseline=[d["resent_calm"] for d in self.drains],
                baseline_name="the second before",
            )
        )
        for what, values in (("drain", slowest), ("no drain", undisturbed)):
            outcome.figures.append(
                self._figure(f"{what}: slowest request", values, "ms", baseline=before, baseline_name="p99 before")
            )
        moves = [(drain["moved_us"] - drain["began_us"]) / 1000 for drain in self.drains]
        outcome.figures.append(self._figure("order to drain to acknowledged move", moves, "ms"))
        calm_p50 = [
            replies.between(d["began_us"] - 2_000_000, d["began_us"]).latency_ms().p50 or np.nan for d in self.drains
        ]
        outcome.figures.append(self._figure("request, p50 while nothing happens", calm_p50, "ms"))

    def _figure(self, metric: str, values: Any, unit: str, **more: Any) -> Any:
        return figure("failover", metric, values, unit, seed=self.request.seed, **more)
