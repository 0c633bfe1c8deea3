# SPDX-License-Identifier: Apache-2.0
"""Writes verdicts down after they were pushed: the last one on each helper, and a fact of each change.

What is to be written waits in memory while the database is away, bounded: the oldest goes first. So the history may
have a hole after a long outage, which is counted, but the last verdict of each helper is written in the end.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from typing import Final
from uuid import UUID, uuid4

import structlog
from opentelemetry import context as otel_context

from postman_health import store
from postman_health.detector import Change, Forgotten
from postman_health.facts import verdict_fact
from postman_kit.db import Connection, Database, DatabaseUnavailable
from postman_kit.failures import is_reported

WAITING_MAX: Final = 10_000
"""About 20 MB at most; at one flap a second of ten helpers, a quarter of an hour."""

_BATCH_MAX: Final = 100
_RETRY_S: Final = 0.5

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Waiting:
    outcome: Change | Forgotten
    event_id: UUID = field(default_factory=uuid4)
    trace: otel_context.Context = field(default_factory=otel_context.get_current)


class Recorder:
    """One task of the process. `counters`: written, dropped."""

    def __init__(self, database: Database, on_committed: Callable[[], None]) -> None:
        self.counters: Counter[str] = Counter()
        self._database = database
        self._on_committed = on_committed
        self._waiting: deque[_Waiting] = deque()
        self._wake = asyncio.Event()

    def add(self, outcome: Change | Forgotten) -> None:
        """To be written soon, in the trace that we are in. Never waits."""
        if len(self._waiting) >= WAITING_MAX:
            self._waiting.popleft()
            self.counters["dropped"] += 1
        self._waiting.append(_Waiting(outcome))
        self._wake.set()

    async def run(self) -> None:
        """Write until cancelled; begin when the tables are there."""
        failures = 0
        while True:
            try:
                await self.write_all()
                failures = 0
                await self._wake.wait()
            except DatabaseUnavailable as error:
                failures += 1
                if is_reported(failures):
                    _log.warning("verdicts wait for the database", waiting=len(self._waiting), error=str(error))
                await asyncio.sleep(_RETRY_S)
            except Exception:
                failures += 1
                if is_reported(failures):
                    _log.exception("verdicts could not be written; it tries again", waiting=len(self._waiting))
                await asyncio.sleep(_RETRY_S)

    async def write_all(self) -> None:
        """All that waits, in batches, oldest first."""
        self._wake.clear()
        while self._waiting:
            batch = list(islice(self._waiting, _BATCH_MAX))
            async with self._database.transaction() as connection:
                for waiting in batch:
                    await _write(connection, waiting)
            self._remove(batch)
            self.counters["written"] += len(batch)
            self._on_committed()

    def _remove(self, batch: list[_Waiting]) -> None:
        """What is written; some of it may have been dropped meanwhile."""
        done = {waiting.event_id for waiting in batch}
        while self._waiting and self._waiting[0].event_id in done:
            self._waiting.popleft()


async def _write(connection: Connection, waiting: _Waiting) -> None:
    if isinstance(waiting.outcome, Forgotten):
        await store.forget(connection, waiting.outcome.helper_id)
        return
    await store.save(connection, waiting.outcome)
    subject, message = verdict_fact(waiting.outcome, waiting.event_id)
    token = otel_context.attach(waiting.trace)  # the outbox keeps the trace in which the verdict was given
    try:
        await store.add_fact(
            connection, event_id=waiting.event_id, subject=subject, message=message, now=waiting.outcome.at
        )
    finally:
        otel_context.detach(token)
