# SPDX-License-Identifier: Apache-2.0
"""Asks the registry again for the paths of sessions: on one thread, which lives only while somebody waits for it.

All clients hear of a change at the same moment, so each waits a random moment first. The registry hears it no sooner
than they do, and after NATS was away perhaps later: an answer that follows an older assignment is asked for again, a
few times."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Iterable
from typing import Final

log = logging.getLogger("vcl")

Key = tuple[int, int]
"""Server id and shard: a session."""

JITTER_S: Final = 0.2
RETRY_S: Final = (0.2, 0.5, 1.0, 2.0, 5.0)
"""Between the tries for a newer assignment. It may concern others only: then no answer ever follows it."""
ANY_NEWER: Final = 1 << 63
"""For request(): nobody knows which epoch is the newest, so all tries are made."""


class PathRefresher:
    """`ask(key)` asks for one session and gives the epoch of the assignments that the answer follows, 0 for none."""

    def __init__(self, ask: Callable[[Key], int]) -> None:
        self._ask = ask
        self._lock = threading.Lock()
        self._wanted: dict[Key, int] = {}  # the epoch that the answer must have reached
        self._running = False
        self._news = threading.Event()  # another request, or the end: no more waiting for the next try
        self._closed = threading.Event()

    def request(self, keys: Iterable[Key], epoch: int = 0) -> None:
        """Has these sessions asked for soon; does not wait."""
        with self._lock:
            for key in keys:
                self._wanted[key] = max(epoch, self._wanted.get(key, 0))
            self._news.set()
            if self._running or not self._wanted or self._closed.is_set():
                return
            self._running = True
        threading.Thread(target=self._run, name="vcl-paths", daemon=True).start()

    def close(self) -> None:
        """Asks no more."""
        self._closed.set()
        self._news.set()

    def _run(self) -> None:
        behind: dict[Key, tuple[int, int]] = {}  # the epoch that is wanted, and how many answers were older
        while not self._closed.wait(random.uniform(0.0, JITTER_S)):
            self._news.clear()
            wanted, behind = self._take(behind), {}
            for key, (epoch, tries) in wanted.items():
                if self._ask_once(key) < epoch and tries < len(RETRY_S):
                    behind[key] = (epoch, tries + 1)
            if behind:
                self._news.wait(RETRY_S[min(tries for _, tries in behind.values()) - 1])
                continue
            with self._lock:
                if not self._wanted:
                    self._running = False
                    return

    def _take(self, behind: dict[Key, tuple[int, int]]) -> dict[Key, tuple[int, int]]:
        with self._lock:
            wanted, self._wanted = self._wanted, {}
        return behind | {key: (max(epoch, behind.get(key, (0, 0))[0]), 0) for key, epoch in wanted.items()}

    def _ask_once(self, key: Key) -> int:
        try:
            return self._ask(key)
        except OSError as error:  # the session has ended
            log.debug("new paths: %s", error)
            return 0
