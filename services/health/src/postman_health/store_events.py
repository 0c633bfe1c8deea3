# SPDX-License-Identifier: Apache-2.0
"""SQL of the history of events."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Row, delete, select
from sqlalchemy import func as sql
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from postman_health.tables import SCHEMA, events
from postman_kit.db import sqlstate

_LOCK_ID: Final = zlib.crc32(f"{SCHEMA}.events".encode())
_NEVER_STORABLE: Final = ("22", "54")  # SQLSTATE classes: the data is wrong, a limit of the program


class Unstorable(Exception):
    """Postgres refuses these data, now and later."""


@dataclass(frozen=True, slots=True)
class NewEvent:
    """A fact, to be recorded."""

    event_id: UUID
    kind: str
    helper_id: int | None
    server_id: int | None
    at: datetime
    trace_id: str | None
    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Event:
    """A fact that was recorded."""

    number: int
    event_id: UUID
    kind: str
    at: datetime
    recorded_at: datetime
    trace_id: str | None
    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Filter:
    """Which events are wanted; None: all."""

    kind: str | None = None
    helper_id: int | None = None
    server_id: int | None = None


async def record(connection: AsyncConnection, event: NewEvent, recorded_at: datetime) -> int | None:
    """Record it once; its number, or None if it was there. Unstorable if it can never be.

    The lock makes numbers visible in their order: who has read number n never misses one below it.
    """
    await connection.execute(select(sql.pg_advisory_xact_lock(_LOCK_ID)))
    if await connection.scalar(select(events.c.number).where(events.c.event_id == event.event_id)):
        return None
    values = {name: getattr(event, name) for name in NewEvent.__slots__}
    statement = insert(events).values(recorded_at=recorded_at, **values).returning(events.c.number)
    try:
        return int((await connection.execute(statement)).scalar_one())
    except DBAPIError as error:
        if sqlstate(error).startswith(_NEVER_STORABLE):
            raise Unstorable(str(error.orig)) from error
        raise


async def page(
    connection: AsyncConnection, wanted: Filter, after: int, limit: int, *, newest: bool = False
) -> list[Event]:
    """The next `limit` events with numbers above `after`, or the newest of them; oldest first."""
    query = select(events).where(events.c.number > after)
    for name in Filter.__slots__:
        value = getattr(wanted, name)
        if value is not None:
            query = query.where(events.c[name] == value)
    order = events.c.number.desc() if newest else events.c.number
    found = [_event_from(row) for row in await connection.execute(query.order_by(order).limit(limit))]
    return found[::-1] if newest else found


async def newest_number(connection: AsyncConnection) -> int:
    """The number of the newest event; 0 if there is none."""
    return int(await connection.scalar(select(sql.coalesce(sql.max(events.c.number), 0))) or 0)


async def newest_helper_facts(connection: AsyncConnection) -> list[Event]:
    """The registry's last word on each helper."""
    newest = (
        select(sql.max(events.c.number))
        .where(events.c.helper_id.is_not(None), events.c.kind.startswith("helper."))
        .group_by(events.c.helper_id)
    )
    query = select(events).where(events.c.number.in_(newest))
    return [_event_from(row) for row in await connection.execute(query)]


async def prune(connection: AsyncConnection, now: datetime, kept: timedelta, limit: int) -> int:
    """Remove the oldest events, at most `limit`, that were recorded longer ago than `kept`; returns how many.

    The age is by the earlier of our clock and the database's: one that leapt ahead must not cost the history.
    """
    oldest = sql.least(sql.now(), now) - kept
    chosen = select(events.c.number).where(events.c.recorded_at < oldest).order_by(events.c.recorded_at).limit(limit)
    return (await connection.execute(delete(events).where(events.c.number.in_(chosen)))).rowcount


def _event_from(row: Row[Any]) -> Event:
    return Event(**{name: getattr(row, name) for name in Event.__slots__})
