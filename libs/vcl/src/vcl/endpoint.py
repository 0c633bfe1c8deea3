# SPDX-License-Identifier: Apache-2.0
"""The VCL side of one listening socket: its registration and its driver. It outlives the listener while accepted
connections are open, because helpers route to them by the lease."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import threading
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from vcl import counters, exits
from vcl._core import ServerDriver, open_udp, udp_port
from vcl.agent_types import ServerGrant, ServerKey
from vcl.stream import Stream

if TYPE_CHECKING:
    from collections.abc import Callable

    from vcl.agent import Agent
    from vcl.agent_lease import ServerLease

SERVICE_NAME_MAX = 63
ANY = "0.0.0.0"  # noqa: S104 (what a listener on all addresses is called)


class Endpoint:
    """A ServerDriver with its lease (None: keys at hand, no control plane)."""

    def __init__(self, driver: ServerDriver, sockname: tuple[str, int], lease: ServerLease | None = None) -> None:
        self.driver = driver
        self._sockname = sockname
        self._lease = lease
        self._listening = True
        self._ended = threading.Lock()  # taken once, by whoever ends it
        exits.add(self)
        counters.add_server(driver)

    def accept(self) -> tuple[Stream, Any] | None:
        """The next connection and its address, or None when none waits."""
        try:
            stream: Stream = self.driver.accept(0, Stream)
        except BlockingIOError:
            return None
        peer = stream.conn_info()["peer"]
        stream.begin(peername=peer, sockname=self._sockname, on_close=self._end_if_last)
        return stream, stream.getpeername()

    def retire(self) -> None:
        """Accepts no more; ends when the last accepted connection does."""
        self._listening = False
        self.driver.stop_listening()
        self._end_if_last()

    def _end_if_last(self) -> None:
        # May be called by the garbage collector at any point: the driver counts, under its own lock.
        if self._listening or self.driver.forked or self.driver.open_connections > 0:
            return
        if self._ended.acquire(blocking=False):
            self._end_later()

    def _end_later(self) -> None:
        # The last bytes may take LINGER_S to be acknowledged: nobody's close() waits for that.
        try:
            threading.Thread(target=self._end, name="vcl-endpoint").start()
        except RuntimeError:  # the interpreter is ending: exits.py does it
            return

    def _end(self) -> None:
        self.begin_close(exits.LINGER_S)
        self.finish_close(exits.LINGER_S + exits.JOIN_S)

    def begin_close(self, linger_s: float) -> None:
        """Ends all connections; finish_close() waits for it."""
        self._ended.acquire(blocking=False)  # from here on no last connection starts a thread to do the same
        self.driver.close(linger_s)

    def finish_close(self, timeout_s: float) -> None:
        """Waits for the end, and gives the lease back."""
        self.driver.join(timeout_s)
        lease, self._lease = self._lease, None
        if lease is not None:
            lease.close()


def open_endpoint(agent: Agent, tcp: socket.socket, service: str | None, on_lost: Callable[[str], None]) -> Endpoint:
    """Registers the listening socket with the registry and opens its UDP port; AgentError says why it cannot."""
    bound_host, port = tcp.getsockname()[:2]
    data_address = data_address_of(bound_host)
    fd = bind_udp("" if is_any(bound_host) else bound_host, port)
    holder: list[ServerDriver] = []

    def set_keys(keys: tuple[ServerKey, ...]) -> None:
        for driver in holder:
            driver.set_keys(keys)

    try:
        lease = agent.register_server(
            service or service_name(data_address, port),
            data_address,
            port,
            data_address,
            udp_port(fd),
            on_lost=lambda _lease, reason: on_lost(reason),
            on_keys=set_keys,
        )
    except BaseException:
        os.close(fd)
        raise
    try:
        driver = ServerDriver(lease.grant, fd)  # owns the descriptor, whatever comes
    except BaseException:
        lease.close()
        raise
    holder.append(driver)
    driver.set_keys(lease.grant.keys)  # they may have been rotated in between
    return Endpoint(driver, (bound_host, port), lease)


def open_with_grant(grant: ServerGrant, address: tuple[str, int], **limits: Any) -> Endpoint:
    """An endpoint with keys at hand and no control plane: for tests, and for deployments that bring their own."""
    fd = open_udp(*address)
    name = (address[0] or ANY, udp_port(fd))
    return Endpoint(ServerDriver(grant, fd, **limits), name)


# --- names and addresses --------------------------------------------------------------------------------


def bind_udp(host: str, port: int) -> int:
    """A UDP socket of the TCP listener's number, if that is free, else of any."""
    try:
        return open_udp(host, port)
    except OSError as error:
        if error.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise
        return open_udp(host, 0)


def is_any(host: str) -> bool:
    """Whether a listener on this address listens on all."""
    return host in ("", ANY, "::")


def service_name(data_address: str, port: int) -> str:
    """POSTMAN_SERVICE, or a name made from the address."""
    return os.environ.get("POSTMAN_SERVICE", "").strip() or f"tcp-{port}.{data_address}"[:SERVICE_NAME_MAX]


def data_address_of(bound_host: str) -> str:
    """The address at which helpers and clients reach this server: POSTMAN_DATA_ADDRESS, or what the listener is bound
    to, or the address that this host uses towards the registry."""
    configured = os.environ.get("POSTMAN_DATA_ADDRESS", "").strip()
    if configured:
        return configured
    if not is_any(bound_host):
        return bound_host
    registry = urlsplit(os.environ.get("POSTMAN_REGISTRY_URL", "")).hostname or "127.0.0.1"
    with contextlib.suppress(OSError):
        found = socket.getaddrinfo(registry, 9, type=socket.SOCK_DGRAM)  # any port: nothing is sent
        family, kind, proto, _, target = found[0]
        with socket.socket(family, kind, proto) as probe:
            probe.connect(target)
            return str(probe.getsockname()[0])
    return "127.0.0.1"
