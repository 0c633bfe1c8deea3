# SPDX-License-Identifier: Apache-2.0
"""What nobody should send: it changes counters, and the worker goes on relaying. All noise is seeded."""

from __future__ import annotations

import random
import socket
import struct
from collections.abc import Iterator
from ipaddress import IPv4Address

import pytest
from worker_network import CLIENT_IP, SERVER_IP, WorkerNetwork
from worker_peers import CLIENT_PORT, TRUNK_PORT, Client, Server, cid, data_frame, entry, is_silent, probe_frame
from worker_program import HELPER_IP, Worker, eventually

pytestmark = pytest.mark.root

SERVER_ID = 7
DATAGRAMS = 3000
FRAME_BYTES_BASE = 1352  # the longest C-frame that every path carries
BURST = 200  # datagrams between two looks at the counters, well below the port's ring


@pytest.fixture(scope="module")
def server(network: WorkerNetwork, worker: Worker) -> Iterator[Server]:
    made = Server(network, worker, SERVER_ID)
    yield made
    made.leave()


@pytest.fixture
def client(network: WorkerNetwork, worker: Worker, server: Server) -> Iterator[Client]:
    """A client that finds the worker relaying before and after the test."""
    made = Client(network)
    _assert_relays(made, server)
    yield made
    _assert_relays(made, server)
    made.close()


def _assert_relays(client: Client, server: Server) -> None:
    frame = data_frame(cid(1, SERVER_ID), b"still here", urgent=True)
    client.send(frame)
    assert [e.frame for e in server.receive_frames(1)] == [frame]
    server.send(server.batch([entry(client, frame)]))
    assert client.receive() == frame


def _total(worker: Worker) -> int:
    return sum(worker.drops().values())


def _flood(worker: Worker, sock: socket.socket, port: int, datagrams: list[bytes]) -> dict[str, int]:
    """Sends all, each of which must be dropped and counted; returns how much each counter grew."""
    before = worker.drops()
    start = sum(before.values())
    for first in range(0, len(datagrams), BURST):
        for datagram in datagrams[first : first + BURST]:
            sock.sendto(datagram, (HELPER_IP, port))
        sent = min(first + BURST, len(datagrams))
        eventually(f"{sent} drops are counted", lambda sent=sent: _total(worker) == start + sent)
    return {key: count - before.get(key, 0) for key, count in worker.drops().items() if count != before.get(key, 0)}


def test_garbage_on_the_client_port(network: WorkerNetwork, worker: Worker, client: Client, server: Server) -> None:
    rng = random.Random(1)
    garbage = [rng.randbytes(rng.randrange(1400)) for _ in range(DATAGRAMS)]
    with network.udp(CLIENT_IP) as sock:
        grown = _flood(worker, sock, CLIENT_PORT, garbage)
    assert set(grown) <= {"malformed", "not_for_helper", "unknown_server", "frame_long"}
    assert grown.get("frame_long", 0) <= sum(len(datagram) > FRAME_BYTES_BASE for datagram in garbage)
    assert is_silent(server.socket)


def test_frames_longer_than_every_path_carries(
    network: WorkerNetwork, worker: Worker, client: Client, server: Server
) -> None:
    connection = cid(1, SERVER_ID)
    room = FRAME_BYTES_BASE - len(data_frame(connection, b""))
    with network.udp(CLIENT_IP) as sock:
        long = [data_frame(connection, bytes(room + more)) for more in range(1, 100)]
        assert _flood(worker, sock, CLIENT_PORT, long) == {"frame_long": len(long)}
    assert is_silent(server.socket)
    longest = data_frame(connection, bytes(room), urgent=True)
    client.send(longest)
    assert [e.frame for e in server.receive_frames(1)] == [longest]


def test_frames_of_made_up_connections(network: WorkerNetwork, worker: Worker, client: Client, server: Server) -> None:
    rng = random.Random(2)
    template = data_frame(1, b"made up")
    guesses = [template[:4] + rng.randbytes(8) + template[12:] for _ in range(DATAGRAMS)]
    with network.udp(CLIENT_IP) as sock:
        assert _flood(worker, sock, CLIENT_PORT, guesses) == {"unknown_server": DATAGRAMS}
    assert is_silent(server.socket)


def test_truncated_frames(network: WorkerNetwork, worker: Worker, client: Client) -> None:
    probe, data = probe_frame(SERVER_ID), data_frame(cid(1, SERVER_ID), b"")
    cut = [probe[:size] for size in range(len(probe))] + [data[:size] for size in range(len(data))]
    with network.udp(CLIENT_IP) as sock:
        assert _flood(worker, sock, CLIENT_PORT, cut) == {"malformed": len(cut)}


def test_trunk_batches_of_strangers(network: WorkerNetwork, worker: Worker, client: Client, server: Server) -> None:
    batches = [server.batch([entry(client, b"\x20" + bytes(27))]) for _ in range(20)]
    with network.udp(SERVER_IP) as sock:
        assert _flood(worker, sock, TRUNK_PORT, batches * 10) == {"trunk_unknown": 200}
    assert is_silent(client.socket)
    # To the worker the strangers' batches have not arrived: after the next one it asks for just these numbers (T8).
    asked_before = len(server.asked_seqs)
    _assert_relays(client, server)
    server.receive_nacks(until=asked_before + len(batches))
    assert server.asked_seqs[asked_before:] == list(range(server.seq - len(batches), server.seq))


def test_forged_and_truncated_batches(worker: Worker, client: Client, server: Server) -> None:
    rng = random.Random(3)
    batch = server.batch([entry(client, data_frame(cid(i, SERVER_ID), b"forged")) for i in range(8)])
    forged = []
    for _ in range(DATAGRAMS):
        altered = bytearray(batch)
        altered[rng.randrange(len(batch))] ^= 1 << rng.randrange(8)
        forged.append(bytes(altered))
    cut = [batch[:size] for size in range(len(batch))]
    noise = [rng.randbytes(rng.randrange(1472)) for _ in range(DATAGRAMS)]
    grown = _flood(worker, server.socket, TRUNK_PORT, forged + cut + noise)
    assert set(grown) == {"trunk_tag", "malformed"}
    assert is_silent(client.socket)
    server.send(batch)  # the forgeries used up nothing
    assert len({client.receive() for _ in range(8)}) == 8


def test_replayed_batches(worker: Worker, client: Client, server: Server) -> None:
    batches = [server.batch([entry(client, data_frame(cid(i, SERVER_ID), b"once"))]) for i in range(50)]
    for batch in reversed(batches):  # reordered, and each of them new
        server.send(batch)
    assert len({client.receive() for _ in range(50)}) == 50
    assert _flood(worker, server.socket, TRUNK_PORT, batches * 20) == {"trunk_replay": 1000}
    assert is_silent(client.socket)


def test_batch_numbers_older_than_the_window(worker: Worker, client: Client, server: Server) -> None:
    frame = data_frame(cid(1, SERVER_ID), b"old")
    server.seq += 5000
    server.send(server.batch([entry(client, frame)]))
    assert client.receive() == frame
    old = [server.batch([entry(client, frame)], seq=server.seq - 1024 - i) for i in range(50)]
    assert _flood(worker, server.socket, TRUNK_PORT, old) == {"trunk_replay": 50}
    within = server.batch([entry(client, frame)], seq=server.seq - 1023)
    server.send(within)
    assert client.receive() == frame


def test_malformed_entries_under_a_good_tag(worker: Worker, client: Client, server: Server) -> None:
    from wire_primitives import siphash24

    good = server.batch([entry(client, data_frame(cid(1, SERVER_ID), b"entry"))])
    rng = random.Random(4)
    bad = []
    for _ in range(200):
        server.seq += 1
        body = bytearray(good[:-8])
        body[12:16] = server.seq.to_bytes(4, "big")
        body[32] = rng.choice([0x45, 0x00, 0xFF])  # no such kind; padding that is not zero
        bad.append(bytes(body) + siphash24(server.to_helper, bytes(body) + bytes(4), 8))
    assert _flood(worker, server.socket, TRUNK_PORT, bad) == {"trunk_entry": 200}
    assert is_silent(client.socket)


def test_entries_that_cannot_be_delivered(worker: Worker, client: Client, server: Server) -> None:
    import wire_model as wire

    frame = data_frame(cid(1, SERVER_ID), b"where to")
    rows = {
        "out_family": wire.Entry(bytes(15) + b"\x01", 5, frame),
        "out_no_route": wire.Entry(IPv4Address("203.0.113.9").packed, 5, frame),
        "out_address": wire.Entry(IPv4Address("198.18.0.255").packed, 5, frame),
    }
    addresses = ("224.0.0.1", "0.0.0.0", "127.0.0.1", "255.255.255.255", HELPER_IP)  # noqa: S104 (sent to, not bound)
    nowhere = [wire.Entry(IPv4Address(ip).packed, 5, frame) for ip in addresses]
    nowhere.append(wire.Entry(IPv4Address(CLIENT_IP).packed, 0, frame))
    before = worker.drops()
    server.send(server.batch([*rows.values(), *nowhere, entry(client, frame)]))
    assert client.receive() == frame  # the last of the batch: the others have been seen to
    after = worker.drops()
    grown = {key: after[key] - before.get(key, 0) for key in after if after[key] != before.get(key, 0)}
    assert grown == {"out_family": 1, "out_no_route": 1, "out_address": 1 + len(nowhere)}


def test_a_neighbour_that_does_not_answer(worker: Worker, client: Client, server: Server) -> None:
    import wire_model as wire

    frame = data_frame(cid(1, SERVER_ID), b"nobody home")
    before = worker.drops()
    nobody = wire.Entry(IPv4Address("198.18.0.99").packed, 5, frame)
    server.send(server.batch([nobody] * 12 + [entry(client, frame)]))
    assert client.receive() == frame
    assert worker.drops().get("out_pending", 0) - before.get("out_pending", 0) == 4  # eight may wait
    eventually(
        "the waiting packets are given up",
        lambda: worker.drops().get("out_unresolved", 0) - before.get("out_unresolved", 0) == 8,
    )


def test_frames_that_no_ip_stack_sends(network: WorkerNetwork, worker: Worker, client: Client, server: Server) -> None:
    mac = bytes.fromhex(worker.ready["mac"].replace(":", ""))
    own = network.edge_mac()
    rng = random.Random(5)
    good = _udp_packet(mac, own, CLIENT_PORT, probe_frame(SERVER_ID))
    frames = []
    for _ in range(DATAGRAMS):
        frame = bytearray(good)
        for _ in range(rng.randrange(1, 6)):
            frame[rng.randrange(6, 42)] = rng.randrange(256)  # anything but the destination
        frames.append(bytes(frame[: rng.randrange(14, len(frame))]))
    frames += [mac + own + rng.randbytes(rng.randrange(2, 1400)) for _ in range(DATAGRAMS)]
    frames += [mac + own + b"\x08\x06" + rng.randbytes(rng.randrange(60)) for _ in range(300)]
    before = worker.stats()["rx_packets"]
    with network.raw() as sock:
        for i, frame in enumerate(frames):
            sock.send(frame)
            if i % BURST == 0:  # what comes after the noise is relayed
                _assert_relays(client, server)
    _assert_relays(client, server)
    # The kernel itself drops some of them, such as VLAN tags without a frame behind.
    assert worker.stats()["rx_packets"] - before > 0.9 * len(frames)


def _udp_packet(dst: bytes, src: bytes, port: int, payload: bytes) -> bytes:
    udp = struct.pack("!HHHH", 4000, port, 8 + len(payload), 0) + payload
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 1, 0, 64, 17, 0)
    head += IPv4Address(CLIENT_IP).packed + IPv4Address(HELPER_IP).packed
    total = sum(struct.unpack("!10H", head))
    total = (total & 0xFFFF) + (total >> 16)
    checksum = ~(total + (total >> 16)) & 0xFFFF
    return dst + src + b"\x08\x00" + head[:10] + checksum.to_bytes(2, "big") + head[12:] + udp
