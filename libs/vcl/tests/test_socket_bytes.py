# SPDX-License-Identifier: Apache-2.0
"""Bytes on a connection: the same in the kernel, in vcl over TCP, and in VCL."""

from __future__ import annotations

import errno
import hashlib
import io
import random
import socket
import threading
from typing import Any

import pytest

Pair = tuple[Any, Any]


def receive_all(sock: Any, length: int) -> bytes:
    parts = bytearray()
    while len(parts) < length:
        part = sock.recv(min(65536, length - len(parts)))
        assert part, "the stream ended early"
        parts += part
    return bytes(parts)


def test_small_messages_both_ways(pair: Pair) -> None:
    client, server = pair
    assert client.send(b"question") == 8
    assert receive_all(server, 8) == b"question"
    server.sendall(memoryview(b"answer"))
    assert client.recv(3) == b"ans"
    assert client.recv(100) == b"wer"


@pytest.mark.parametrize("length", [1, 1279, 1280, 1281, 16383, 16384, 16385, 65536, 1_000_003])
def test_one_sendall_of_any_length(pair: Pair, length: int) -> None:
    client, server = pair
    payload = random.Random(length).randbytes(length)
    sender = threading.Thread(target=client.sendall, args=(payload,))
    sender.start()
    assert receive_all(server, length) == payload
    sender.join()


def test_large_transfers_in_both_directions_at_once(pair: Pair) -> None:
    length = 8 << 20
    digests: dict[str, str] = {}

    def send(sock: Any, seed: int) -> None:
        source, digest, left = random.Random(seed), hashlib.sha256(), length
        while left:
            block = source.randbytes(min(left, source.randrange(1, 100_000)))
            digest.update(block)
            sock.sendall(block)
            left -= len(block)
        digests[f"sent {seed}"] = digest.hexdigest()
        sock.shutdown(socket.SHUT_WR)

    def receive(sock: Any, seed: int) -> None:
        digest = hashlib.sha256()
        buffer = bytearray(70_000)
        while n := sock.recv_into(buffer):
            digest.update(memoryview(buffer)[:n])
        digests[f"received {seed}"] = digest.hexdigest()

    client, server = pair
    jobs = [(send, client, 1), (receive, server, 1), (send, server, 2), (receive, client, 2)]
    threads = [threading.Thread(target=job, args=(sock, seed)) for job, sock, seed in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert digests["sent 1"] == digests["received 1"]
    assert digests["sent 2"] == digests["received 2"]


def test_a_nonblocking_send_takes_what_fits(pair: Pair) -> None:
    client, server = pair
    client.setblocking(False)
    payload = random.Random(0).randbytes(64 << 20)
    taken = client.send(payload)
    assert 0 < taken < len(payload)
    total = taken
    full = False
    while not full:
        try:
            total += client.send(payload[total : total + 65536])
        except BlockingIOError:
            full = True
    assert receive_all(server, total) == payload[:total]


def test_a_send_with_a_timeout_gives_up(pair: Pair) -> None:
    client, _ = pair
    client.settimeout(0.1)
    with pytest.raises(TimeoutError, match="timed out"):
        client.sendall(bytes(64 << 20))


def test_half_close(pair: Pair) -> None:
    client, server = pair
    client.sendall(b"last words")
    client.shutdown(socket.SHUT_WR)
    assert receive_all(server, 10) == b"last words"
    assert server.recv(1) == b""
    assert server.recv(1) == b""
    with pytest.raises(BrokenPipeError):
        client.send(b"more")
    server.sendall(b"heard")
    assert receive_all(client, 5) == b"heard"
    server.shutdown(socket.SHUT_WR)
    assert client.recv(1) == b""


def test_shutdown_of_reading(pair: Pair) -> None:
    client, _ = pair
    client.shutdown(socket.SHUT_RD)
    assert client.recv(1) == b""


def test_closing_with_unread_bytes_resets(pair: Pair) -> None:
    client, server = pair
    client.sendall(b"never read")
    assert server.recv(1, socket.MSG_PEEK) == b"n"
    server.close()
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    assert client.recv(1) == b""
    with pytest.raises(BrokenPipeError):
        client.send(b"x")


def test_linger_zero_resets(pair: Pair) -> None:
    client, server = pair
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    client.close()
    with pytest.raises(ConnectionResetError):
        server.recv(1)


def test_linger_delivers_before_close_returns(pair: Pair) -> None:
    client, server = pair
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\x05\0\0\0")
    client.sendall(b"farewell")
    client.close()
    server.setblocking(False)
    assert server.recv(100) == b"farewell"


def test_close_delivers_what_was_written(pair: Pair) -> None:
    client, server = pair
    payload = random.Random(3).randbytes(100_000)
    client.sendall(payload)
    client.close()
    assert receive_all(server, len(payload)) == payload
    assert server.recv(1) == b""


def test_flags(pair: Pair) -> None:
    client, server = pair
    server.settimeout(0.02)
    with pytest.raises(TimeoutError):  # Python waits for its timeout, whatever the flag says
        server.recv(1, socket.MSG_DONTWAIT)
    server.settimeout(None)
    with pytest.raises(BlockingIOError) as caught:
        server.recv(1, socket.MSG_DONTWAIT)
    assert caught.value.errno == errno.EAGAIN
    client.sendall(b"abcdef")
    assert server.recv(3, socket.MSG_PEEK) == b"abc"
    assert receive_all(server, 3) == b"abc"
    sender = threading.Thread(target=client.sendall, args=(b"x" * 100_000,))
    sender.start()
    assert server.recv(100_003, socket.MSG_WAITALL) == b"def" + b"x" * 100_000
    sender.join()
    assert client.send(b"quiet", socket.MSG_NOSIGNAL) == 5


def test_scatter_and_gather(pair: Pair) -> None:
    client, server = pair
    parts = [b"one", bytearray(b"two"), memoryview(b"three"), b""]
    assert client.sendmsg(parts) == 11
    first, second = bytearray(4), bytearray(7)
    assert server.recv(11, socket.MSG_PEEK | socket.MSG_WAITALL)
    received, ancillary, flags, _ = server.recvmsg_into([first, second])
    assert (received, ancillary, flags) == (11, [], 0)
    assert bytes(first + second) == b"onetwothree"
    many = [bytes([i % 256]) * 10 for i in range(500)]
    assert client.sendmsg(many) == 5000
    assert receive_all(server, 5000) == b"".join(many)
    client.sendall(b"msg")
    data, ancillary, _, _ = server.recvmsg(100)
    assert (data, ancillary) == (b"msg", [])


def test_receiving_into_a_buffer(pair: Pair) -> None:
    client, server = pair
    client.sendall(b"0123456789")
    buffer = bytearray(20)
    assert server.recv_into(buffer, 4) == 4
    assert server.recv_into(memoryview(buffer)[4:]) == 6
    assert buffer == b"0123456789" + bytes(10)
    with pytest.raises(ValueError, match="buffer too small"):
        server.recv_into(buffer, 21)
    with pytest.raises((BufferError, TypeError)):
        server.recv_into(b"read-only")
    with pytest.raises(ValueError, match="negative"):
        server.recv(-1)


def test_nothing_is_nothing(pair: Pair) -> None:
    client, server = pair
    assert client.send(b"") == 0
    client.sendall(b"")
    assert server.recv(0) == b""


# --- files ----------------------------------------------------------------------------------------------


def test_lines_through_makefile(pair: Pair) -> None:
    client, server = pair
    with client.makefile("rw", encoding="utf-8", newline="\n") as lines:
        lines.write("grüße\nund mehr\n")
        lines.flush()
        with server.makefile("rb") as raw:
            assert raw.readline() == "grüße\n".encode()
            assert raw.readline() == b"und mehr\n"
        server.sendall("zurück\n".encode())
        assert lines.readline() == "zurück\n"


def test_a_file_keeps_the_socket_open(pair: Pair) -> None:
    client, server = pair
    reader = server.makefile("rb")
    server.close()
    assert server.fileno() != -1
    client.sendall(b"still here")
    assert reader.read(10) == b"still here"
    reader.close()
    assert server.fileno() == -1
    with pytest.raises(OSError, match="Bad file descriptor"):
        server.recv(1)


def test_makefile_modes(pair: Pair) -> None:
    client, _ = pair
    with pytest.raises(ValueError, match="invalid mode"):
        client.makefile("a")
    with pytest.raises(ValueError, match="unbuffered"):
        client.makefile("r", buffering=0)
    raw = client.makefile("wb", buffering=0)
    assert isinstance(raw, io.RawIOBase)
    assert raw.write(b"raw") == 3
    raw.close()


def test_a_timeout_ends_a_read_of_a_file(pair: Pair) -> None:
    client, _ = pair
    client.settimeout(0.05)
    with client.makefile("rb") as reader, pytest.raises(TimeoutError):
        reader.read(1)


def test_sendfile(pair: Pair, tmp_path: Any) -> None:
    client, server = pair
    source = tmp_path / "source"
    payload = random.Random(5).randbytes(300_000)
    source.write_bytes(payload)
    received: list[bytes] = []
    receiver = threading.Thread(target=lambda: received.append(receive_all(server, 200_000)))
    receiver.start()
    with source.open("rb") as file:
        assert client.sendfile(file, offset=50_000, count=200_000) == 200_000
        assert file.tell() == 250_000
    receiver.join()
    assert received[0] == payload[50_000:250_000]
