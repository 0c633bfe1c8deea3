# SPDX-License-Identifier: Apache-2.0
"""SQL about helpers. Every function runs in its caller's transaction."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sqlalchemy import func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from postman_registry.domain import Helper, HelperStatus
from postman_registry.rows import helper_from, helper_values
from postman_registry.tables import helpers

HELPER_ID_MAX: Final = 65535
_LIVE: Final = (HelperStatus.STARTING.value, HelperStatus.UP.value, HelperStatus.DRAINING.value)
_REGISTER_LOCK: Final = 0x706D6801


async def lock_registrations(connection: AsyncConnection) -> None:
    """Registrations go one by one: so the choice of an id needs no retry."""
    await connection.execute(text(f"SELECT pg_advisory_xact_lock({_REGISTER_LOCK})"))


async def find_by_name(connection: AsyncConnection, name: str) -> Helper | None:
    """The helper of this name, locked for the transaction."""
    row = (await connection.execute(select(helpers).where(helpers.c.name == name).with_for_update())).one_or_none()
    return helper_from(row) if row else None


async def find(connection: AsyncConnection, helper_id: int, *, lock: bool) -> Helper | None:
    """The helper of this id; locked for the transaction if it will be changed."""
    query = select(helpers).where(helpers.c.helper_id == helper_id)
    row = (await connection.execute(query.with_for_update() if lock else query)).one_or_none()
    return helper_from(row) if row else None


async def next_id(connection: AsyncConnection) -> int | None:
    """An id that no name has yet, or None when all 65,535 are given away."""
    highest = await connection.scalar(select(func.max(helpers.c.helper_id)))
    return (highest or 0) + 1 if (highest or 0) < HELPER_ID_MAX else None


async def longest_dead(connection: AsyncConnection) -> Helper | None:
    """The helper that has been down or gone for longest: its id may go to another name if need be."""
    query = (
        select(helpers)
        .where(helpers.c.status.not_in(_LIVE))
        .order_by(helpers.c.lease_expires_at, helpers.c.helper_id)
        .limit(1)
    )
    row = (await connection.execute(query.with_for_update())).one_or_none()
    return helper_from(row) if row else None


async def add(connection: AsyncConnection, helper: Helper) -> None:
    """A helper whose id was never used."""
    await connection.execute(insert(helpers).values(helper_id=helper.helper_id, **helper_values(helper)))


async def save(connection: AsyncConnection, helper: Helper) -> None:
    """A helper that changed."""
    await connection.execute(
        update(helpers).where(helpers.c.helper_id == helper.helper_id).values(**helper_values(helper))
    )


async def page(connection: AsyncConnection, after: int, limit: int) -> list[Helper]:
    """Helpers with ids above `after`, in order of id."""
    query = select(helpers).where(helpers.c.helper_id > after).order_by(helpers.c.helper_id).limit(limit)
    return [helper_from(row) for row in await connection.execute(query)]


async def usable(connection: AsyncConnection, now: datetime) -> list[Helper]:
    """The helpers that may be offered to clients."""
    query = select(helpers).where(helpers.c.status == HelperStatus.UP.value, helpers.c.lease_expires_at > now)
    return [helper_from(row) for row in await connection.execute(query)]


async def expired(connection: AsyncConnection, now: datetime, limit: int) -> list[Helper]:
    """Live helpers whose lease has run out, locked; what somebody else has locked is left for the next time."""
    query = (
        select(helpers)
        .where(helpers.c.status.in_(_LIVE), helpers.c.lease_expires_at <= now)
        .order_by(helpers.c.helper_id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return [helper_from(row) for row in await connection.execute(query)]


async def grant_leases(connection: AsyncConnection, until: datetime) -> int:
    """Every live helper's lease ends at `until`; returns how many there are."""
    done = await connection.execute(update(helpers).where(helpers.c.status.in_(_LIVE)).values(lease_expires_at=until))
    return done.rowcount
