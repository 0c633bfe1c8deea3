# SPDX-License-Identifier: Apache-2.0
"""Errors of the binding. Nearly all are the built-in OSError subclasses that a TCP socket raises for the same errno
(ConnectionResetError, BrokenPipeError, TimeoutError, BlockingIOError, ...); only what TCP does not know is added."""

from __future__ import annotations

import errno
import os

__all__ = ["ForkedError", "TokenExpiredError", "error_of", "timed_out", "unsupported"]


class TokenExpiredError(OSError):
    """The server refused the token as expired. connect() renews it and tries again before a program sees this."""


class ForkedError(OSError):
    """The connection belongs to the parent process: after a fork only the parent may use it."""


def error_of(code: int, *, forked: bool = False) -> OSError:
    """The exception for an errno of the library."""
    if forked:
        return ForkedError(errno.EBADF, "this connection belongs to the parent process; connect again after a fork")
    if code == errno.EKEYEXPIRED:
        return TokenExpiredError(code, os.strerror(code))
    if code == errno.ETIME:
        return timed_out()
    return OSError(code, os.strerror(code))


def timed_out() -> TimeoutError:
    """What socket.socket raises when its own timeout passes."""
    return TimeoutError("timed out")


def unsupported(what: str) -> OSError:
    """For what a VCL connection cannot do."""
    return OSError(errno.EOPNOTSUPP, f"{what} is not supported on a VCL connection")
