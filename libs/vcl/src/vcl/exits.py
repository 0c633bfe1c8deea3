# SPDX-License-Identifier: Apache-2.0
"""The end of the process. No kernel finishes our connections for us: what was written must be acknowledged first, for
at most LINGER_S, and no thread of ours may run into the interpreter's end."""

from __future__ import annotations

import atexit
import os
import weakref
from collections.abc import Callable
from typing import Protocol

LINGER_S = 2.0
JOIN_S = 0.5
"""Beyond LINGER_S, for the threads to end."""


class Closing(Protocol):
    """Something with connections: first all begin to close, then all are waited for."""

    def begin_close(self, linger_s: float) -> None:
        """Begins; must not wait."""

    def finish_close(self, timeout_s: float) -> None:
        """Waits."""


_open: weakref.WeakSet[Closing] = weakref.WeakSet()
_last: list[Callable[[], None]] = []


def add(closing: Closing) -> None:
    """Will be closed at exit, if it still exists then."""
    _open.add(closing)


def at_end(callback: Callable[[], None]) -> None:
    """Will be called at exit, when all is closed: what is said of the end must still be sent."""
    _last.append(callback)


def close_all() -> None:
    """Closes everything there is, as at exit."""
    closing = list(_open)
    _open.clear()
    for one in closing:
        one.begin_close(LINGER_S)
    for one in closing:
        one.finish_close(LINGER_S + JOIN_S)


def _at_exit() -> None:
    close_all()
    for callback in _last:
        callback()


def _after_fork_in_child() -> None:
    _open.clear()  # they are the parent's


atexit.register(_at_exit)
os.register_at_fork(after_in_child=_after_fork_in_child)
