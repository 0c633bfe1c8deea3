# SPDX-License-Identifier: Apache-2.0
"""vcl.Socket: what connect() and accept() return. It behaves as socket.socket does for a connected stream, whether its
bytes go through VCL (`transport` "vcl") or, with no VCL at the other end, over plain TCP ("tcp", and `why`)."""

from __future__ import annotations

import io
import socket
from collections.abc import Iterable
from typing import IO, TYPE_CHECKING, Any, Literal, cast

if TYPE_CHECKING:
    from types import TracebackType

    from vcl.paths import PathInfo
    from vcl.stream import Stream

__all__ = ["Socket"]

Transport = Literal["vcl", "tcp"]


class Socket:
    """A connected stream socket. See the methods of the same name in the `socket` module."""

    __slots__ = ("__weakref__", "_closed", "_impl", "_io_refs", "transport", "why")

    def __init__(self, impl: Stream | socket.socket, transport: Transport, why: str = "") -> None:
        self._impl = impl
        self._io_refs = 0
        self._closed = False
        self.transport: Transport = transport
        self.why = why
        """Why the transport is plain TCP; empty for VCL."""

    # --- bytes ----------------------------------------------------------------------------------------

    def send(self, data: Any, flags: int = 0) -> int:
        """Sends some of the bytes; how many."""
        return self._impl.send(data, flags)

    def sendall(self, data: Any, flags: int = 0) -> None:
        """Sends all of the bytes."""
        self._impl.sendall(data, flags)

    def sendmsg(self, buffers: Iterable[Any], ancdata: Iterable[Any] = (), flags: int = 0, address: Any = None) -> int:
        """Sends from several buffers."""
        if address is None:
            return self._impl.sendmsg(buffers, ancdata, flags)
        return self._impl.sendmsg(buffers, ancdata, flags, address)

    def sendfile(self, file: IO[bytes], offset: int = 0, count: int | None = None) -> int:
        """Sends a file from `offset` on; how many bytes."""
        if isinstance(self._impl, socket.socket):
            return self._impl.sendfile(file, offset, count)
        if self.gettimeout() == 0:
            raise ValueError("non-blocking sockets are not supported")
        if offset:
            file.seek(offset)
        total = 0
        try:
            while count is None or total < count:
                block = file.read(min(65536, count - total) if count is not None else 65536)
                if not block:
                    break
                self.sendall(block)
                total += len(block)
            return total
        finally:
            if total and hasattr(file, "seek"):
                file.seek(offset + total)

    def recv(self, bufsize: int, flags: int = 0) -> bytes:
        """Receives up to bufsize bytes; empty at the end of the stream."""
        return self._impl.recv(bufsize, flags)

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        """Receives into a buffer; how many bytes."""
        return self._impl.recv_into(buffer, nbytes, flags)

    def recvmsg(self, bufsize: int, ancbufsize: int = 0, flags: int = 0) -> tuple[bytes, list[Any], int, Any]:
        """(bytes, ancillary data, flags, address)."""
        return self._impl.recvmsg(bufsize, ancbufsize, flags)

    def recvmsg_into(
        self, buffers: Iterable[Any], ancbufsize: int = 0, flags: int = 0
    ) -> tuple[int, list[Any], int, Any]:
        """As recvmsg(), into several buffers."""
        return self._impl.recvmsg_into(buffers, ancbufsize, flags)

    def makefile(
        self,
        mode: str = "r",
        buffering: int | None = None,
        *,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> Any:
        """A file object on the socket, which stays open until the file is closed too."""
        if not set(mode) <= {"r", "w", "b"}:
            raise ValueError(f"invalid mode {mode!r} (only r, w, b allowed)")
        writing = "w" in mode
        reading = "r" in mode or not writing
        binary = "b" in mode
        raw = socket.SocketIO(self, ("r" if reading else "") + ("w" if writing else ""))  # type: ignore[arg-type]
        self._io_refs += 1
        if buffering is None or buffering < 0:
            buffering = io.DEFAULT_BUFFER_SIZE
        if buffering == 0:
            if not binary:
                raise ValueError("unbuffered streams must be binary")
            return raw
        buffer: io.BufferedRWPair | io.BufferedReader | io.BufferedWriter
        if reading and writing:
            buffer = io.BufferedRWPair(raw, raw, buffering)
        elif reading:
            buffer = io.BufferedReader(raw, buffering)
        else:
            buffer = io.BufferedWriter(raw, buffering)
        if binary:
            return buffer
        text = io.TextIOWrapper(cast("IO[bytes]", buffer), encoding, errors, newline)
        text.mode = mode  # type: ignore[misc]
        return text

    # --- modes ----------------------------------------------------------------------------------------

    def settimeout(self, timeout: float | None) -> None:
        """Seconds, None = wait for ever, 0 = never wait."""
        self._impl.settimeout(timeout)

    def gettimeout(self) -> float | None:
        """What settimeout() set."""
        return self._impl.gettimeout()

    @property
    def timeout(self) -> float | None:
        """gettimeout()."""
        return self._impl.gettimeout()

    def setblocking(self, flag: bool) -> None:
        """settimeout(None) or settimeout(0)."""
        self._impl.setblocking(flag)

    def getblocking(self) -> bool:
        """Whether calls may wait."""
        return self._impl.getblocking()

    def getsockopt(self, level: int, option: int, buflen: int = 0) -> int | bytes:
        """A socket option; vcl.options lists what a VCL connection knows."""
        return self._impl.getsockopt(level, option, buflen) if buflen else self._impl.getsockopt(level, option)

    def setsockopt(self, level: int, option: int, value: Any = None, optlen: int | None = None) -> None:
        """Sets a socket option."""
        if optlen is None:
            self._impl.setsockopt(level, option, value)
        else:
            self._impl.setsockopt(level, option, value, optlen)

    def get_inheritable(self) -> bool:
        """Whether a child process may use it."""
        return self._impl.get_inheritable()

    def set_inheritable(self, inheritable: bool) -> None:
        """Lets child processes use it: TCP only."""
        self._impl.set_inheritable(inheritable)

    # --- names ----------------------------------------------------------------------------------------

    @property
    def family(self) -> int:
        """AF_INET or AF_INET6."""
        return self._impl.family

    @property
    def type(self) -> int:
        """SOCK_STREAM."""
        return self._impl.type

    @property
    def proto(self) -> int:
        """IPPROTO_TCP."""
        return self._impl.proto

    def getpeername(self) -> Any:
        """Address of the other end."""
        return self._impl.getpeername()

    def getsockname(self) -> Any:
        """Address of this end."""
        return self._impl.getsockname()

    def fileno(self) -> int:
        """For select, poll, epoll and asyncio; -1 when closed. On VCL it only shows readiness: never read from it."""
        return self._impl.fileno()

    def path(self) -> PathInfo | None:
        """By which way the bytes go: helper_id (0 = direct), epoch, srtt_us, moves, ...; None over plain TCP."""
        return None if isinstance(self._impl, socket.socket) else self._impl.path()

    # --- life -----------------------------------------------------------------------------------------

    def shutdown(self, how: int) -> None:
        """Ends one direction or both."""
        self._impl.shutdown(how)

    def close(self) -> None:
        """Closes the socket, when the last makefile() of it is closed too."""
        self._closed = True
        if self._io_refs <= 0:
            self._impl.close()

    def detach(self) -> int:
        """TCP: gives the descriptor away. VCL: EOPNOTSUPP."""
        descriptor = self._impl.detach()
        self._closed = True
        return descriptor

    def _decref_socketios(self) -> None:  # socket.SocketIO's contract
        if self._io_refs > 0:
            self._io_refs -= 1
        if self._closed:
            self.close()

    def __enter__(self) -> Socket:
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: TracebackType | None) -> None:
        if not self._closed:
            self.close()

    def __repr__(self) -> str:
        state = "closed" if self._closed else f"to {self._name()}"
        return f"<vcl.Socket {self.transport} {state}>"

    def _name(self) -> str:
        try:
            return str(self._impl.getpeername())
        except OSError:
            return "a peer that is gone"
