# SPDX-License-Identifier: Apache-2.0
"""SQL about placement's assignments: epochs that are coming in parts, and the one in force.

Every function runs in its caller's transaction.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from uuid import UUID

from sqlalchemy import Row, and_, delete, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from postman_contracts.messages import Assigned
from postman_registry.assignments import ServiceAssignments
from postman_registry.rows import assignment_from, assignment_values
from postman_registry.tables import assignment_epochs, assignment_parts, assignments, counters

_EPOCH: Final = "assignment_epoch"


async def epoch_in_force(connection: AsyncConnection, *, lock: bool = False) -> int | None:
    """The epoch that resolve follows, None before the first; locked, no other part of any epoch is taken meanwhile."""
    query = select(counters.c.value).where(counters.c.name == _EPOCH)
    value = (await connection.execute(query.with_for_update() if lock else query)).scalar_one()
    return int(value) or None


async def ensure_epoch(
    connection: AsyncConnection, epoch: int, placement_id: UUID, parts: int
) -> Row[tuple[int, UUID, int, int]]:
    """The row of an epoch that is coming: as the first of its parts described it."""
    values = {"epoch": epoch, "placement_id": placement_id, "parts": parts, "parts_missing": parts}
    await connection.execute(insert(assignment_epochs).values(values).on_conflict_do_nothing())
    return (await connection.execute(select(assignment_epochs).where(assignment_epochs.c.epoch == epoch))).one()


async def add_part(connection: AsyncConnection, epoch: int, part: int, items: Iterable[Assigned]) -> int | None:
    """Keep one part; returns how many are still missing, or None if this one had come already."""
    came = insert(assignment_parts).values(epoch=epoch, part=part).on_conflict_do_nothing()
    if (await connection.execute(came)).rowcount == 0:
        return None
    rows = [{"epoch": epoch, **assignment_values(item)} for item in items]
    if rows:
        await connection.execute(insert(assignments).on_conflict_do_nothing(), rows)
    missing = assignment_epochs.c.parts_missing
    counted = update(assignment_epochs).where(assignment_epochs.c.epoch == epoch).values(parts_missing=missing - 1)
    return int((await connection.execute(counted.returning(missing))).scalar_one())


async def activate(connection: AsyncConnection, epoch: int) -> None:
    """From the end of this transaction on this epoch is in force, and no earlier one is kept."""
    await connection.execute(update(counters).where(counters.c.name == _EPOCH).values(value=epoch))
    await connection.execute(delete(assignment_epochs).where(assignment_epochs.c.epoch < epoch))


async def forget_incomplete(connection: AsyncConnection, in_force: int | None, keep: int) -> None:
    """Of the epochs that are still coming, keep the newest `keep`."""
    coming = assignment_epochs.c.epoch > (in_force or 0)
    newest = select(assignment_epochs.c.epoch).where(coming).order_by(assignment_epochs.c.epoch.desc()).limit(keep)
    await connection.execute(delete(assignment_epochs).where(coming, assignment_epochs.c.epoch.not_in(newest)))


async def of_service(connection: AsyncConnection, service: str) -> ServiceAssignments:
    """What is in force for one service, in one statement: never of two epochs."""
    of_epoch = and_(assignments.c.epoch == counters.c.value, assignments.c.service == service)
    query = (
        select(counters.c.value, assignments)
        .select_from(counters.outerjoin(assignments, of_epoch))
        .where(counters.c.name == _EPOCH)
    )
    rows = (await connection.execute(query)).all()
    return ServiceAssignments(rows[0].value or None, [assignment_from(row) for row in rows if row.service is not None])
