# SPDX-License-Identifier: Apache-2.0
"""All NATS of the supervisor: heartbeats out; orders to this helper and facts about servers in."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from datetime import UTC, datetime

import nats.errors
import structlog

from postman_contracts import subjects
from postman_contracts.fields import HelperReportedState
from postman_contracts.messages import HelperHeartbeat, HelperOrder, ServerFact
from postman_kit.bus import Bus

log = structlog.get_logger(__name__)


class HelperBus:
    """The kit's bus with a helper's words. NATS may be away at any time: heartbeats are dropped then, nothing waits."""

    def __init__(self, bus: Bus, on_drain: Callable[[], None], on_refresh: Callable[[], None]) -> None:
        self._bus = bus
        self._on_drain = on_drain
        self._on_refresh = on_refresh
        self._helper_id = 0
        self._heard: set[int] = set()

    async def start(self) -> None:
        """Begins to connect, and listens to servers coming and going."""
        await self._bus.start()
        await self._bus.subscribe(subjects.SERVER_FACTS_ALL, ServerFact, self._take_server_fact)

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
        self, helper_id: int, incarnation: int, state: HelperReportedState, stats: dict[str, int | float]
    ) -> None:
        """Says that this incarnation lives."""
        message = HelperHeartbeat(
            helper_id=helper_id, incarnation=incarnation, state=state, at=datetime.now(UTC), stats=stats
        )
        await self._bus.publish(subjects.helper_heartbeat(helper_id), message)

    async def _take_order(self, subject: str, order: HelperOrder) -> None:
        if subject != subjects.helper_order(self._helper_id):
            return
        log.info("order", order=order.order)
        if order.order == "drain":
            self._on_drain()
        else:
            self._on_refresh()

    async def _take_server_fact(self, subject: str, fact: ServerFact) -> None:
        log.info("server fact", subject=subject, server_id=fact.server_id)
        self._on_refresh()
