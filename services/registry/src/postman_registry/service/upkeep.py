# SPDX-License-Identifier: Apache-2.0
"""What the registry does unasked: get its database ready, end expired leases, forget what ended long ago.

While the database (or the registry) was away nobody could renew. So after each such time every live node first gets one
full lease before any is declared down. A clock that jumped, a machine that was stopped, and a database that answered so
late count as such times, too.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from datetime import datetime, timedelta

import structlog

from postman_contracts.tokens import CID_KEY_BYTES
from postman_kit.db import Connection, DatabaseUnavailable
from postman_kit.migrate import migrate
from postman_registry import store as shared
from postman_registry import store_helpers as helper_store
from postman_registry import store_servers as server_store
from postman_registry.domain import HelperEvent, ServerEvent, helper_expire, server_expire
from postman_registry.service.context import Context
from postman_registry.tables import SCHEMA, SCRIPTS

_SWEEP_MAX = 500  # nodes of each kind in one transaction
_RETRY_S = 1.0

_log = structlog.get_logger(__name__)


class Upkeep:
    """One task of the process. `counters`: helpers_down, servers_down (leases that ran out)."""

    def __init__(self, context: Context, *, sweep_interval_s: float) -> None:
        self._context = context
        self._sweep_interval_s = sweep_interval_s
        self._is_ready = False
        self.counters: Counter[str] = Counter()

    async def check_ready(self) -> None:
        """For /readyz: raises while the registry cannot work."""
        if not self._is_ready:
            raise DatabaseUnavailable("the registry is not ready yet")
        await self._context.database.check()

    async def run(self) -> None:
        """Until cancelled: bring up, sweep; when the database goes away, from the beginning."""
        while True:
            try:
                await self._context.database.wait_ready()
                await self.bring_up()
                while True:
                    swept_at = self._context.clock()
                    await self.sweep()
                    await asyncio.sleep(self._sweep_interval_s)
                    await self.forgive_gap(swept_at)
            except DatabaseUnavailable as error:
                _log.warning("the database went away", error=str(error))
            except Exception:
                _log.exception("upkeep failed; it tries again")
            self._is_ready = False
            await asyncio.sleep(_RETRY_S)

    async def bring_up(self) -> None:
        """Tables, secrets, and one lease of grace."""
        context = self._context
        await migrate(context.database, schema=SCHEMA, scripts=SCRIPTS)
        candidate = context.cid_key or secrets.token_bytes(CID_KEY_BYTES)
        async with context.database.transaction() as connection:
            context.cid_key = await shared.ensure_secret(connection, "cid_key", candidate)
            helpers, servers = await self._grant_leases(connection)
        self._is_ready = True
        _log.info("ready", helpers_with_grace=helpers, servers_with_grace=servers)

    async def forgive_gap(self, swept_at: datetime) -> None:
        """One lease of grace if the clock says that the last sweep was implausibly long ago, or is yet to come."""
        context = self._context
        gap = context.clock() - swept_at - timedelta(seconds=self._sweep_interval_s)
        # Renewals come at each third of a lease: nobody has less than half of one left when a shorter gap begins.
        bearable = min(context.policy.helper_lease_ttl, context.policy.server_lease_ttl) / 2
        if abs(gap) <= bearable:
            return
        async with context.database.transaction() as connection:
            helpers, servers = await self._grant_leases(connection)
        _log.warning(
            "the clock jumped, or this process or the database stood still: all leases begin anew",
            gap_s=round(gap.total_seconds(), 3),
            helpers_with_grace=helpers,
            servers_with_grace=servers,
        )

    async def _grant_leases(self, connection: Connection) -> tuple[int, int]:
        now, policy = self._context.clock(), self._context.policy
        helpers = await helper_store.grant_leases(connection, now + policy.helper_lease_ttl)
        servers = await server_store.grant_leases(connection, now + policy.server_lease_ttl)
        return helpers, servers

    async def sweep(self) -> None:
        """Declare down whose lease has run out."""
        context, now = self._context, self._context.clock()
        events: list[HelperEvent | ServerEvent] = []
        async with context.database.transaction() as connection:
            for helper in await helper_store.expired(connection, now, _SWEEP_MAX):
                helper, its_events = helper_expire(helper, now=now)
                await helper_store.save(connection, helper)
                events += its_events
            for server in await server_store.expired(connection, now, _SWEEP_MAX):
                server, its_server_events = server_expire(server, now=now)
                await server_store.save(connection, server)
                events += its_server_events
            await server_store.forget_ended(connection, now - context.policy.server_id_rest)
            await context.record(connection, events, now)
        context.committed(events)
        for event in events:
            self.counters["helpers_down" if isinstance(event, HelperEvent) else "servers_down"] += 1
            _log.info("lease expired", node=event)
