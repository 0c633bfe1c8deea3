# SPDX-License-Identifier: Apache-2.0
"""SQL about placements and the assignments in force. Every function runs in its caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import delete, func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from postman_contracts import rest_placement as rest
from postman_contracts.messages import Assigned
from postman_placement.rows import (
    Stored,
    assigned_from,
    assigned_values,
    stored_from,
    stored_values,
    summary_from,
)
from postman_placement.store import streamed
from postman_placement.tables import assignments, placements

_ADD_LOCK: Final = 0x706D7001
_TICK: Final = timedelta(microseconds=1)


async def lock_additions(connection: AsyncConnection) -> None:
    """Placements are added one by one: so an Idempotency-Key is used once, and no two are of the same time."""
    await connection.execute(text(f"SELECT pg_advisory_xact_lock({_ADD_LOCK})"))


async def next_made_at(connection: AsyncConnection, now: datetime) -> datetime:
    """The time of a new placement: now, but after all others, wherever the clock was turned."""
    newest = await connection.scalar(select(func.max(placements.c.made_at)))
    return now if newest is None else max(now, newest + _TICK)


async def add(connection: AsyncConnection, stored: Stored, idempotency_key: str | None) -> None:
    """A new placement."""
    await connection.execute(insert(placements).values(idempotency_key=idempotency_key, **stored_values(stored)))


async def prune(connection: AsyncConnection, kept_max: int) -> None:
    """Forget the oldest placements, but never the one that is in force."""
    kept = select(placements.c.placement_id).order_by(placements.c.made_at.desc()).limit(kept_max)
    await connection.execute(
        delete(placements).where(placements.c.placement_id.not_in(kept), placements.c.state != "applied")
    )


async def find(connection: AsyncConnection, placement_id: UUID, *, lock: bool) -> Stored | None:
    """The placement of this id; locked for the transaction if it will be changed: then nobody prunes it meanwhile."""
    query = select(placements).where(placements.c.placement_id == placement_id)
    row = (await connection.execute(query.with_for_update() if lock else query)).one_or_none()
    return stored_from(row) if row else None


async def find_by_key(connection: AsyncConnection, idempotency_key: str) -> Stored | None:
    """The placement that was made by the request with this key."""
    query = select(placements).where(placements.c.idempotency_key == idempotency_key)
    row = (await connection.execute(query)).one_or_none()
    return stored_from(row) if row else None


async def find_applied(connection: AsyncConnection) -> Stored | None:
    """The placement that is in force."""
    row = (await connection.execute(select(placements).where(placements.c.state == "applied"))).one_or_none()
    return stored_from(row) if row else None


async def find_applied_id(connection: AsyncConnection) -> tuple[int, UUID] | None:
    """Epoch and id of the placement that is in force."""
    query = select(placements.c.epoch, placements.c.placement_id).where(placements.c.state == "applied")
    row = (await connection.execute(query)).one_or_none()
    return (row.epoch, row.placement_id) if row else None


async def page(connection: AsyncConnection, before: datetime | None, limit: int) -> list[rest.PlacementSummary]:
    """Placements made before this time, newest first."""
    columns = ("placement_id", "state", "made_at", "applied_at", "epoch", "cost", "gap", "assignments")
    query = select(*(placements.c[name] for name in columns)).order_by(placements.c.made_at.desc()).limit(limit)
    if before is not None:
        query = query.where(placements.c.made_at < before)
    return [summary_from(row) for row in await connection.execute(query)]


async def put_in_force(
    connection: AsyncConnection, placement_id: UUID, epoch: int, assigned: Sequence[Assigned], now: datetime
) -> None:
    """This placement and its assignments are in force as `epoch`; those before are not any more."""
    await connection.execute(update(placements).where(placements.c.state == "applied").values(state="superseded"))
    await connection.execute(
        update(placements)
        .where(placements.c.placement_id == placement_id)
        .values(state="applied", epoch=epoch, applied_at=now)
    )
    await connection.execute(delete(assignments))
    if assigned:
        await connection.execute(insert(assignments), [assigned_values(item) for item in assigned])


async def in_force(connection: AsyncConnection, service: str | None, group: str | None) -> list[Assigned]:
    """The assignments in force, all or of one service or group."""
    query = select(assignments).order_by(assignments.c.service, assignments.c.group_name)
    if service is not None:
        query = query.where(assignments.c.service == service)
    if group is not None:
        query = query.where(assignments.c.group_name == group)
    return [assigned_from(row) async for row in streamed(connection, query)]
