# SPDX-License-Identifier: Apache-2.0
"""Waiting: timeouts, non-blocking calls, pollers, signals, many threads. The same in all three worlds."""

from __future__ import annotations

import asyncio
import errno
import os
import select
import selectors
import signal
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

Pair = tuple[Any, Any]
Eventually = Callable[..., Any]


def test_timeouts_and_modes(pair: Pair) -> None:
    client, _ = pair
    for sock in pair:
        sock.settimeout(0.05)
        assert sock.gettimeout() == 0.05
        assert sock.getblocking()
        with pytest.raises(TimeoutError) as caught:
            sock.recv(1)
        assert str(caught.value) == "timed out"
        sock.setblocking(False)
        assert sock.gettimeout() == 0.0
        assert not sock.getblocking()
        with pytest.raises(BlockingIOError) as blocked:
            sock.recv(1)
        assert blocked.value.errno == errno.EAGAIN
        sock.setblocking(True)
        assert sock.gettimeout() is None
        assert sock.timeout is None
    with pytest.raises(ValueError, match="out of range"):
        client.settimeout(-1)


def test_a_waiting_reader_wakes_when_bytes_come(pair: Pair) -> None:
    client, server = pair
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(server.recv(10)))
    reader.start()
    time.sleep(0.05)  # most likely it waits by now; the test holds in either order
    client.sendall(b"wake up")
    reader.join()
    assert got == [b"wake up"]


def test_one_reader_and_one_writer_on_the_same_socket(pair: Pair) -> None:
    client, server = pair
    rounds = 300

    def echo() -> None:
        while block := server.recv(4096):
            server.sendall(block)

    def write() -> None:
        for i in range(rounds):
            client.sendall(i.to_bytes(4, "big") * 100)
        client.shutdown(socket.SHUT_WR)

    threads = [threading.Thread(target=echo), threading.Thread(target=write)]
    for thread in threads:
        thread.start()
    received = bytearray()
    while len(received) < rounds * 400:
        received += client.recv(65536)
    assert bytes(received) == b"".join(i.to_bytes(4, "big") * 100 for i in range(rounds))
    server.shutdown(socket.SHUT_WR)
    for thread in threads:
        thread.join()


# --- pollers ---------------------------------------------------------------------------------------------


def test_selectors_see_what_the_socket_can_do(pair: Pair) -> None:
    client, server = pair
    with selectors.DefaultSelector() as selector:
        selector.register(server, selectors.EVENT_READ | selectors.EVENT_WRITE)
        assert [mask for _, mask in selector.select(0)] == [selectors.EVENT_WRITE]
        client.sendall(b"x")
        selector.modify(server, selectors.EVENT_READ)
        assert [mask for _, mask in selector.select(5)] == [selectors.EVENT_READ]
        assert server.recv(10) == b"x"
        assert selector.select(0) == []
        client.shutdown(socket.SHUT_WR)
        assert [mask for _, mask in selector.select(5)] == [selectors.EVENT_READ]
        assert server.recv(1) == b""
        assert [mask for _, mask in selector.select(0)] == [selectors.EVENT_READ]


@pytest.mark.parametrize("poller", ["select", "poll", "epoll"])
def test_a_full_send_buffer_is_not_writable(pair: Pair, poller: str, eventually: Eventually) -> None:
    client, server = pair

    def writable(timeout_s: float) -> bool:
        if poller == "select":
            return bool(select.select([], [client], [], timeout_s)[1])
        waiter: Any = select.poll() if poller == "poll" else select.epoll()
        waiter.register(client, select.POLLOUT if poller == "poll" else select.EPOLLOUT)
        return bool(waiter.poll(timeout_s * (1000 if poller == "poll" else 1)))

    assert writable(0)
    client.setblocking(False)
    sent = 0
    while writable(0.05):
        try:
            sent += client.send(bytes(65536))
        except BlockingIOError:
            continue
    while sent:
        sent -= len(server.recv(min(sent, 1 << 20)))
    assert eventually(lambda: writable(0))


def test_hangup_is_seen(pair: Pair, eventually: Eventually) -> None:
    client, server = pair
    waiter = select.poll()
    waiter.register(server, select.POLLIN | select.POLLRDHUP)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    client.close()
    assert eventually(lambda: waiter.poll(100))[0][1] & select.POLLHUP


def test_asyncio_streams_over_connected_sockets(world: Any) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(line.upper())
            await writer.drain()
        writer.close()

    async def ask(number: int) -> None:
        sock = await asyncio.to_thread(world.connect)
        sock.setblocking(False)
        reader, writer = await asyncio.open_connection(sock=sock)
        for i in range(20):
            writer.write(f"client {number} line {i}\n".encode() * 50)
            for _ in range(50):
                assert await reader.readline() == f"CLIENT {number} LINE {i}\n".encode()
        writer.close()
        await writer.wait_closed()

    async def main() -> None:
        server = await asyncio.start_server(serve, sock=world.listener)
        await asyncio.gather(*(ask(number) for number in range(20)))
        server.close()

    asyncio.run(main())


def test_asyncio_loop_socket_calls(pair: Pair) -> None:
    client, server = pair

    async def main() -> None:
        loop = asyncio.get_running_loop()
        for sock in pair:
            sock.setblocking(False)
        received = asyncio.create_task(loop.sock_recv(server, 100))
        await asyncio.sleep(0)
        await loop.sock_sendall(client, b"through the loop")
        assert await received == b"through the loop"

    asyncio.run(main())


# --- signals ---------------------------------------------------------------------------------------------


class Alarmed(Exception):
    """Raised by the signal's handler."""


def test_a_signal_handler_may_end_a_wait(pair: Pair) -> None:
    def raise_alarmed(number: int, frame: Any) -> None:
        raise Alarmed

    before = signal.signal(signal.SIGALRM, raise_alarmed)
    try:
        for wait in (lambda: pair[0].recv(1), lambda: pair[0].sendall(bytes(64 << 20))):
            pair[0].settimeout(None)
            signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
            with pytest.raises(Alarmed):
                wait()
            signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_a_quiet_signal_does_not_end_a_wait(pair: Pair) -> None:
    client, server = pair
    seen: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda number, frame: seen.append(number))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
        sender = threading.Timer(0.2, client.sendall, (b"late",))
        sender.start()
        assert server.recv(10) == b"late"
        sender.join()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert seen


def test_accept_is_interruptible(world: Any) -> None:
    def raise_alarmed(number: int, frame: Any) -> None:
        raise Alarmed

    before = signal.signal(signal.SIGALRM, raise_alarmed)
    world.listener.settimeout(None)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
        with pytest.raises(Alarmed):
            world.listener.accept()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_a_signal_handler_may_close_the_listener(vcl_world: Any) -> None:
    before = signal.signal(signal.SIGALRM, lambda number, frame: vcl_world.listener.close())
    vcl_world.listener.settimeout(None)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(OSError, match="Bad file descriptor"):
            vcl_world.listener.accept()
    finally:
        signal.signal(signal.SIGALRM, before)


# --- many ------------------------------------------------------------------------------------------------


def test_many_threads_many_connections(world: Any) -> None:
    clients, rounds = 24, 40
    world.listener.settimeout(None)

    def echo(sock: Any) -> None:
        with sock:
            while block := sock.recv(4096):
                sock.sendall(block)

    def accept() -> None:
        for _ in range(clients):
            sock, _ = world.listener.accept()
            sock.settimeout(20)
            threading.Thread(target=echo, args=(sock,), daemon=True).start()

    failures: list[BaseException] = []

    def ask(number: int) -> None:
        try:
            with world.connect() as sock:
                for i in range(rounds):
                    message = f"{number}:{i};".encode() * (1 + i % 7)
                    sock.sendall(message)
                    got = b""
                    while len(got) < len(message):
                        got += sock.recv(4096)
                    assert got == message
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=accept)] + [threading.Thread(target=ask, args=(n,)) for n in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_several_threads_accept(world: Any) -> None:
    world.listener.settimeout(20)
    taken: list[Any] = []
    threads = [threading.Thread(target=lambda: taken.append(world.listener.accept()[0])) for _ in range(8)]
    for thread in threads:
        thread.start()
    clients = [world.connect() for _ in range(8)]
    for thread in threads:
        thread.join()
    assert len(taken) == 8
    for sock in taken + clients:
        sock.close()


def test_one_loop_serves_many_connections(world: Any) -> None:
    count = 200
    world.listener.setblocking(False)
    clients = [world.connect() for _ in range(count)]
    selector = selectors.DefaultSelector()
    selector.register(world.listener, selectors.EVENT_READ)
    for number, sock in enumerate(clients):
        sock.sendall(f"hello {number}".encode())
    echoed, end_s = 0, time.monotonic() + 20
    while echoed < count and time.monotonic() < end_s:
        for key, _ in selector.select(1):
            if key.fileobj is world.listener:
                sock, _ = world.listener.accept()
                sock.setblocking(False)
                selector.register(sock, selectors.EVENT_READ)
            else:
                key.fileobj.send(key.fileobj.recv(100))  # type: ignore[union-attr]
                echoed += 1
    for number, sock in enumerate(clients):
        assert sock.recv(100) == f"hello {number}".encode()
    for key in list(selector.get_map().values()):
        if key.fileobj is not world.listener:
            key.fileobj.close()  # type: ignore[union-attr]
    for sock in clients:
        sock.close()
    selector.close()


def test_reading_the_readiness_descriptor_is_not_needed(vcl_world: Any, eventually: Eventually) -> None:
    """A VCL descriptor only shows readiness: its bytes are not the connection's."""
    client, server = vcl_world.pair()
    fd = server.fileno()
    client.sendall(b"secret")
    assert eventually(lambda: select.select([fd], [], [], 0)[0])
    assert server.recv(100) == b"secret"
    with pytest.raises(BlockingIOError):
        os.read(fd, 100)
    client.close()
    server.close()
