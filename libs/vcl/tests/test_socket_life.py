# SPDX-License-Identifier: Apache-2.0
"""How sockets begin and end: names, options, closing, listeners, thousands of them."""

from __future__ import annotations

import errno
import gc
import os
import resource
import socket
import sys
import threading
import time
import warnings
from collections.abc import Callable
from typing import Any

import pytest

import vcl
from vcl.errors import TokenExpiredError

Pair = tuple[Any, Any]
Eventually = Callable[..., Any]


# --- names and options ------------------------------------------------------------------------------------


def test_names(world: Any) -> None:
    world.listener.settimeout(20)
    client = world.connect()
    server, address = world.listener.accept()
    assert address == server.getpeername() == client.getsockname()
    assert client.getpeername() == world.address
    assert server.getsockname()[0] == world.address[0]
    assert client.family == server.family == socket.AF_INET
    assert client.type == server.type == socket.SOCK_STREAM
    client.close()
    server.close()


def test_a_closed_socket_is_bad(pair: Pair) -> None:
    client, _ = pair
    client.close()
    client.close()
    assert client.fileno() == -1
    calls: list[Callable[[], Any]] = [
        lambda: client.recv(1),
        lambda: client.recv_into(bytearray(1)),
        lambda: client.send(b"x"),
        lambda: client.sendall(b"x"),
        lambda: client.sendmsg([b"x"]),
        lambda: client.shutdown(socket.SHUT_WR),
        client.getpeername,
        client.getsockname,
        lambda: client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR),
        lambda: client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    ]
    for call in calls:
        with pytest.raises(OSError, match="Bad file descriptor"):
            call()
    assert "closed" in repr(client)


def test_options(pair: Pair) -> None:
    client, _ = pair
    level = socket.SOL_SOCKET
    assert client.getsockopt(level, socket.SO_TYPE) == socket.SOCK_STREAM
    assert client.getsockopt(level, socket.SO_DOMAIN) == socket.AF_INET
    assert client.getsockopt(level, socket.SO_ERROR) == 0
    assert client.getsockopt(level, socket.SO_SNDBUF) > 0
    for option, value in ((socket.SO_KEEPALIVE, 1), (socket.SO_PRIORITY, 3)):
        client.setsockopt(level, option, value)
        assert client.getsockopt(level, option) == value
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    assert client.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert client.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 4) == (1).to_bytes(4, sys.byteorder)
    client.setsockopt(level, socket.SO_LINGER, b"\x01\0\0\0\x02\0\0\0")
    assert client.getsockopt(level, socket.SO_LINGER, 8) == b"\x01\0\0\0\x02\0\0\0"
    client.setsockopt(level, socket.SO_LINGER, bytes(8))
    for call in (lambda: client.getsockopt(level, 9999), lambda: client.setsockopt(level, 9999, 1)):
        with pytest.raises(OSError, match=os.strerror(errno.ENOPROTOOPT)):
            call()
    assert not client.get_inheritable()


def test_a_pending_error_is_an_option(pair: Pair, eventually: Eventually) -> None:
    client, server = pair
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    client.close()
    assert eventually(lambda: server.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)) == errno.ECONNRESET
    assert server.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
    assert server.recv(1) == b""


def test_what_vcl_cannot_do_is_said(vcl_world: Any) -> None:
    client, server = vcl_world.pair()
    for call in (
        client.detach,
        lambda: client.set_inheritable(True),
        lambda: client.send(b"x", socket.MSG_OOB),
        lambda: client.sendmsg([b"x"], [(1, 1, b"")]),
    ):
        with pytest.raises(OSError, match="not supported on a VCL connection"):
            call()
    with pytest.raises(OSError, match=os.strerror(errno.ENOPROTOOPT)):
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, bytes(16))
    client.close()
    server.close()


def test_the_context_manager_closes(world: Any) -> None:
    client, server = world.pair()
    with client as inside:
        assert inside is client
    assert client.fileno() == -1
    assert server.recv(1) == b""
    server.close()


def test_what_nobody_holds_is_closed(world: Any) -> None:
    client, server = world.pair()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del client
        gc.collect()
    assert server.recv(1) == b""
    assert [w for w in caught if w.category is ResourceWarning]
    server.close()


def test_closing_wakes_a_waiting_reader(vcl_world: Any) -> None:
    client, server = vcl_world.pair()
    client.settimeout(None)
    failed: list[OSError] = []

    def read() -> None:
        try:
            client.recv(1)
        except OSError as error:
            failed.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    time.sleep(0.05)  # most likely it waits by now; the test holds in either order
    client.close()
    reader.join()
    assert [error.errno for error in failed] == [errno.EBADF]
    server.close()


# --- listeners --------------------------------------------------------------------------------------------


def test_accept_waits_as_told(world: Any) -> None:
    world.listener.settimeout(0.05)
    with pytest.raises(TimeoutError):
        world.listener.accept()
    world.listener.setblocking(False)
    with pytest.raises(BlockingIOError):
        world.listener.accept()


def test_a_listener_of_vcl_serves_plain_tcp_too(vcl_world: Any) -> None:
    vcl_world.listener.settimeout(20)
    with socket.create_connection(vcl_world.address) as plain, vcl_world.connect() as through:
        accepted = [vcl_world.listener.accept()[0] for _ in range(2)]
        assert sorted(sock.transport for sock in accepted) == ["tcp", "vcl"]
        for client, transport in ((plain, "tcp"), (through, "vcl")):
            server = next(sock for sock in accepted if sock.transport == transport)
            client.sendall(b"hi")
            assert server.recv(10) == b"hi"
            server.close()


def test_accepted_connections_survive_their_listener(world: Any) -> None:
    client, server = world.pair()
    world.listener.close()
    client.sendall(b"on we go")
    assert server.recv(100) == b"on we go"
    server.close()
    client.close()
    with pytest.raises(OSError):  # noqa: PT011 (refused, or reset right after it was opened)
        world.connect(timeout=5).recv(1)


def test_closing_a_listener_wakes_who_accepts(vcl_world: Any) -> None:
    failed: list[OSError] = []

    def accept() -> None:
        try:
            vcl_world.listener.accept()
        except OSError as error:
            failed.append(error)

    threads = [threading.Thread(target=accept) for _ in range(3)]
    vcl_world.listener.settimeout(None)
    for thread in threads:
        thread.start()
    vcl_world.listener.close()
    for thread in threads:
        thread.join()
    assert [error.errno for error in failed] == [errno.EBADF] * 3


def test_an_expired_token_has_its_own_error(vcl_world: Any) -> None:
    with pytest.raises(TokenExpiredError):
        vcl_world.sessions.connect_peer(vcl_world.expired_peer(), *vcl_world.address, 10)


def test_nobody_there(world: Any) -> None:
    world.listener.close()
    with pytest.raises((ConnectionError, TimeoutError)):
        world.connect(timeout=0.5).recv(1)


# --- many -------------------------------------------------------------------------------------------------


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 (a count, not paths)


@pytest.mark.slow
def test_a_thousand_connections_leave_nothing_behind(world: Any) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < 5000:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(5000, hard), hard))
    world.listener.settimeout(20)

    def round_of(count: int) -> None:
        pairs = []
        for _ in range(count):
            client = world.connect()
            server, _ = world.listener.accept()
            server.settimeout(20)
            pairs.append((client, server))
        for number, (client, server) in enumerate(pairs):
            client.sendall(number.to_bytes(4, "big"))
            assert server.recv(4) == number.to_bytes(4, "big")
            assert client.fileno() != server.fileno()
        for client, server in pairs:
            client.close()
            assert server.recv(1) == b""
            server.close()

    round_of(50)
    gc.collect()
    before, threads = descriptors(), threading.active_count()
    for _ in range(2):
        round_of(500)
    assert descriptors() == before
    assert threading.active_count() == threads


# --- counters ---------------------------------------------------------------------------------------------


def test_counters_have_names(vcl_world: Any) -> None:
    client, server = vcl_world.pair()
    client.sendall(b"count me")
    server.recv(100)
    stats = vcl_world.endpoint.driver.stats()
    assert stats["accepts"] == 1
    assert stats["drops"]["check"] == 0
    assert stats["io"]["rx_datagrams"] >= 2
    total = vcl.stats()
    assert total["drivers"] >= 1
    assert total["accepts"] >= 1
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.sendto(b"noise", ("127.0.0.1", vcl_world.endpoint.driver.udp_port))
        end_s = time.monotonic() + 10
        while vcl_world.endpoint.driver.stats()["drops"]["malformed"] == 0:
            assert time.monotonic() < end_s
            time.sleep(0.002)
    client.close()
    server.close()


def test_a_path_can_be_asked_for(vcl_world: Any) -> None:
    client, server = vcl_world.pair()
    assert client.path().helper_id == 0
    assert client.path().state == "active"
    assert client.path().epoch == 1
    assert server.path().helper_id == 0
    assert (client.transport, client.why) == ("vcl", "")
    client.close()
    server.close()


def test_without_a_registry_it_is_plain_tcp() -> None:
    with vcl.create_server(("127.0.0.1", 0)) as listener:
        assert (listener.transport, listener.why) == ("tcp", "no registry configured")
        with vcl.connect(listener.getsockname()[:2], timeout=5) as client:
            assert (client.transport, client.why) == ("tcp", "no registry configured")
            assert client.path() is None
            server, _ = listener.accept()
            client.sendall(b"plain")
            assert server.recv(10) == b"plain"
            server.close()
    assert vcl.events() == []
