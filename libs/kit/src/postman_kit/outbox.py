# SPDX-License-Identifier: Apache-2.0
"""The outbox: facts are written in the transaction that makes them true, and published after it has committed.

At least once, in the order of writing; the message id lets JetStream drop what it already has. Whether NATS or Postgres
is away, the loop keeps trying. One publisher works at a time, in whichever process (an advisory lock decides).
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import zlib
from collections import Counter
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import structlog
from pydantic import BaseModel
from sqlalchemy import BigInteger, Column, DateTime, LargeBinary, MetaData, String, Table, Uuid, delete, insert, select
from sqlalchemy import func as sql
from sqlalchemy.ext.asyncio import AsyncConnection

from postman_kit.bus import Bus, BusUnavailable
from postman_kit.bus_trace import trace_parent
from postman_kit.db import Database, DatabaseUnavailable
from postman_kit.failures import is_reported

_BATCH_MAX: Final = 100
_POLL_S: Final = 1.0  # how late a fact may be whose wake-up came to another process
_RETRY_S: Final = 0.5

_log = structlog.get_logger(__name__)


def outbox_table(metadata: MetaData, schema: str) -> Table:
    """The table of one service's outbox."""
    return Table(
        "outbox",
        metadata,
        Column("id", BigInteger, primary_key=True, autoincrement=True),
        Column("event_id", Uuid, nullable=False, unique=True),
        Column("subject", String(200), nullable=False),
        Column("payload", LargeBinary, nullable=False),
        Column("trace_parent", String(64)),
        Column("created_at", DateTime(timezone=True), nullable=False),
        schema=schema,
    )


async def outbox_add(
    connection: AsyncConnection, table: Table, *, event_id: UUID, subject: str, message: BaseModel, now: datetime
) -> None:
    """Write one message in the caller's transaction."""
    await connection.execute(
        insert(table).values(
            event_id=event_id,
            subject=subject,
            payload=message.model_dump_json().encode(),
            trace_parent=trace_parent(),
            created_at=now,
        )
    )


class OutboxPublisher:
    """Publishes what is in the table and removes it. `counters`: published, expired."""

    def __init__(self, database: Database, table: Table, bus: Bus, *, age_max: timedelta = timedelta(days=1)) -> None:
        """Messages older than `age_max` are dropped: the stream would not keep them either."""
        self.counters: Counter[str] = Counter()
        self._database = database
        self._table = table
        self._bus = bus
        self._age_max = age_max
        self._lock_id = zlib.crc32(f"{table.schema}.outbox".encode())
        self._wake = asyncio.Event()
        self._emptied_s = time.monotonic()

    @property
    def lag_s(self) -> float:
        """For how long the outbox has not been found empty: below the poll's second while all is well."""
        return time.monotonic() - self._emptied_s

    def wake(self) -> None:
        """Something was committed: publish it now."""
        self._wake.set()

    async def run(self) -> None:
        """Publish until cancelled."""
        failures = 0
        while True:
            self._wake.clear()
            pause_s = _POLL_S
            try:
                while self._bus.is_connected and await self.publish_batch() == _BATCH_MAX:
                    pass
                failures = 0
            except (BusUnavailable, DatabaseUnavailable) as error:
                failures += 1
                if is_reported(failures):
                    _log.warning("the outbox waits", error=str(error), failures=failures)
                await asyncio.sleep(_RETRY_S)
            except Exception:
                _log.exception("the outbox failed; it tries again")
                await asyncio.sleep(_RETRY_S)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._wake.wait()

    async def publish_batch(self) -> int:
        """Publish the oldest messages, in order; returns how many. What was published goes, even if one fails."""
        table, failure = self._table, None
        async with self._database.transaction() as connection:
            if not await connection.scalar(select(sql.pg_try_advisory_xact_lock(self._lock_id))):
                return 0
            await self._drop_expired(connection)
            rows = (await connection.execute(select(table).order_by(table.c.id).limit(_BATCH_MAX))).all()
            done: list[int] = []
            for row in rows:
                try:
                    await self._bus.publish_durable(
                        row.subject, row.payload, message_id=str(row.event_id), trace_parent=row.trace_parent
                    )
                except BusUnavailable as error:
                    failure = error
                    break
                done.append(row.id)
            if done:
                await connection.execute(delete(table).where(table.c.id.in_(done)))
        self.counters["published"] += len(done)
        if failure is not None:
            raise failure
        if len(done) < _BATCH_MAX:
            self._emptied_s = time.monotonic()
        return len(done)

    async def _drop_expired(self, connection: AsyncConnection) -> None:
        oldest = sql.now() - self._age_max
        dropped = await connection.execute(delete(self._table).where(self._table.c.created_at < oldest))
        if dropped.rowcount:
            self.counters["expired"] += dropped.rowcount
            _log.error("outbox messages were too old to publish", count=dropped.rowcount)
