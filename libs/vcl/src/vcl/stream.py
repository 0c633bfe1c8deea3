# SPDX-License-Identifier: Apache-2.0
"""A VCL connection with the methods of socket.socket: names, options, path and life around _core.Conn's bytes."""

from __future__ import annotations

import errno
import socket
import warnings
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from vcl._core import Conn
from vcl.errors import error_of, unsupported
from vcl.options import Options
from vcl.paths import PathInfo

if TYPE_CHECKING:
    from vcl._core import Session

__all__ = ["Stream"]

Address = tuple[str, int] | tuple[str, int, int, int]


def _nothing() -> None:
    """What most connections do when they end."""


class Stream(Conn):
    """One VCL connection. Made by sessions.py and endpoint.py, worn by vcl.Socket."""

    _family = socket.AF_INET
    _session: Session | None = None
    _route: tuple[str, int] | None = None  # where the client's datagrams go first: gives its own address
    _peername: tuple[str, int] | None = None
    _sockname: tuple[str, int] | None = None
    _on_close: Callable[[], None] = staticmethod(_nothing)
    _stream_closed = False
    _options: Options | None = None

    def begin(
        self,
        *,
        peername: tuple[str, int],
        sockname: tuple[str, int] | None = None,
        session: Session | None = None,
        route: tuple[str, int] | None = None,
        on_close: Callable[[], None] = _nothing,
    ) -> Stream:
        """Tells a new connection who it is. A client's `sockname` is found out when it is asked for."""
        self._peername = peername
        self._sockname = sockname
        self._session = session
        self._route = route
        self._on_close = on_close
        self._family = socket.AF_INET6 if ":" in peername[0] else socket.AF_INET
        return self

    # --- what kind of socket --------------------------------------------------------------------------

    @property
    def family(self) -> socket.AddressFamily:
        """AF_INET or AF_INET6."""
        return self._family

    @property
    def type(self) -> socket.SocketKind:
        """SOCK_STREAM."""
        return socket.SOCK_STREAM

    @property
    def proto(self) -> int:
        """IPPROTO_TCP: a byte stream with TCP's semantics."""
        return socket.IPPROTO_TCP

    def _full(self, name: tuple[str, int]) -> Address:
        return (*name, 0, 0) if self._family == socket.AF_INET6 else name

    def getpeername(self) -> Address:
        """The server as it was asked for; on a server, the client's address and virtual port."""
        self._check_open()
        assert self._peername is not None
        return self._full(self._peername)

    def getsockname(self) -> Address:
        """The listener's address; on a client, its own address and virtual port."""
        self._check_open()
        if self._sockname is None:
            self._sockname = (self._own_address(), self.conn_info()["local_port"])
        return self._full(self._sockname)

    def _own_address(self) -> str:
        if self._route is None:
            return "::" if self._family == socket.AF_INET6 else "0.0.0.0"  # noqa: S104 (as an unbound socket)
        with socket.socket(self._family, socket.SOCK_DGRAM) as probe:
            probe.connect(self._route)  # sends nothing: asks the kernel for the route
            return str(probe.getsockname()[0])

    def _check_open(self) -> None:
        if self._stream_closed:
            raise error_of(errno.EBADF)

    # --- options --------------------------------------------------------------------------------------

    def _own_options(self) -> Options:
        self._check_open()
        if self._options is None:
            level = socket.SOL_SOCKET
            self._options = Options(
                {
                    (level, socket.SO_ERROR): self.take_error,
                    (level, socket.SO_TYPE): lambda: int(socket.SOCK_STREAM),
                    (level, socket.SO_DOMAIN): lambda: int(self._family),
                    (level, socket.SO_PROTOCOL): lambda: socket.IPPROTO_TCP,
                    (level, socket.SO_ACCEPTCONN): lambda: 0,
                    (level, socket.SO_SNDBUF): lambda: self.buffer_bytes[0],
                    (level, socket.SO_RCVBUF): lambda: self.buffer_bytes[1],
                }
            )
        return self._options

    def setsockopt(self, level: int, option: int, value: Any = None, optlen: int | None = None) -> None:
        """As socket.setsockopt(); see options.py."""
        options = self._own_options()
        options.set(level, option, value, optlen)
        if (level, option) in ((socket.SOL_SOCKET, socket.SO_KEEPALIVE), (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)):
            self.set_keepalive(options.keepalive_ms())

    def getsockopt(self, level: int, option: int, buflen: int = 0) -> int | bytes:
        """As socket.getsockopt()."""
        return self._own_options().get(level, option, buflen)

    def setblocking(self, flag: bool) -> None:
        """As socket.setblocking()."""
        self.settimeout(None if flag else 0.0)

    def getblocking(self) -> bool:
        """As socket.getblocking()."""
        return self.gettimeout() != 0.0

    def get_inheritable(self) -> bool:
        """False: a connection stays with its process."""
        return False

    def set_inheritable(self, inheritable: bool) -> None:
        """Only False is possible."""
        if inheritable:
            raise unsupported("set_inheritable(True)")

    # --- bytes ----------------------------------------------------------------------------------------

    def recvmsg(self, bufsize: int, ancbufsize: int = 0, flags: int = 0) -> tuple[bytes, list[Any], int, None]:
        """As socket.recvmsg(); there is never ancillary data."""
        return self.recv(bufsize, flags), [], 0, None

    def recvmsg_into(
        self, buffers: Iterable[Any], ancbufsize: int = 0, flags: int = 0
    ) -> tuple[int, list[Any], int, None]:
        """As socket.recvmsg_into()."""
        total = 0
        for buffer in buffers:
            view = memoryview(buffer).cast("B")
            if len(view) == 0:
                continue
            if total and not self.readable_bytes():
                break
            n = self.recv_into(view, 0, flags)
            total += n
            if n < len(view):
                break
        return total, [], 0, None

    # --- path -----------------------------------------------------------------------------------------

    def path(self) -> PathInfo:
        """By which way the bytes go now."""
        info = self.conn_info()
        found = PathInfo(helper_id=info["helper_id"], srtt_us=info["srtt_us"], resent_bytes=info["resent_bytes"])
        if self._session is None:
            return found
        session = self._session.info()
        return replace(found, **{key: session[key] for key in ("session_id", "epoch", "state", "moves")})

    # --- life -----------------------------------------------------------------------------------------

    def close(self) -> None:
        """Ends the connection; what was written is still delivered, unless SO_LINGER (1, 0) asks for a reset."""
        if self._stream_closed:
            return
        self._stream_closed = True
        on, seconds = self._options.linger if self._options is not None else (0, 0)
        try:
            self.close_conn(abort=bool(on and seconds == 0), linger_s=float(seconds) if on else 0.0)
        finally:
            on_close, self._on_close, self._session = self._on_close, _nothing, None
            on_close()

    def detach(self) -> int:
        """Not possible: no descriptor carries this connection."""
        raise unsupported("detach()")

    def __del__(self) -> None:
        if not self._stream_closed and self._peername is not None:
            warnings.warn(f"unclosed {self!r}", ResourceWarning, stacklevel=2, source=self)
            self.close()

    def __repr__(self) -> str:
        state = "closed" if self._stream_closed else f"peer={self._peername}"
        return f"<vcl.Stream {state}>"
