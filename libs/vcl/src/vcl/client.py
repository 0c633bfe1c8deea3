# SPDX-License-Identifier: Apache-2.0
"""connect(): through VCL if the registry knows a VCL server there and it answers, else over plain TCP."""

from __future__ import annotations

import errno
import os
import socket
import threading
import time
from collections.abc import Mapping
from typing import Any, Final

from vcl import agent_trace
from vcl.agent import Agent
from vcl.agent_types import REASON_NO_SERVER, Lookup
from vcl.errors import TokenExpiredError, timed_out
from vcl.exits import JOIN_S, LINGER_S
from vcl.sessions import Sessions
from vcl.socket import Socket
from vcl.stream import Stream

RESOLVE_S: Final = 2.0
"""How long the registry may take to answer; then plain TCP."""
VCL_SHARE: Final = 2 / 3
"""Of a connect() with a timeout: how much of it VCL may use before TCP gets the rest."""

DEFAULT: Final = object()
"""No timeout given: socket.getdefaulttimeout()."""

_sessions: Sessions | None = None
_sessions_lock = threading.Lock()


def _after_fork_in_child() -> None:
    global _sessions, _sessions_lock
    _sessions, _sessions_lock = None, threading.Lock()


os.register_at_fork(after_in_child=_after_fork_in_child)


def client_sessions(*, create: bool = True) -> Sessions | None:
    """The sessions of this process, made at the first connect() that needs them."""
    global _sessions
    with _sessions_lock:
        if _sessions is None and create:
            _sessions = Sessions(Agent.shared())
        return _sessions


def close_client(linger_s: float = LINGER_S) -> None:
    """Ends all connections that connect() made, with up to linger_s for their last bytes; a later connect() starts
    afresh. At the end of the process this happens by itself."""
    global _sessions
    with _sessions_lock:
        sessions, _sessions = _sessions, None
    if sessions is not None:
        sessions.begin_close(linger_s)
        sessions.finish_close(linger_s + JOIN_S)


class _Clock:
    """What is left of one call's timeout."""

    def __init__(self, timeout_s: float | None) -> None:
        self._end_s = None if timeout_s is None else time.monotonic() + timeout_s

    def left_s(self, share: float = 1.0) -> float | None:
        if self._end_s is None:
            return None
        left_s = (self._end_s - time.monotonic()) * share
        if left_s <= 0:
            raise timed_out()
        return left_s


def encrypt_by_default(environment: Mapping[str, str] = os.environ) -> bool:
    """The value of VCL_ENCRYPT, 1 or 0; ValueError if it is neither."""
    value = environment.get("VCL_ENCRYPT", "").strip() or "0"
    if value not in ("0", "1"):
        raise ValueError(f"VCL_ENCRYPT must be 0 or 1, not {value!r}")
    return value == "1"


def connect(
    address: tuple[str, int],
    timeout: Any = DEFAULT,
    source_address: tuple[str, int] | None = None,
    *,
    encrypt: bool | None = None,
) -> Socket:
    """Connects to a server, as socket.create_connection(); `transport` and `why` tell what it got.

    `timeout` is for the whole call and then the socket's own. A source address asks for plain TCP: connections of VCL
    share one UDP socket. `encrypt` (default: VCL_ENCRYPT) demands a VCL connection whose payload is encrypted end to
    end: where there is none, OSError, and never plain TCP.
    """
    encrypt = encrypt_by_default() if encrypt is None else encrypt
    timeout_s: float | None = socket.getdefaulttimeout() if timeout is DEFAULT else timeout
    host, port = address
    with agent_trace.span("vcl.connect", {"server.address": host, "server.port": port}) as span:
        connected = _connect(address, timeout_s, source_address, encrypt=encrypt)
        if span is not None:
            span.set_attribute("vcl.transport", connected.transport)
            if connected.why:
                span.set_attribute("vcl.why", connected.why)
        return connected


def _connect(
    address: tuple[str, int], timeout_s: float | None, source_address: tuple[str, int] | None, *, encrypt: bool
) -> Socket:
    host, port = address
    clock = _Clock(timeout_s if timeout_s != 0 else None)
    if source_address is not None:
        why = "a source address was asked for"
    elif timeout_s == 0:
        why = "a connect that may not wait"
    else:
        stream, why = _connect_vcl(host, port, clock, encrypt=encrypt)
        if stream is not None:
            stream.settimeout(timeout_s)
            return Socket(stream, "vcl")
    if encrypt:
        raise OSError(errno.EPROTONOSUPPORT, f"no encrypted connection: {why}")
    tcp = socket.create_connection(address, 0 if timeout_s == 0 else clock.left_s(), source_address)
    tcp.settimeout(timeout_s)
    return Socket(tcp, "tcp", why)


def _lookup(host: str, port: int, clock: _Clock) -> Lookup:
    """The registry's answer for the name as given, else for its first address."""
    agent = Agent.shared()

    def ask(name: str) -> Lookup:
        left_s = clock.left_s(VCL_SHARE)
        return agent.lookup(name, port, RESOLVE_S if left_s is None else min(RESOLVE_S, left_s))

    lookup = ask(host)
    if lookup.resolution is not None or lookup.reason != REASON_NO_SERVER:
        return lookup
    try:
        address = str(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][4][0])
    except OSError:
        return lookup  # the TCP connect will raise it
    return lookup if address == host else ask(address)


def _connect_vcl(host: str, port: int, clock: _Clock, *, encrypt: bool) -> tuple[Stream | None, str]:
    lookup = _lookup(host, port, clock)
    if lookup.resolution is None:
        return None, lookup.reason
    sessions = client_sessions()
    assert sessions is not None
    try:
        try:
            return sessions.connect(lookup.resolution, host, port, clock.left_s(VCL_SHARE), encrypt=encrypt), ""
        except TokenExpiredError:
            if not sessions.renew_token(lookup.resolution.server_id):
                raise
            return sessions.connect(lookup.resolution, host, port, clock.left_s(VCL_SHARE), encrypt=encrypt), ""
    except OSError as error:
        return None, f"the VCL server did not take the connection: {error}"
