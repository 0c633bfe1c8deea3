# SPDX-License-Identifier: Apache-2.0
"""connect() and create_server() with the real registry: who gets VCL, who gets TCP and why, what an outage changes."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("vcl._core", reason="the extension module is not built")

import vcl
from vcl.agent import Agent
from vcl.agent_types import REASON_NO_SERVER, REASON_UNREACHABLE
from vcl.client import close_client

WaitUntil = Callable[..., Any]


@pytest.fixture
def in_postman(control_plane: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """This process takes part; afterwards it does not any more."""
    for name in [name for name in os.environ if name.startswith("POSTMAN_")]:
        monkeypatch.delenv(name)
    for name, value in control_plane.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("POSTMAN_SERVICE", f"echo-{secrets.token_hex(4)}")
    Agent.shared().close()
    yield control_plane
    close_client()
    Agent.shared().close()


@pytest.fixture
def listener(in_postman: Any) -> Iterator[vcl.Listener]:
    """A registered server on loopback."""
    with vcl.create_server(("127.0.0.1", 0)) as made:
        made.settimeout(20)
        assert (made.transport, made.why) == ("vcl", "")
        yield made


def talk(client: vcl.Socket, server: vcl.Socket) -> None:
    client.settimeout(20)
    server.settimeout(20)
    client.sendall(b"ping")
    assert server.recv(10) == b"ping"
    server.sendall(b"pong")
    assert client.recv(10) == b"pong"


def connect_and_talk(address: tuple[str, int], listener: vcl.Listener, transport: str = "vcl") -> str:
    with vcl.connect(address, timeout=20) as client:
        server, _ = listener.accept()
        with server:
            talk(client, server)
        assert (client.transport, server.transport) == (transport, transport), client.why
        return client.why


def server_ids(control_plane: Any) -> list[int]:
    service = os.environ["POSTMAN_SERVICE"]
    with control_plane.client("agent") as client:
        items = client.get("/v1/servers", params={"limit": 200}).raise_for_status().json()["items"]
    return [item["server_id"] for item in items if item["service"] == service and item["state"] == "up"]


def test_a_registered_server_is_reached_through_vcl(listener: vcl.Listener) -> None:
    address = listener.getsockname()[:2]
    with vcl.connect(address, timeout=20) as client:
        server, peer = listener.accept()
        assert peer == server.getpeername() == client.getsockname()
        assert client.getpeername() == address
        path = client.path()
        assert path is not None
        assert (path.helper_id, path.state) == (0, "active")
        talk(client, server)
        server.close()
    for _ in range(20):
        connect_and_talk(address, listener)
    assert vcl.stats()["opens"] >= 21


def test_a_name_is_looked_up_by_its_address(listener: vcl.Listener) -> None:
    connect_and_talk(("localhost", listener.getsockname()[1]), listener)


def test_a_server_that_nobody_registered_is_reached_over_tcp(in_postman: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as plain, vcl.connect(plain.getsockname(), timeout=20) as client:
        assert (client.transport, client.why) == ("tcp", REASON_NO_SERVER)


def test_a_source_address_means_tcp(listener: vcl.Listener) -> None:
    with vcl.connect(listener.getsockname()[:2], timeout=20, source_address=("127.0.0.1", 0)) as client:
        server, _ = listener.accept()
        talk(client, server)
        assert (client.transport, client.why) == ("tcp", "a source address was asked for")
        server.close()


def test_nothing_there_is_refused(in_postman: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        address = unused.getsockname()
    with pytest.raises(ConnectionRefusedError):
        vcl.connect(address, timeout=20)


def test_without_the_registry_open_connections_go_on(in_postman: Any, listener: vcl.Listener) -> None:
    address = listener.getsockname()[:2]
    client = vcl.connect(address, timeout=20)
    server, _ = listener.accept()
    in_postman.stop_registry()
    talk(client, server)
    connect_and_talk(address, listener)  # what is known is still good
    with socket.create_server(("127.0.0.1", 0)) as plain, vcl.connect(plain.getsockname(), timeout=20) as other:
        assert other.transport == "tcp"
        assert REASON_UNREACHABLE in other.why
    client.close()
    server.close()


def test_a_server_registers_when_the_registry_comes_back(in_postman: Any, wait_until: WaitUntil) -> None:
    in_postman.stop_registry()
    with vcl.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(20)
        assert listener.transport == "tcp"
        assert REASON_UNREACHABLE in listener.why
        in_postman.start()
        wait_until(lambda: listener.transport == "vcl", 30, "the registration")
        assert listener.why == ""
        wait_until(
            lambda: vcl.connect(listener.getsockname()[:2], timeout=20).transport == "vcl", 30, "a VCL connection"
        )


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_lost_lease_makes_a_new_server(in_postman: Any, listener: vcl.Listener, wait_until: WaitUntil) -> None:
    address = listener.getsockname()[:2]
    client = vcl.connect(address, timeout=20)
    server, _ = listener.accept()
    (old,) = server_ids(in_postman)
    with in_postman.client("agent") as rest:
        incarnation = next(
            item["incarnation"]
            for item in rest.get("/v1/servers", params={"limit": 200}).json()["items"]
            if item["server_id"] == old
        )
        rest.delete(f"/v1/servers/{old}", params={"incarnation": incarnation}).raise_for_status()
    (new,) = wait_until(lambda: [found for found in server_ids(in_postman) if found != old], 30, "a new registration")
    assert new != old
    talk(client, server)  # the old connection does not notice
    client.close()
    server.close()
    wait_until(lambda: reached_through_vcl(address, listener), 30, "a connection to the new server")


def reached_through_vcl(address: tuple[str, int], listener: vcl.Listener) -> bool:
    with vcl.connect(address, timeout=20) as client:
        server, _ = listener.accept()
        with server:
            talk(client, server)
        return client.transport == "vcl"


def test_a_helper_that_does_not_answer_is_passed_by(in_postman: Any, listener: vcl.Listener) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        body = {
            "name": f"silent-{secrets.token_hex(4)}",
            "data_address": "127.0.0.1",
            "client_port": silent.getsockname()[1],
            "trunk_port": silent.getsockname()[1],
            "workers": 1,
            "version": "0",
        }
        with in_postman.client("agent") as rest:
            grant = rest.post("/v1/helpers", json=body).raise_for_status().json()
            lease = {"incarnation": grant["incarnation"], "state": "up"}
            rest.put(f"/v1/helpers/{grant['helper_id']}/lease", json=lease).raise_for_status()
            with vcl.connect(listener.getsockname()[:2], timeout=20) as client:
                server, _ = listener.accept()
                talk(client, server)
                assert client.transport == "vcl"
                path = client.path()
                assert path is not None
                assert path.helper_id == 0
                server.close()
            silent.setblocking(False)
            assert silent.recv(2000)  # it was tried first
            rest.delete(f"/v1/helpers/{grant['helper_id']}", params={"incarnation": grant["incarnation"]})


def test_closing_the_listener_gives_the_lease_back(in_postman: Any, wait_until: WaitUntil) -> None:
    listener = vcl.create_server(("127.0.0.1", 0))
    assert len(server_ids(in_postman)) == 1
    listener.close()
    wait_until(lambda: not server_ids(in_postman), 20, "the end of the lease")
