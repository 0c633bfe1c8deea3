# SPDX-License-Identifier: Apache-2.0
"""Use-cases of helpers: register, renew, leave, drain and serve again, look."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from postman_contracts.problems import ProblemType
from postman_kit.db import Connection
from postman_kit.errors import ProblemError
from postman_registry import store as shared
from postman_registry import store_assignments as assignment_store
from postman_registry import store_helpers as store
from postman_registry import store_servers as server_store
from postman_registry.domain import (
    Helper,
    HelperChange,
    HelperSpec,
    NotDrainable,
    StaleIncarnation,
    helper_leave,
    helper_order_drain,
    helper_order_undrain,
    helper_register,
    helper_renew,
)
from postman_registry.service.context import Context
from postman_registry.store_servers import TrunkEnd


@dataclass(frozen=True, slots=True)
class HelperView:
    """A helper, and the servers it may carry for; `trunk_ends` is None if they are what it said it knows."""

    helper: Helper
    trunk_ends: list[TrunkEnd] | None
    servers_version: int
    assignment_epoch: int | None
    """The epoch in force when the servers were read."""


class Helpers:
    """Use-cases of helpers."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def register(self, spec: HelperSpec) -> HelperView:
        """A helper starts: the same name gets the same id and the next incarnation."""
        context, now = self._context, self._context.clock()
        ttl = context.policy.helper_lease_ttl
        async with context.database.transaction() as connection:
            await store.lock_registrations(connection)
            previous = await store.find_by_name(connection, spec.name)
            fresh_id = None
            if previous is None:
                fresh_id = await store.next_id(connection)
                previous = None if fresh_id is not None else await store.longest_dead(connection)
            if fresh_id is not None:
                helper, events = helper_register(None, fresh_id, spec, now=now, lease_ttl=ttl)
                await store.add(connection, helper)
            elif previous is not None:
                helper, events = helper_register(previous, previous.helper_id, spec, now=now, lease_ttl=ttl)
                await store.save(connection, helper)
            else:
                raise _no_free_id()
            view = await self._view(connection, helper, None)
            await context.record(connection, events, now)
        context.committed(events)
        return view

    async def renew(
        self,
        helper_id: int,
        incarnation: int,
        reported: Literal["up", "draining"],
        stats: dict[str, int | float] | None,
        known_version: int | None,
    ) -> HelperView:
        """A helper renews its lease and hears what it must know."""
        context, now = self._context, self._context.clock()
        async with context.database.transaction() as connection:
            helper = await _required(connection, helper_id, lock=True)
            try:
                helper, events = helper_renew(
                    helper, incarnation, reported, stats, now=now, lease_ttl=context.policy.helper_lease_ttl
                )
            except StaleIncarnation:
                raise _stale(helper, incarnation) from None
            await store.save(connection, helper)
            view = await self._view(connection, helper, known_version)
            await context.record(connection, events, now)
        context.committed(events)
        return view

    async def leave(self, helper_id: int, incarnation: int) -> None:
        """A helper ends in order. No effect if that incarnation has ended already."""

        def decide(helper: Helper) -> HelperChange:
            try:
                return helper_leave(helper, incarnation)
            except StaleIncarnation:
                raise _stale(helper, incarnation) from None

        context, now = self._context, self._context.clock()
        async with context.database.transaction() as connection:
            helper, events = decide(await _required(connection, helper_id, lock=True))
            await store.save(connection, helper)
            await context.record(connection, events, now)
        context.committed(events)

    async def order_drain(self, helper_id: int) -> None:
        """An operator wants it to take no more sessions; it is not offered from now on, nor after a restart."""
        context, now = self._context, self._context.clock()
        async with context.database.transaction() as connection:
            helper = await _required(connection, helper_id, lock=True)
            try:
                helper, events = helper_order_drain(helper)
            except NotDrainable:
                raise _gone(helper) from None
            await store.save(connection, helper)
            await context.record(connection, events, now)
        context.committed(events)

    async def order_undrain(self, helper_id: int) -> None:
        """An operator wants it to serve again; it is offered once it has said that it does."""
        async with self._context.database.transaction() as connection:
            helper = await _required(connection, helper_id, lock=True)
            await store.save(connection, helper_order_undrain(helper))

    async def get(self, helper_id: int) -> Helper:
        """One helper."""
        async with self._context.database.transaction() as connection:
            return await _required(connection, helper_id, lock=False)

    async def page(self, after: int, limit: int) -> tuple[list[Helper], int | None]:
        """Helpers with ids above `after`, and the epoch in force."""
        async with self._context.database.transaction() as connection:
            return await store.page(connection, after, limit), await assignment_store.epoch_in_force(connection)

    async def _view(self, connection: Connection, helper: Helper, known_version: int | None) -> HelperView:
        epoch = await assignment_store.epoch_in_force(connection)
        version = await shared.servers_version(connection)
        ends = None if known_version == version else await server_store.trunk_ends(connection)
        return HelperView(helper, ends, version, epoch)


async def _required(connection: Connection, helper_id: int, *, lock: bool) -> Helper:
    helper = await store.find(connection, helper_id, lock=lock)
    if helper is None:
        raise ProblemError(
            ProblemType.UNKNOWN_HELPER,
            404,
            "No such helper",
            f"The registry does not know a helper {helper_id}. A helper that runs should register again.",
        )
    return helper


def _stale(helper: Helper, incarnation: int) -> ProblemError:
    return ProblemError(
        ProblemType.STALE_INCARNATION,
        409,
        "Not the current incarnation",
        f"Helper {helper.helper_id} is at incarnation {helper.incarnation} ({helper.status}); {incarnation} may not "
        "act for it. Stop, or register again.",
    )


def _gone(helper: Helper) -> ProblemError:
    return ProblemError(
        ProblemType.NOT_DRAINABLE,
        409,
        "The helper is gone",
        f"Helper {helper.helper_id} ({helper.spec.name}) ended in order and carries nothing. To keep clients off it "
        "when it comes back, start it and drain it then.",
    )


def _no_free_id() -> ProblemError:
    return ProblemError(ProblemType.NO_FREE_ID, 503, "No free helper id", "65,535 helpers live. Stop some of them.")
