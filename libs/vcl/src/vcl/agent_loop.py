# SPDX-License-Identifier: Apache-2.0
"""One asyncio loop in one daemon thread, called from ordinary threads. It knows nothing of registries and leases."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

START_TIMEOUT_S = 5.0


class LoopThread:
    """Starts with the object, ends with stop(). A daemon: an interpreter that exits without stop() does not hang."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()
        self._started.wait(START_TIMEOUT_S)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.call_soon(self._started.set)
        try:
            self._loop.run_forever()
        finally:
            self._cancel_all()
            self._loop.close()

    def _cancel_all(self) -> None:
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        if tasks:
            self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.run_until_complete(asyncio.sleep(0))  # transports close their sockets one turn after close()

    def is_current(self) -> bool:
        """Whether the caller runs on this thread; it must not wait for the loop then."""
        return threading.current_thread() is self._thread

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        """Schedules a coroutine from any thread, with the caller's context variables. RuntimeError once stopped."""
        try:
            return asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        except RuntimeError:
            coroutine.close()
            raise

    def stop(self, timeout_s: float) -> bool:
        """Cancels what runs and ends the thread; False if it did not end in time. Safe to call twice."""
        try:
            self._loop.call_soon_threadsafe(self._loop.stop)
        except RuntimeError:
            return True
        if self.is_current():
            return False
        self._thread.join(timeout_s)
        return not self._thread.is_alive()
