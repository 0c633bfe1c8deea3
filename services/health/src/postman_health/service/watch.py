# SPDX-License-Identifier: Apache-2.0
"""The watch: messages and time go into the detector, what changes is pushed at once and handed on to be written.

Nothing here waits for the database.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Final

import structlog
from opentelemetry import trace

from postman_contracts.messages import HelperFact, HelperHeartbeat, HelperReport, HelperVerdict
from postman_health.detector import Change, Detector, Evidence, Forgotten, Moment, Outcome, Standing
from postman_health.domain import Lease
from postman_health.facts import kind_of, lease_of, verdict_message
from postman_health.service.recorder import Recorder

_ABOUT_HELPERS: Final = "helper."

Push = Callable[[HelperVerdict], Awaitable[None]]

_log = structlog.get_logger(__name__)
_tracer = trace.get_tracer(__name__)


def now() -> Moment:
    """By the clocks of this machine."""
    return Moment(time.monotonic(), datetime.now(UTC))


class Watch:
    """One task of the process. `counters`: up, suspect, down (verdicts given), pushes, foreign (messages of one helper
    on the subject of another)."""

    def __init__(
        self,
        push: Push,
        recorder: Recorder,
        *,
        is_connected: Callable[[], bool],
        tick_s: float,
        down_kept_s: float,
        clock: Callable[[], Moment] = now,
    ) -> None:
        self.counters: Counter[str] = Counter()
        self.detector = Detector(clock(), down_kept_s=down_kept_s)
        self._push = push
        self._recorder = recorder
        self._is_connected = is_connected
        self._tick_s = tick_s
        self._clock = clock

    # --- messages ------------------------------------------------------------------------------------

    def is_own(self, subject: str, own: str) -> bool:
        """Whether a message came on the subject of the helper that it names; if not it is only counted."""
        if subject != own:
            self.counters["foreign"] += 1
        return subject == own

    async def heartbeat(self, beat: HelperHeartbeat) -> None:
        """A helper lives."""
        await self._tell(self.detector.heartbeat(beat, self._clock()))

    async def report(self, report: HelperReport) -> None:
        """A supervisor saw something of its worker."""
        await self._tell(self.detector.report(report, self._clock()))

    async def fact(self, subject: str, fact: HelperFact, *, is_ordered: bool) -> None:
        """The registry said something of a helper."""
        kind = kind_of(subject) or ""
        lease = lease_of(kind.removeprefix(_ABOUT_HELPERS), fact, is_ordered=is_ordered)
        if lease is not None:
            await self._tell(self.detector.fact(fact.helper_id, lease, self._clock()))

    async def restore(self, kept: Sequence[Standing], leases: dict[int, Lease]) -> None:
        """What was known before our restart."""
        for outcome in self.detector.restore(kept, leases, self._clock()):
            await self._tell(outcome)

    # --- time ----------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until cancelled: judge silence, and repeat what is not up."""
        while True:
            try:
                await self.tick()
            except Exception:
                _log.exception("a tick failed")
            await asyncio.sleep(self._tick_s)

    async def tick(self) -> None:
        """One round."""
        moment = self._clock()
        for outcome in self.detector.tick(moment, is_connected=self._is_connected()):
            await self._tell(outcome)
        for standing in self.detector.due(moment):
            await self._say(standing, moment.at)

    # --- answers -------------------------------------------------------------------------------------

    def verdict(self, helper_id: int) -> tuple[Standing, Evidence] | None:
        """The verdict on one helper."""
        return self.detector.standing(helper_id, self._clock())

    def verdicts(self, after: int, limit: int) -> list[tuple[Standing, Evidence]]:
        """A page of verdicts, by helper id."""
        return self.detector.standings(after, limit, self._clock())

    async def _tell(self, outcome: Outcome) -> None:
        if isinstance(outcome, Forgotten):
            self._recorder.add(outcome)
        elif isinstance(outcome, Change):
            await self._announce(outcome)
        elif isinstance(outcome, Standing):
            await self._say(outcome, self._clock().at)

    async def _say(self, standing: Standing, at: datetime) -> None:
        self.counters["pushes"] += 1
        await self._push(verdict_message(standing, at))

    async def _announce(self, change: Change) -> None:
        """One span for all that follows from a verdict: the push, and by the recorder the fact."""
        self.counters[change.verdict] += 1
        self.counters["pushes"] += 1
        with _tracer.start_as_current_span("health.verdict") as span:
            span.set_attributes(
                {
                    "postman.helper.id": change.helper_id,
                    "postman.helper.incarnation": change.incarnation,
                    "postman.verdict": change.verdict,
                    "postman.verdict.previous": change.previous or "",
                    "postman.verdict.reason": change.reason,
                }
            )
            try:
                await self._push(verdict_message(change, change.at))
            finally:
                self._recorder.add(change)
        _log.info(
            "verdict",
            helper_id=change.helper_id,
            incarnation=change.incarnation,
            previous=change.previous,
            verdict=change.verdict,
            reason=change.reason,
        )
