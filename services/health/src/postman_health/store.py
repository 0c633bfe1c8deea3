# SPDX-License-Identifier: Apache-2.0
"""SQL of the verdicts: the last one on each helper, and the facts that tell of their changes."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel
from sqlalchemy import delete, exists, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from postman_health.detector import Change, Standing
from postman_health.tables import outbox, verdicts
from postman_kit.outbox import outbox_add


async def save(connection: AsyncConnection, change: Change) -> None:
    """Keep the verdict, unless a later one is kept already."""
    values = {
        "incarnation": change.incarnation,
        "verdict": change.verdict,
        "reason": change.reason,
        "since": change.at,
        "serial": change.serial,
        "deaths_recent": change.deaths_recent,
    }
    await connection.execute(
        insert(verdicts)
        .values(helper_id=change.helper_id, **values)
        .on_conflict_do_update(
            index_elements=[verdicts.c.helper_id], set_=values, where=verdicts.c.serial < change.serial
        )
    )


async def add_fact(
    connection: AsyncConnection, *, event_id: UUID, subject: str, message: BaseModel, now: datetime
) -> None:
    """A fact, to be published once this transaction has committed. One that waits already is not added again: the
    commit of the transaction before may have been done though its answer was lost."""
    if not await connection.scalar(select(exists().where(outbox.c.event_id == event_id))):
        await outbox_add(connection, outbox, event_id=event_id, subject=subject, message=message, now=now)


async def forget(connection: AsyncConnection, helper_id: int) -> None:
    """The helper is gone."""
    await connection.execute(delete(verdicts).where(verdicts.c.helper_id == helper_id))


async def load(connection: AsyncConnection) -> list[Standing]:
    """All verdicts that are kept."""
    rows = await connection.execute(select(verdicts).order_by(verdicts.c.helper_id))
    return [
        Standing(
            helper_id=row.helper_id,
            incarnation=row.incarnation,
            verdict=row.verdict,
            reason=row.reason,
            since=row.since,
            serial=row.serial,
            deaths_recent=row.deaths_recent,
        )
        for row in rows
    ]
