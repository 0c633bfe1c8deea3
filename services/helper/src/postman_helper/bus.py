# SPDX-License-Identifier: Apache-2.0
"""All NATS of the supervisor: heartbeats and reports out; orders, facts about servers, and assignments in."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal

import nats.errors
import structlog

from postman_contracts import subjects
from postman_contracts.fields import HelperReportedState
from postman_contracts.messages import AssignmentsChanged, HelperHeartbeat, HelperOrder, HelperReport, ServerFact
from postman_kit.bus import Bus

log = structlog.get_logger(__name__)

DETAIL_CHARACTERS_MAX: Final = 200  # of the contract's Text


@dataclass(frozen=True, slots=True)
class Listener:
    """Who is told what comes in."""

    on_drain: Callable[[], None]
    on_undrain: Callable[[], None]
    on_refresh: Callable[[], None]
    on_assignments: Callable[[int], Awaitable[None]]
    """An epoch that names this helper; awaited within the message's trace."""


class HelperBus:
    """The kit's bus with a helper's words. NATS may be away at any time: what goes out is lost then, nothing waits."""

    def __init__(self, bus: Bus, listener: Listener) -> None:
        self._bus = bus
        self._listener = listener
        self._helper_id = 0
        self._heard: set[int] = set()

    async def start(self) -> None:
        """Begins to connect, and listens to servers coming and going and to new assignments.

        What is missed while NATS is away, the next lease renewal brings.
        """
        await self._bus.start()
        await self._bus.subscribe(subjects.SERVER_FACTS_ALL, ServerFact, self._take_server_fact)
        await self._bus.subscribe(subjects.ASSIGNMENT_FACTS_ALL, AssignmentsChanged, self._take_assignments)

    async def stop(self) -> None:
        """Flushes and closes."""
        await self._bus.stop()

    async def listen_as(self, helper_id: int) -> None:
        """Takes orders to this helper id from now on. It changes only when the registry has lost its memory of us."""
        self._helper_id = helper_id
        if helper_id not in self._heard:
            self._heard.add(helper_id)
            # The connection may end in the middle of this; the next one subscribes by itself.
            with contextlib.suppress(nats.errors.Error):
                await self._bus.subscribe(subjects.helper_order(helper_id), HelperOrder, self._take_order)

    async def heartbeat(
        self,
        helper_id: int,
        incarnation: int,
        state: HelperReportedState,
        stats: dict[str, int | float],
        *,
        interval_s: float,
        assignment_epoch: int | None,
    ) -> None:
        """Says that this incarnation lives, and will say so again after `interval_s`."""
        message = HelperHeartbeat(
            helper_id=helper_id,
            incarnation=incarnation,
            state=state,
            at=datetime.now(UTC),
            stats=stats,
            interval_s=interval_s,
            assignment_epoch=assignment_epoch,
        )
        await self._bus.publish(subjects.helper_heartbeat(helper_id), message)

    async def report(
        self, helper_id: int, incarnation: int, event: Literal["worker-ended", "worker-silent"], detail: str
    ) -> None:
        """Says what was seen of the worker, with the trace of the current span."""
        message = HelperReport(
            helper_id=helper_id,
            incarnation=incarnation,
            event=event,
            at=datetime.now(UTC),
            detail=detail[:DETAIL_CHARACTERS_MAX],
        )
        await self._bus.publish(subjects.helper_report(helper_id), message)

    async def _take_order(self, subject: str, order: HelperOrder) -> None:
        if subject != subjects.helper_order(self._helper_id):
            return
        log.info("order", order=order.order)
        take = {
            "drain": self._listener.on_drain,
            "undrain": self._listener.on_undrain,
            "refresh": self._listener.on_refresh,
        }
        take[order.order]()

    async def _take_server_fact(self, subject: str, fact: ServerFact) -> None:
        log.info("server fact", subject=subject, server_id=fact.server_id)
        self._listener.on_refresh()

    async def _take_assignments(self, _subject: str, message: AssignmentsChanged) -> None:
        if any(role.helper_id == self._helper_id for role in message.helpers):
            await self._listener.on_assignments(message.epoch)
