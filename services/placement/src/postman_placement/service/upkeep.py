# SPDX-License-Identifier: Apache-2.0
"""What placement does unasked: gets its database ready, and says the epoch in force again where it may be lost.

That is at start, when NATS comes back (it may have lost its files), and more often than the stream forgets: so a
registry that begins with nothing finds the epoch in the stream.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final

import structlog

from postman_kit.bus import Bus
from postman_kit.db import DatabaseUnavailable
from postman_kit.facts import FACTS
from postman_kit.migrate import migrate
from postman_placement.service.apply import Applying
from postman_placement.service.context import Context
from postman_placement.tables import SCHEMA, SCRIPTS

PUBLISH_AGAIN_S: Final = FACTS.age_s_max / 4
_LOOK_INTERVAL_S: Final = 0.25  # at NATS, which costs nothing
_CHECK_INTERVAL_S: Final = 2.0  # of the database
_RETRY_S: Final = 1.0

_log = structlog.get_logger(__name__)


class Upkeep:
    """One task of the process."""

    def __init__(self, context: Context, applying: Applying, bus: Bus) -> None:
        self._context = context
        self._applying = applying
        self._bus = bus

    async def check_ready(self) -> None:
        """For /readyz: raises while placement cannot work."""
        if not self._context.is_ready:
            raise DatabaseUnavailable("placement is not ready yet")
        await self._context.database.check()

    async def run(self) -> None:
        """Until cancelled: bring up, watch; when the database goes away, from the beginning."""
        while True:
            try:
                await self._context.database.wait_ready()
                await self.bring_up()
                await self._watch()
            except DatabaseUnavailable as error:
                _log.warning("the database went away", error=str(error))
            except Exception:
                _log.exception("upkeep failed; it tries again")
            await asyncio.sleep(_RETRY_S)

    async def bring_up(self) -> None:
        """Tables, and the epoch in force on its way to all."""
        await migrate(self._context.database, schema=SCHEMA, scripts=SCRIPTS)
        epoch = await self._applying.publish_again()
        self._context.is_ready = True
        _log.info("ready", epoch=epoch)

    async def _watch(self) -> None:
        """Raises DatabaseUnavailable when the database goes away."""
        connections, published_s = self._bus.connections, time.monotonic()
        checked_s = published_s
        while True:
            await asyncio.sleep(_LOOK_INTERVAL_S)
            now_s = time.monotonic()
            # The first connection brings back nothing that was there before: the outbox has all that there is to say.
            is_back = self._bus.connections > max(connections, 1)
            connections = self._bus.connections
            if is_back or now_s - published_s >= PUBLISH_AGAIN_S:
                await self._applying.publish_again()
                published_s = now_s
            if now_s - checked_s >= _CHECK_INTERVAL_S:
                await self._context.database.check()
                checked_s = now_s
