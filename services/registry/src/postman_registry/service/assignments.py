# SPDX-License-Identifier: Apache-2.0
"""Use-cases of assignments: take placement's epochs, part by part, and say what one client shall use.

An epoch is in force from the moment in which its last part came, in one transaction; then no earlier one counts.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

import structlog

from postman_contracts.messages import AssignmentsChanged
from postman_registry import store_assignments as store
from postman_registry.assignments import ServiceAssignments
from postman_registry.fresh_cache import FreshCache
from postman_registry.service.context import Context

_SERVICES_MAX: Final = 4096
_INCOMPLETE_MAX: Final = 4
"""Epochs come whole and one after the other: more that lack parts are the debris of a stream that lost messages."""

_log = structlog.get_logger(__name__)


class Assignments:
    """Use-cases of assignments.

    `counters`: parts, activated (epochs), duplicate, outdated (parts of an epoch before the one in force),
    contradictory (parts that do not fit the other parts of their epoch).
    """

    def __init__(self, context: Context, *, age_s_max: float) -> None:
        self.counters: Counter[str] = Counter()
        self._context = context
        self._fresh: FreshCache[str, ServiceAssignments] = FreshCache(age_s_max, _SERVICES_MAX)
        self._held: dict[str, ServiceAssignments] = {}

    def forget(self) -> None:
        """Something changed in this process: ask the database next time."""
        self._fresh.clear()

    async def on_changed(self, _subject: str, message: AssignmentsChanged) -> None:
        """One part of an epoch, once or more, in whatever order."""
        outcome = await self._take(message)
        self.counters[outcome] += 1
        if outcome == "activated":
            self.counters["parts"] += 1
            self.forget()
            _log.info("assignments in force", epoch=message.epoch, parts=message.parts)
        elif outcome == "contradictory":
            _log.warning("a part does not fit its epoch", epoch=message.epoch, part=message.part, parts=message.parts)

    async def _take(self, message: AssignmentsChanged) -> str:
        if message.part >= message.parts:
            return "contradictory"
        async with self._context.database.transaction() as connection:
            in_force = await store.epoch_in_force(connection, lock=True)
            if in_force is not None and message.epoch <= in_force:
                return "duplicate" if message.epoch == in_force else "outdated"
            coming = await store.ensure_epoch(connection, message.epoch, message.placement_id, message.parts)
            if (coming.placement_id, coming.parts) != (message.placement_id, message.parts):
                return "contradictory"
            missing = await store.add_part(connection, message.epoch, message.part, message.assignments)
            if missing is None:
                return "duplicate"
            if missing == 0:
                await store.activate(connection, message.epoch)
                return "activated"
            await store.forget_incomplete(connection, in_force, _INCOMPLETE_MAX)
            return "parts"

    async def of_service(self, service: str) -> ServiceAssignments:
        """What is in force for a service. An epoch is read once, however many ask: it never changes."""

        async def load() -> ServiceAssignments:
            async with self._context.database.transaction() as connection:
                held = self._held.get(service)
                if held is not None and held.epoch == await store.epoch_in_force(connection):
                    return held
                found = await store.of_service(connection, service)
            if service not in self._held and len(self._held) >= _SERVICES_MAX:
                del self._held[next(iter(self._held))]
            self._held[service] = found
            return found

        return await self._fresh.get(service, load)
