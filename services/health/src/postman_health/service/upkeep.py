# SPDX-License-Identifier: Apache-2.0
"""What health does unasked: get its database ready, take up what it knew before a restart, forget old events.

The watch and its pushes do not wait for any of it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog
from pydantic import ValidationError

from postman_contracts.messages import HelperFact
from postman_health import store, store_events
from postman_health.domain import Lease
from postman_health.facts import lease_of
from postman_health.service.recorder import Recorder
from postman_health.service.watch import Watch
from postman_health.tables import SCHEMA, SCRIPTS
from postman_kit.db import CONNECT_TIMEOUT_S, Database, DatabaseUnavailable
from postman_kit.errors import unavailable
from postman_kit.migrate import migrate

PRUNE_MAX: Final = 1000
"""Events in one transaction: a few milliseconds, so that nobody waits for it."""

_PRUNE_INTERVAL_S: Final = 60.0
_CHECK_INTERVAL_S: Final = 1.0
_RETRY_S: Final = 1.0

_log = structlog.get_logger(__name__)


class Upkeep:
    """One task of the process. `counters`: pruned."""

    def __init__(self, database: Database, watch: Watch, recorder: Recorder, *, events_kept: timedelta) -> None:
        self.counters: Counter[str] = Counter()
        self._database = database
        self._watch = watch
        self._recorder = recorder
        self._events_kept = events_kept
        self._is_ready = False
        self._restored = asyncio.Event()

    def required(self) -> None:
        """For requests that need the tables: a 503 problem while they are not there."""
        if not self._is_ready:
            raise unavailable("Health does not reach its database. Send the same request again shortly.")

    async def check_ready(self) -> None:
        """For /readyz: raises while the history cannot be read."""
        if not self._is_ready:
            raise DatabaseUnavailable("health is not ready")
        await self._database.check()

    async def run(self) -> None:
        """Until cancelled: bring up, then write and prune; what fails is tried again."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep_ready())
            await self._restored.wait()
            tasks.create_task(self._recorder.run())
            tasks.create_task(self._prune_for_ever())

    async def bring_up(self) -> None:
        """Tables, and the first time what was known before."""
        await migrate(self._database, schema=SCHEMA, scripts=SCRIPTS)
        if not self._restored.is_set():
            await self._restore()
            self._restored.set()
        self._is_ready = True

    async def _restore(self) -> None:
        async with self._database.transaction() as connection:
            kept = await store.load(connection)
            facts = await store_events.newest_helper_facts(connection)
        leases = {}
        for event in facts:
            found = _lease_in(event)
            if found is not None:
                helper_id, lease = found
                leases[helper_id] = lease
        await self._watch.restore(kept, leases)
        _log.info("ready", verdicts=len(kept), leases=len(leases))

    async def prune(self) -> None:
        """Remove events that are older than is kept."""
        while True:
            async with self._database.transaction() as connection:
                pruned = await store_events.prune(connection, datetime.now(UTC), self._events_kept, PRUNE_MAX)
            self.counters["pruned"] += pruned
            if pruned < PRUNE_MAX:
                return
            await asyncio.sleep(0)

    async def _keep_ready(self) -> None:
        """When the database goes away, from the beginning: another one may come back."""
        while True:
            try:
                await self._database.wait_ready()
                await self.bring_up()
                while True:
                    await asyncio.sleep(_CHECK_INTERVAL_S)
                    await self._check_tables()
            except DatabaseUnavailable as error:
                _log.warning("the database went away", error=str(error))
            except Exception:
                _log.exception("the database cannot be brought up; it is tried again")
            self._is_ready = False
            await asyncio.sleep(_RETRY_S)

    async def _check_tables(self) -> None:
        async with self._database.transaction() as connection, asyncio.timeout(CONNECT_TIMEOUT_S):
            await store_events.newest_number(connection)

    async def _prune_for_ever(self) -> None:
        while True:
            try:
                await self.prune()
            except DatabaseUnavailable as error:
                _log.debug("old events stay for now", error=str(error))
            except Exception:
                _log.exception("old events could not be removed")
            await asyncio.sleep(_PRUNE_INTERVAL_S)


def _lease_in(event: store_events.Event) -> tuple[int, Lease] | None:
    """What the registry said, if a newer release has not changed how it says it."""
    try:
        fact = HelperFact.model_validate(event.body)
    except ValidationError:
        return None
    lease = lease_of(event.kind.removeprefix("helper."), fact, is_ordered=True)
    return None if lease is None else (fact.helper_id, lease)
