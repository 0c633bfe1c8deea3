# SPDX-License-Identifier: Apache-2.0
"""Putting a placement in force: the next epoch, its assignments, and the messages that say so, in one transaction."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

import structlog

from postman_contracts import subjects
from postman_contracts.messages import AssignmentsChanged, HelperRole
from postman_kit.db import Connection
from postman_placement import refusals, store
from postman_placement import store_inputs as inputs
from postman_placement import store_placements as placements
from postman_placement.facts import parts_of
from postman_placement.fleet import Fleet, FleetSource
from postman_placement.rows import Stored
from postman_placement.service.context import Context
from postman_placement.service.placements import ASSIGNED_LIST
from postman_placement.snapshot import changes, usable_helpers
from postman_placement.store import Version

_SUBJECT = subjects.assignment_fact("changed")

_log = structlog.get_logger(__name__)


class Applying:
    """Use-cases of the epoch."""

    def __init__(self, context: Context, fleet: FleetSource) -> None:
        self._context = context
        self._fleet = fleet

    async def apply(self, placement_id: UUID) -> Stored:
        """Put it in force. What is in force already stays as it is; what is stale is refused, with what has changed."""
        async with self._context.database.transaction() as connection:
            stored = await _still_appliable(connection, placement_id, lock=False)
        if stored.state == "applied":
            return stored
        fleet = await self._fleet.look()
        async with self._context.database.transaction() as connection:
            topology_version = await store.read_version(connection, "topology")
            demands_version = await store.read_version(connection, "demands")
            epoch = await store.lock_version(connection, "epoch")
            stored = await _still_appliable(connection, placement_id, lock=True)
            if stored.state == "applied":
                return stored
            await _require_fresh(connection, stored, topology_version, demands_version, fleet)
            # Ours is below the registry's if our database was lost or put back: it would ignore the next of ours.
            stored = await self._put_in_force(connection, stored, max(epoch.value, fleet.epoch) + 1)
        self._context.committed()
        _log.info("placement applied", placement_id=str(placement_id), epoch=stored.epoch)
        return stored

    async def _put_in_force(self, connection: Connection, stored: Stored, epoch: int) -> Stored:
        now = self._context.clock()
        await store.save_version(connection, "epoch", Version(epoch, None))
        applied = replace(stored, state="applied", epoch=epoch, applied_at=now)
        assigned = ASSIGNED_LIST.validate_json(stored.assigned)
        await placements.put_in_force(connection, stored.placement_id, epoch, assigned, now)
        await store.add_parts(connection, _SUBJECT, _parts(applied), now)
        return applied

    async def publish_again(self) -> int | None:
        """Have the epoch in force published once more; returns it, or None if there is none.

        Whoever has lost it (a new registry, a NATS without its files) thereby learns it; all others ignore it.
        """
        async with self._context.database.transaction() as connection:
            await store.lock_version(connection, "epoch")
            stored = await placements.find_applied(connection)
            if stored is None:
                return None
            await store.add_parts(connection, _SUBJECT, _parts(stored), self._context.clock())
        self._context.committed()
        return stored.epoch


async def _still_appliable(connection: Connection, placement_id: UUID, *, lock: bool) -> Stored:
    """The placement, if it is proposed or in force."""
    stored = await placements.find(connection, placement_id, lock=lock)
    if stored is None:
        raise refusals.unknown_placement(placement_id)
    if stored.state == "superseded":
        raise refusals.stale(placement_id, [f"it was in force as epoch {stored.epoch} and another one took its place"])
    return stored


async def _require_fresh(
    connection: Connection, stored: Stored, topology_version: int, demands_version: int, fleet: Fleet
) -> None:
    """A problem that says what has changed since the placement was made, if anything has."""
    said = [
        f"the {what} changed (version {now}, it was {was})"
        for what, was, now in (
            ("topology", stored.topology_version, topology_version),
            ("demands", stored.demands_version, demands_version),
        )
        if was != now
    ]
    usable = usable_helpers(fleet, await inputs.read_sites(connection))
    said += changes(stored.usable_helpers, usable.site_of)
    if said:
        raise refusals.stale(stored.placement_id, said)


def _parts(stored: Stored) -> list[AssignmentsChanged]:
    """The messages of an applied placement: the same ones whenever they are made."""
    assert stored.epoch is not None
    assert stored.applied_at is not None
    helpers = [
        HelperRole(helper_id=helper["helper_id"], role=helper["role"], rate_pps=helper["rate_pps"] or 0)
        for helper in stored.document["helpers"]
    ]
    assigned = ASSIGNED_LIST.validate_json(stored.assigned)
    return parts_of(stored.placement_id, stored.epoch, assigned, helpers, now=stored.applied_at)
