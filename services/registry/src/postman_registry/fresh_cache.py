# SPDX-License-Identifier: Apache-2.0
"""Answers that may be a moment old: each question is asked once per moment, however many ask it.

Who asks while the same question is under way waits for that answer. Nothing that was begun before a `clear` is given to
anybody who asks after it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class FreshCache(Generic[K, V]):
    """At most `entries_max` answers, none older than `age_s_max`."""

    def __init__(self, age_s_max: float, entries_max: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._age_s_max = age_s_max
        self._entries_max = entries_max
        self._clock = clock
        self._entries: dict[K, tuple[float, V]] = {}
        self._pending: dict[K, asyncio.Task[V]] = {}

    async def get(self, key: K, load: Callable[[], Awaitable[V]]) -> V:
        """The answer to `key`: kept, or under way, or loaded now."""
        entry = self._entries.get(key)
        if entry is not None and self._clock() - entry[0] < self._age_s_max:
            return entry[1]
        task = self._pending.get(key)
        if task is None:
            task = asyncio.create_task(self._load(key, load))
            self._pending[key] = task
            task.add_done_callback(_retrieve)
        return await asyncio.shield(task)

    def clear(self) -> None:
        """Something changed: whoever asks from now on gets an answer that is begun from now on."""
        self._entries.clear()
        self._pending.clear()

    async def _load(self, key: K, load: Callable[[], Awaitable[V]]) -> V:
        task, begun_at = asyncio.current_task(), self._clock()
        try:
            value = await load()
            if self._pending.get(key) is task:
                self._keep(key, begun_at, value)
            return value
        finally:
            if self._pending.get(key) is task:
                del self._pending[key]

    def _keep(self, key: K, begun_at: float, value: V) -> None:
        self._entries.pop(key, None)
        if len(self._entries) >= self._entries_max:
            del self._entries[next(iter(self._entries))]  # the one that was loaded first
        self._entries[key] = (begun_at, value)


def _retrieve(task: asyncio.Task[V]) -> None:
    """All who waited may be gone; then nobody is left to be told of an error."""
    if not task.cancelled():
        task.exception()
