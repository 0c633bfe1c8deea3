# SPDX-License-Identifier: Apache-2.0
"""create_server(): a listener for both worlds. Plain TCP clients and VCL clients come out of the same accept()."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

from vcl.errors import error_of, timed_out
from vcl.socket import Socket

if TYPE_CHECKING:
    from types import TracebackType

    from vcl.endpoint import Endpoint

__all__ = ["Listener", "create_server"]

REGISTER_RETRY_MAX_S = 30.0


class Listener:
    """A listening socket: accept(), and the rest of socket.socket that concerns listeners."""

    def __init__(self, tcp: socket.socket, endpoint: Endpoint | None = None, why: str = "") -> None:
        self._tcp = tcp
        self._tcp.setblocking(False)
        self._timeout_s: float | None = socket.getdefaulttimeout()
        self._endpoints: list[Endpoint] = []
        self._closed = threading.Event()
        self._turn = threading.Lock()  # one thread polls, the others wait for their turn: no herd
        self._polling: int | None = None  # that thread
        self._ready = select.epoll()
        self._stop_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._ready.register(self._tcp.fileno(), select.EPOLLIN)
        self.why = why
        """Why VCL clients are not served; empty if they are."""
        if endpoint is not None:
            self.add_endpoint(endpoint)

    @property
    def transport(self) -> str:
        """The best it offers: "vcl" (and TCP), or "tcp" alone."""
        return "vcl" if self._endpoints else "tcp"

    def add_endpoint(self, endpoint: Endpoint) -> None:
        """Serves VCL clients from now on; an earlier endpoint accepts no more."""
        self._ready.register(endpoint.driver.accept_fd(), select.EPOLLIN)
        for earlier in self._endpoints:
            self._ready.unregister(earlier.driver.accept_fd())
            earlier.retire()
        self._endpoints = [endpoint]
        self.why = ""

    # --- accepting ------------------------------------------------------------------------------------

    def accept(self) -> tuple[Socket, Any]:
        """(socket, address) of the next client; BlockingIOError or TimeoutError as the timeout says."""
        found = self._accept_now()
        if found is None and self._timeout_s == 0:
            raise error_of(errno.EAGAIN)
        return found if found is not None else self._accept_later()

    def _accept_now(self) -> tuple[Socket, Any] | None:
        if self._closed.is_set():
            raise error_of(errno.EBADF)
        for endpoint in self._endpoints:
            accepted = endpoint.accept()
            if accepted is not None:
                stream, address = accepted
                stream.settimeout(socket.getdefaulttimeout())
                return Socket(stream, "vcl"), address
        try:
            tcp, address = self._tcp.accept()
        except BlockingIOError:
            return None
        tcp.settimeout(socket.getdefaulttimeout())
        return Socket(tcp, "tcp", "a plain TCP client"), address

    def _accept_later(self) -> tuple[Socket, Any]:
        end_s = None if self._timeout_s is None else time.monotonic() + self._timeout_s

        def left_s() -> float:
            return -1 if end_s is None else max(end_s - time.monotonic(), 0.0)

        if not self._turn.acquire(timeout=left_s()):
            raise timed_out()
        self._polling = threading.get_ident()
        try:
            while True:
                found = self._accept_now()
                if found is not None:
                    return found
                remaining_s = left_s()
                if remaining_s == 0:
                    raise timed_out()
                self._ready.poll(None if remaining_s < 0 else remaining_s)
        finally:
            self._polling = None
            if self._closed.is_set():
                self._dispose()
            self._turn.release()

    def fileno(self) -> int:
        """Readable while accept() would not wait; -1 when closed."""
        return -1 if self._closed.is_set() else self._ready.fileno()

    # --- as socket.socket -----------------------------------------------------------------------------

    def listen(self, backlog: int = 128) -> None:
        """Sets the TCP backlog; it listens already."""
        self._tcp.listen(backlog)

    def settimeout(self, timeout: float | None) -> None:
        """Of accept()."""
        if timeout is not None and timeout < 0:
            raise ValueError("Timeout value out of range")
        self._timeout_s = timeout

    def gettimeout(self) -> float | None:
        """What settimeout() set."""
        return self._timeout_s

    def setblocking(self, flag: bool) -> None:
        """settimeout(None) or settimeout(0)."""
        self._timeout_s = None if flag else 0.0

    def getblocking(self) -> bool:
        """Whether accept() may wait."""
        return self._timeout_s != 0

    def getsockname(self) -> Any:
        """The TCP address; VCL clients ask the registry for the same."""
        return self._tcp.getsockname()

    def getsockopt(self, level: int, option: int, buflen: int = 0) -> int | bytes:
        """Of the TCP socket."""
        return self._tcp.getsockopt(level, option, buflen) if buflen else self._tcp.getsockopt(level, option)

    def setsockopt(self, level: int, option: int, value: Any) -> None:
        """Of the TCP socket."""
        self._tcp.setsockopt(level, option, value)

    @property
    def family(self) -> int:
        """AF_INET or AF_INET6."""
        return self._tcp.family

    @property
    def type(self) -> int:
        """SOCK_STREAM."""
        return self._tcp.type

    @property
    def proto(self) -> int:
        """Of the TCP socket."""
        return self._tcp.proto

    # --- life -----------------------------------------------------------------------------------------

    def wait_closed(self, timeout_s: float) -> bool:
        """Waits until somebody closes the listener; whether that happened."""
        return self._closed.wait(timeout_s)

    @property
    def closed(self) -> bool:
        """Whether close() was called."""
        return self._closed.is_set()

    def close(self) -> None:
        """Stops listening. Connections that were accepted go on."""
        if self._closed.is_set():
            return
        self._closed.set()
        with contextlib.suppress(OSError):
            self._ready.register(self._stop_fd, select.EPOLLIN)
        os.eventfd_write(self._stop_fd, 1)  # a thread in accept() gets EBADF
        if self._polling != threading.get_ident():  # else a signal's handler closes within accept(), which disposes
            with self._turn:
                self._dispose()
        self._tcp.close()
        for endpoint in self._endpoints:
            endpoint.retire()
        self._endpoints = []

    def _dispose(self) -> None:
        self._ready.close()
        if self._stop_fd >= 0:
            os.close(self._stop_fd)
        self._stop_fd = -1

    def __enter__(self) -> Listener:
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self.closed else str(self.getsockname())
        return f"<vcl.Listener {self.transport} {state}>"


class _Registrar:
    """Keeps a listener registered: at once if the registry is there; else, or after a lost lease, as soon as it is."""

    def __init__(self, service: str | None) -> None:
        self._service = service
        self._listener: Listener | None = None
        self._tcp: socket.socket | None = None

    def open(self, tcp: socket.socket) -> Listener:
        from vcl.agent import Agent, AgentError

        agent = Agent.shared()
        self._tcp = tcp
        if not agent.enabled:
            self._listener = Listener(tcp, None, agent.lookup("localhost", 1).reason)
            return self._listener
        try:
            self._listener = Listener(tcp, self._register())
        except AgentError as error:
            self._listener = Listener(tcp, None, error.reason)
            threading.Thread(target=self._retry, name="vcl-register", daemon=True).start()
        return self._listener

    def _register(self) -> Endpoint:
        from vcl.agent import Agent
        from vcl.endpoint import open_endpoint

        assert self._tcp is not None
        return open_endpoint(Agent.shared(), self._tcp, self._service, self._lost)

    def _lost(self, reason: str) -> None:
        """On a thread of its own: the registry knows the lease no more, so this is a new server with new ids."""
        self._retry()

    def _retry(self) -> None:
        from vcl.agent import AgentError

        delay_s = 0.0
        while self._listener is not None and not self._listener.wait_closed(delay_s):
            try:
                endpoint = self._register()
            except AgentError as error:
                self._listener.why = error.reason
                delay_s = min(max(delay_s * 2, 1.0), REGISTER_RETRY_MAX_S)
                continue
            except OSError:
                return  # the listener was closed meanwhile
            if self._listener.closed:
                endpoint.retire()
            else:
                self._listener.add_endpoint(endpoint)
            return


def create_server(
    address: tuple[str, int],
    *,
    family: int = socket.AF_INET,
    backlog: int | None = None,
    reuse_port: bool = False,
    dualstack_ipv6: bool = False,
    service: str | None = None,
) -> Listener:
    """A listening socket, as socket.create_server(), which also serves VCL clients if there is a registry to tell.

    `service` is the name in the registry (default: POSTMAN_SERVICE, or one made from the address).
    """
    tcp = socket.create_server(
        address, family=family, backlog=backlog, reuse_port=reuse_port, dualstack_ipv6=dualstack_ipv6
    )
    try:
        return _Registrar(service).open(tcp)
    except BaseException:
        tcp.close()
        raise
