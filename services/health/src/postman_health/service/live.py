# SPDX-License-Identifier: Apache-2.0
"""Those who follow the history. Each reads the database at its own pace, from where it is; a slow one costs nothing.

They are woken by what this process records. What another one recorded they see with the next keepalive.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final

import structlog

from postman_contracts.rest_health import LIVE_KEEPALIVE_S
from postman_health.service.history import History
from postman_health.store_events import Event, Filter
from postman_kit.db import DatabaseUnavailable
from postman_kit.errors import unavailable

PAGE_MAX: Final = 100
PAUSE_S: Final = 0.1
"""From one read of a listener to its next, unless it has to catch up: bounds the load, however much happens."""

READS_MAX: Final = 2
"""Reads at the same time, of all listeners: the rest of the pool is for recording and for requests."""

_RETRY_S: Final = 1.0

_log = structlog.get_logger(__name__)


class Listener:
    """One of them: what wakes it."""

    def __init__(self) -> None:
        self.wake = asyncio.Event()


class Live:
    """All listeners of this process."""

    def __init__(self, history: History, *, listeners_max: int, keepalive_s: float = LIVE_KEEPALIVE_S) -> None:
        self._history = history
        self._listeners_max = listeners_max
        self._keepalive_s = keepalive_s
        self._listeners: set[Listener] = set()
        self._reads = asyncio.Semaphore(READS_MAX)
        self._is_stopping = False

    @property
    def listeners(self) -> int:
        """How many there are."""
        return len(self._listeners)

    def wake(self) -> None:
        """Something was recorded."""
        for listener in self._listeners:
            listener.wake.set()

    def stop(self) -> None:
        """All listeners end; they come back to whoever is there then, and miss nothing."""
        self._is_stopping = True
        self.wake()

    def enter(self) -> Listener:
        """One more; a 503 problem if there are too many."""
        if self._is_stopping or len(self._listeners) >= self._listeners_max:
            raise unavailable(
                f"At most {self._listeners_max} may follow the events at a time. Come back later, or ask for pages "
                "with GET /v1/events."
            )
        listener = Listener()
        self._listeners.add(listener)
        return listener

    def leave(self, listener: Listener) -> None:
        """Its place is free."""
        self._listeners.discard(listener)

    async def follow(self, listener: Listener, wanted: Filter, after: int) -> AsyncIterator[list[Event]]:
        """The events after a number: those that are there, then those to come. An empty list is a keepalive."""
        clock, pause_s, read_at_s = asyncio.get_running_loop().time, PAUSE_S, 0.0
        while not self._is_stopping:
            await asyncio.sleep(max(0.0, read_at_s + pause_s - clock()))
            read_at_s = clock()
            listener.wake.clear()
            try:
                async with self._reads:
                    events = await self._history.page(wanted, after, PAGE_MAX)
            except DatabaseUnavailable as error:
                _log.debug("a listener waits for the database", error=str(error))
                pause_s = _RETRY_S
                yield []
                continue
            pause_s = 0.0 if len(events) == PAGE_MAX else PAUSE_S
            if events:
                after = events[-1].number
                yield events
            elif not await self._is_woken(listener):
                yield []

    async def _is_woken(self, listener: Listener) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._keepalive_s):
                await listener.wake.wait()
        return listener.wake.is_set()
