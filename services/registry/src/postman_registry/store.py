# SPDX-License-Identifier: Apache-2.0
"""SQL that is neither about helpers nor about servers alone: secrets, the version of the server set, the outbox."""

from __future__ import annotations

from datetime import datetime
from typing import Final
from uuid import UUID

from pydantic import BaseModel
from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from postman_kit.outbox import outbox_add
from postman_registry.tables import counters, outbox, secrets

_SERVERS_VERSION: Final = "servers_version"


async def ensure_secret(connection: AsyncConnection, name: str, candidate: bytes) -> bytes:
    """The secret of this name: `candidate` if there was none before. Whoever comes first decides."""
    await connection.execute(insert(secrets).values(name=name, value=candidate).on_conflict_do_nothing())
    return bytes((await connection.execute(select(secrets.c.value).where(secrets.c.name == name))).scalar_one())


async def servers_version(connection: AsyncConnection) -> int:
    """The version of the set of live servers. Read it before the set: then the set is at least as new."""
    query = select(counters.c.value).where(counters.c.name == _SERVERS_VERSION)
    return int((await connection.execute(query)).scalar_one())


async def bump_servers_version(connection: AsyncConnection) -> None:
    """The set of live servers changes in this transaction. Call it last: it holds up other such transactions."""
    await connection.execute(
        update(counters).where(counters.c.name == _SERVERS_VERSION).values(value=counters.c.value + 1)
    )


async def add_fact(
    connection: AsyncConnection, *, event_id: UUID, subject: str, message: BaseModel, now: datetime
) -> None:
    """A fact, to be published once this transaction has committed."""
    await outbox_add(connection, outbox, event_id=event_id, subject=subject, message=message, now=now)
