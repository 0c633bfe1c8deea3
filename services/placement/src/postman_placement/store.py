# SPDX-License-Identifier: Apache-2.0
"""SQL about the versions that guard the inputs and the epoch, and the outbox.

Whoever reads or changes what a version counts holds its row: shared to read, alone to change. Rows are always locked in
the order topology, demands, epoch, so that nobody waits in a circle.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple

from sqlalchemy import Row, Select, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from postman_contracts.messages import AssignmentsChanged
from postman_kit.outbox import outbox_add
from postman_placement.tables import outbox, versions

Counted = Literal["topology", "demands", "epoch"]
_ROWS_AT_ONCE: Final = 1000  # read between two turns of the event loop


class Version(NamedTuple):
    """How often something has changed, and a digest of what it is now (None: never changed, or not kept)."""

    value: int
    digest: bytes | None


async def read_version(connection: AsyncConnection, name: Counted) -> int:
    """The version; what it counts stays as it is until the transaction ends."""
    query = select(versions.c.value).where(versions.c.name == name).with_for_update(read=True)
    return int((await connection.execute(query)).scalar_one())


async def lock_version(connection: AsyncConnection, name: Counted) -> Version:
    """The version, for a transaction that may change it: all others wait."""
    query = select(versions.c.value, versions.c.digest).where(versions.c.name == name).with_for_update()
    row = (await connection.execute(query)).one()
    return Version(row.value, row.digest)


async def save_version(connection: AsyncConnection, name: Counted, version: Version) -> None:
    """What it counts has changed in this transaction."""
    await connection.execute(
        update(versions).where(versions.c.name == name).values(value=version.value, digest=version.digest)
    )


async def add_parts(
    connection: AsyncConnection, subject: str, parts: Sequence[AssignmentsChanged], now: datetime
) -> None:
    """The parts of an epoch, to be published once this transaction has committed. Those that still wait stay."""
    ids = [part.event_id for part in parts]
    waiting = set(await connection.scalars(select(outbox.c.event_id).where(outbox.c.event_id.in_(ids))))
    for part in parts:
        if part.event_id not in waiting:
            await outbox_add(connection, outbox, event_id=part.event_id, subject=subject, message=part, now=now)


async def streamed(connection: AsyncConnection, query: Select[Any]) -> AsyncIterator[Row[Any]]:
    """The rows of a query that may have many: the event loop turns in between."""
    async with connection.stream(query, execution_options={"yield_per": _ROWS_AT_ONCE}) as result:
        async for row in result:
            yield row
