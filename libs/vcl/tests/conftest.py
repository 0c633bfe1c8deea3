# SPDX-License-Identifier: Apache-2.0
"""Three worlds of sockets that must not differ: the kernel's own, vcl over plain TCP, and vcl over VCL between two
drivers with keys at hand (no control plane)."""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("vcl._core", reason="the extension module is not built")

from postman_contracts.tokens import Token, token_encode, token_key
from vcl import Socket, create_server
from vcl.agent_types import ServerGrant, ServerKey
from vcl.endpoint import Endpoint, open_with_grant
from vcl.paths import DIRECT, Path, Peer
from vcl.server import Listener
from vcl.sessions import Sessions

SERVER_ID = 7
SERVICE_ID = 99
DEADLINE_S = 20.0


def hand_made_grant(server_id: int = SERVER_ID) -> ServerGrant:
    """What a registry would give to a server."""
    return ServerGrant(
        server_id=server_id,
        service_id=SERVICE_ID,
        incarnation=1,
        lease_ttl_s=60.0,
        cid_key=secrets.token_bytes(16),
        trunk_secret=secrets.token_bytes(32),
        keys=(ServerKey(1, secrets.token_bytes(32)),),
    )


def hand_made_peer(grant: ServerGrant, address: str, port: int, not_before_s: int | None = None) -> Peer:
    """What a registry would answer to a client."""
    key = grant.keys[0]
    fields = Token(
        key_id=key.key_id,
        client_id=1,
        service_id=grant.service_id,
        server_id=grant.server_id,
        not_before_s=int(time.time()) if not_before_s is None else not_before_s,
        lifetime_s=3600,
        max_conns=65535,
        random=secrets.token_bytes(16),
    )
    token = token_encode(fields, key.key)
    return Peer(grant.server_id, 0, token, token_key(key.key, token), (Path(DIRECT, address, port),))


class KernelWorld:
    """socket.socket."""

    name = "kernel"

    def __init__(self) -> None:
        self.listener: Any = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.address = self.listener.getsockname()[:2]

    def connect(self, timeout: float | None = DEADLINE_S) -> Any:
        return socket.create_connection(self.address, timeout)

    def pair(self) -> tuple[Any, Any]:
        """A connection: client's end, server's end, both with the tests' deadline as timeout."""
        self.listener.settimeout(DEADLINE_S)
        client = self.connect()
        server, _ = self.listener.accept()
        server.settimeout(DEADLINE_S)
        return client, server

    def close(self) -> None:
        self.listener.close()


class TcpWorld(KernelWorld):
    """vcl without a registry."""

    name = "tcp"

    def __init__(self) -> None:
        self.listener = create_server(("127.0.0.1", 0), backlog=1024)
        self.address = self.listener.getsockname()[:2]

    def connect(self, timeout: float | None = DEADLINE_S) -> Any:
        from vcl import connect

        return connect(self.address, timeout)


class VclWorld(KernelWorld):
    """vcl over VCL, on the direct path."""

    name = "vcl"

    def __init__(self, **limits: Any) -> None:
        self.grant = hand_made_grant()
        self.endpoint: Endpoint = open_with_grant(self.grant, ("127.0.0.1", 0), **limits)
        self.listener = Listener(socket.create_server(("127.0.0.1", 0)), self.endpoint)
        self.address = self.listener.getsockname()[:2]
        self.peer = hand_made_peer(self.grant, "127.0.0.1", self.endpoint.driver.udp_port)
        self.sessions = Sessions(None)

    def connect(self, timeout: float | None = DEADLINE_S) -> Any:
        stream = self.sessions.connect_peer(self.peer, *self.address, timeout)
        stream.settimeout(timeout)
        return Socket(stream, "vcl")

    def expired_peer(self) -> Peer:
        """The same server, with a token that ran out an hour ago."""
        port = self.endpoint.driver.udp_port
        return hand_made_peer(self.grant, "127.0.0.1", port, not_before_s=int(time.time()) - 7200)

    def close(self) -> None:
        self.listener.close()
        for part in (self.sessions, self.endpoint):
            part.begin_close(0.5)
            part.finish_close(5.0)


WORLDS: dict[str, Callable[[], Any]] = {"kernel": KernelWorld, "tcp": TcpWorld, "vcl": VclWorld}


@pytest.fixture(params=list(WORLDS))
def world(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Each of the three in turn."""
    made = WORLDS[request.param]()
    yield made
    made.close()


@pytest.fixture
def vcl_world() -> Iterator[VclWorld]:
    """VCL alone, for what the kernel does not have."""
    made = VclWorld()
    yield made
    made.close()


@pytest.fixture
def pair(world: Any) -> Iterator[tuple[Any, Any]]:
    """One connection."""
    client, server = world.pair()
    yield client, server
    client.close()
    server.close()


@pytest.fixture
def eventually() -> Callable[[Callable[[], Any]], Any]:
    """Polls until something is true; its value."""

    def wait(condition: Callable[[], Any], deadline_s: float = DEADLINE_S) -> Any:
        end_s = time.monotonic() + deadline_s
        while True:
            value = condition()
            if value or time.monotonic() > end_s:
                assert value
                return value
            time.sleep(0.002)

    return wait


@pytest.fixture(autouse=True)
def no_registry(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Socket tests must not find a control plane by accident; the agent's own tests configure theirs."""
    if request.node.path.name.startswith("test_socket"):
        for name in list(os.environ):
            if name.startswith("POSTMAN_"):
                monkeypatch.delenv(name)
