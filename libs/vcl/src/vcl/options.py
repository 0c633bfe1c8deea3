# SPDX-License-Identifier: Apache-2.0
"""Socket options of a VCL connection. A known option is stored and read back, even where it changes nothing (a TCP
tuning has no meaning for a path through a helper); an unknown one is ENOPROTOOPT, never silently ignored. SO_ERROR,
SO_LINGER, and SO_KEEPALIVE with TCP_KEEPIDLE really act."""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Callable

_SOL, _TCP, _IP, _IP6 = socket.SOL_SOCKET, socket.IPPROTO_TCP, socket.IPPROTO_IP, socket.IPPROTO_IPV6

# (level, option): what getsockopt() gives before anyone sets it.
_DEFAULTS: dict[tuple[int, int], int] = {
    (_SOL, socket.SO_KEEPALIVE): 0,
    (_SOL, socket.SO_REUSEADDR): 0,
    (_SOL, socket.SO_REUSEPORT): 0,
    (_SOL, socket.SO_OOBINLINE): 0,
    (_SOL, socket.SO_PRIORITY): 0,
    (_SOL, socket.SO_RCVLOWAT): 1,
    (_TCP, socket.TCP_NODELAY): 1,  # small sends always leave at once
    (_TCP, socket.TCP_CORK): 0,
    (_TCP, socket.TCP_QUICKACK): 1,
    (_TCP, socket.TCP_KEEPIDLE): 7200,
    (_TCP, socket.TCP_KEEPINTVL): 75,
    (_TCP, socket.TCP_KEEPCNT): 9,
    (_TCP, socket.TCP_USER_TIMEOUT): 0,
    (_TCP, socket.TCP_DEFER_ACCEPT): 0,
    (_TCP, socket.TCP_FASTOPEN): 0,
    (_IP, socket.IP_TOS): 0,
    (_IP, socket.IP_TTL): 64,
    (_IP6, socket.IPV6_V6ONLY): 0,
    (_IP6, socket.IPV6_TCLASS): 0,
}
_READ_ONLY = {
    (_SOL, socket.SO_ERROR),
    (_SOL, socket.SO_TYPE),
    (_SOL, socket.SO_DOMAIN),
    (_SOL, socket.SO_PROTOCOL),
    (_SOL, socket.SO_ACCEPTCONN),
}
_BUFFERS = {(_SOL, socket.SO_SNDBUF), (_SOL, socket.SO_RCVBUF)}
_KEEPALIVE, _KEEPIDLE = (_SOL, socket.SO_KEEPALIVE), (_TCP, socket.TCP_KEEPIDLE)
_LINGER = (_SOL, socket.SO_LINGER)
_LINGER_FORMAT = "ii"  # struct linger: l_onoff, l_linger


def _no_option() -> OSError:
    return OSError(errno.ENOPROTOOPT, os.strerror(errno.ENOPROTOOPT))


class Options:
    """The options of one connection. `fixed` gives those that the connection itself knows."""

    __slots__ = ("_fixed", "_stored", "linger")

    def __init__(self, fixed: dict[tuple[int, int], Callable[[], int]]) -> None:
        self._fixed = fixed
        self._stored: dict[tuple[int, int], int] = {}
        self.linger = (0, 0)  # (on, seconds)

    def set(self, level: int, option: int, value: int | bytes | None, optlen: int | None) -> None:
        """As socket.setsockopt()."""
        key = (level, option)
        if value is None or optlen is not None:
            raise _no_option()  # the form that passes a buffer length only
        if key == _LINGER:
            if not isinstance(value, (bytes, bytearray)) or len(value) < struct.calcsize(_LINGER_FORMAT):
                raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
            self.linger = struct.unpack_from(_LINGER_FORMAT, value)
            return
        if key in _READ_ONLY or (key not in _DEFAULTS and key not in _BUFFERS):
            raise _no_option()
        self._stored[key] = value if isinstance(value, int) else int.from_bytes(value[:4], "little", signed=True)

    def keepalive_ms(self) -> int:
        """The silence after which the peer is asked, 0: never. It is asked three times, as far apart (docs/protocol.md,
        C11), whatever TCP_KEEPINTVL and TCP_KEEPCNT say."""
        if not self._stored.get(_KEEPALIVE, 0):
            return 0
        return min(max(self._stored.get(_KEEPIDLE, _DEFAULTS[_KEEPIDLE]), 1) * 1000, 2**32 - 1)

    def get(self, level: int, option: int, buflen: int) -> int | bytes:
        """As socket.getsockopt()."""
        key = (level, option)
        if key == _LINGER:
            packed = struct.pack(_LINGER_FORMAT, *self.linger)
            return packed[:buflen] if buflen else self.linger[0]
        if key in self._fixed:  # buffers show their real size, whatever was asked for
            value = self._fixed[key]()
        elif key in _DEFAULTS:
            value = self._stored.get(key, _DEFAULTS[key])
        else:
            raise _no_option()
        return value.to_bytes(4, "little", signed=True)[:buflen] if buflen else value
