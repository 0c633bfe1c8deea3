# SPDX-License-Identifier: Apache-2.0
"""What both ends' loops share: a socket with a backlog of unsent bytes, and the order to stop."""

from __future__ import annotations

import contextlib
import selectors
import signal
from collections.abc import Callable, Iterator
from typing import Any, Final

READ_BYTES: Final = 65536
BACKLOG_BYTES_MAX: Final = 65536
"""A peer that takes no bytes gets no more made for it."""


class Line:
    """A non-blocking socket that is watched by a selector, for writing only while bytes wait to be written."""

    def __init__(self, sock: Any, selector: selectors.BaseSelector, owner: object) -> None:
        self.sock = sock
        self._selector = selector
        self._owner = owner
        self._backlog = b""
        self._watched = selectors.EVENT_READ
        sock.setblocking(False)
        selector.register(sock, self._watched, owner)

    @property
    def is_full(self) -> bool:
        """Whether the peer should take bytes first."""
        return len(self._backlog) > BACKLOG_BYTES_MAX

    def write(self, buf: bytes) -> None:
        """Writes now what goes now, and the rest as soon as it goes."""
        self._backlog += buf
        self.flush()

    def flush(self) -> None:
        """Writes what waits."""
        with contextlib.suppress(BlockingIOError):
            while self._backlog:
                self._backlog = self._backlog[self.sock.send(self._backlog) :]
        self._watch()

    def _watch(self) -> None:
        wanted = 0 if self.is_full else selectors.EVENT_READ
        if self._backlog:
            wanted |= selectors.EVENT_WRITE
        if wanted != self._watched:
            self._watched = wanted
            self._selector.modify(self.sock, wanted, self._owner)

    def read(self) -> bytes | None:
        """What came; None if nothing did, empty at the end of the stream."""
        try:
            found: bytes = self.sock.recv(READ_BYTES)
        except BlockingIOError:
            return None
        return found

    def close(self) -> None:
        """Closes the socket; again is no error."""
        with contextlib.suppress(KeyError):
            self._selector.unregister(self.sock)
        self.sock.close()


@contextlib.contextmanager
def stop_asked() -> Iterator[Callable[[], bool]]:
    """Whether SIGTERM or SIGINT came; they end nothing by themselves meanwhile."""
    asked: list[int] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    for number in before:
        signal.signal(number, lambda number, frame: asked.append(number))
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
