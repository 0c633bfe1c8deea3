# SPDX-License-Identifier: Apache-2.0
"""All NATS of health: what it listens to, and the pushes of its verdicts."""

from __future__ import annotations

from typing import Final

from postman_contracts import subjects
from postman_contracts.messages import HelperFact, HelperHeartbeat, HelperReport, HelperVerdict
from postman_health.facts import AnyFact
from postman_health.service.history import History
from postman_health.service.watch import Watch
from postman_kit.bus import Bus
from postman_kit.facts import FACTS

DURABLE: Final = "health-events"
"""Under this name NATS keeps how much of the stream is in the history."""


async def subscribe(bus: Bus, watch: Watch, history: History) -> None:
    """Listen: to helpers and their supervisors, to the registry at once, and to every fact in its order."""

    async def on_heartbeat(subject: str, beat: HelperHeartbeat) -> None:
        if watch.is_own(subject, subjects.helper_heartbeat(beat.helper_id)):
            await watch.heartbeat(beat)

    async def on_report(subject: str, report: HelperReport) -> None:
        if watch.is_own(subject, subjects.helper_report(report.helper_id)):
            await watch.report(report)

    async def on_helper_fact(subject: str, fact: HelperFact) -> None:
        await watch.fact(subject, fact, is_ordered=False)

    await bus.subscribe(subjects.HELPER_HEARTBEATS_ALL, HelperHeartbeat, on_heartbeat)
    await bus.subscribe(subjects.HELPER_REPORTS_ALL, HelperReport, on_report)
    await bus.subscribe(subjects.HELPER_FACTS_ALL, HelperFact, on_helper_fact)
    await bus.subscribe_durable(FACTS, subjects.FACTS_ALL, AnyFact, history.on_fact, durable=DURABLE)


async def push(bus: Bus, verdict: HelperVerdict) -> None:
    """Say a verdict to whoever listens. While NATS is away it is dropped: the next second repeats it."""
    await bus.publish(subjects.helper_verdict(verdict.helper_id), verdict)
