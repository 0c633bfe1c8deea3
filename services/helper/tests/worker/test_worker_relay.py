# SPDX-License-Identifier: Apache-2.0
"""A real worker between kernel sockets: what clients send reaches the server in batches, and the other way round."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address

import pytest
import wire_model as wire
from worker_network import CLIENT_IP, SERVER_IP, WorkerNetwork
from worker_peers import Client, Server, cid, data_frame, entry, open_frame, probe_frame
from worker_program import HELPER_ID, HELPER_IP, INCARNATION, Worker, eventually

pytestmark = pytest.mark.root

SERVER_ID = 7


@pytest.fixture
def client(network: WorkerNetwork) -> Iterator[Client]:
    made = Client(network)
    yield made
    made.close()


@pytest.fixture(scope="module")
def server(network: WorkerNetwork, worker: Worker) -> Iterator[Server]:
    made = Server(network, worker, SERVER_ID)
    yield made
    made.leave()


def test_ready_says_who_it_is(worker: Worker) -> None:
    assert worker.ready["event"] == "ready"
    assert worker.ready["helper_id"] == HELPER_ID
    assert worker.ready["address"] == HELPER_IP
    assert worker.ready["pid"] > 0


def test_ping_is_answered(network: WorkerNetwork, worker: Worker) -> None:
    network.edge.run("ping", "-c", "3", "-i", "0.05", "-W", "5", HELPER_IP)
    network.edge.run("ping", "-c", "2", "-i", "0.05", "-W", "5", "-s", "1400", HELPER_IP)
    assert worker.stats()["echo_replies"] >= 5


def test_frames_of_clients_arrive_whole_and_in_order(network: WorkerNetwork, client: Client, server: Server) -> None:
    other = Client(network)
    frames = [data_frame(cid(slot, SERVER_ID), bytes([slot % 256]) * (slot % 200)) for slot in range(300)]
    for i, frame in enumerate(frames):
        (client, other)[i % 2].send(frame)
    entries = server.receive_frames(300)
    for i, sender in enumerate((client, other)):
        of_sender = [e.frame for e in entries if e.port == sender.port]
        assert of_sender == frames[i::2]
    assert {e.ip for e in entries} == {IPv4Address(CLIENT_IP).packed}
    other.close()


def test_batch_header_and_numbers(client: Client, server: Server) -> None:
    for _ in range(20):
        client.send(data_frame(cid(1, SERVER_ID), b"x", urgent=True))
        _, header, entries, pad = server.receive()
        assert len(entries) == 1
        assert pad == 0
        assert (header["helper_id"], header["worker"], header["shard"]) == (HELPER_ID, 0, 0)
        assert header["incarnation"] == INCARNATION
    first = server.received_seqs[0]
    assert server.received_seqs == list(range(first, first + len(server.received_seqs)))


def test_largest_frame_passes(client: Client, server: Server) -> None:
    frame = data_frame(cid(1, SERVER_ID), bytes(1280))
    client.send(frame)
    assert [e.frame for e in server.receive_frames(1)] == [frame]


def test_full_batches_are_padded_to_the_segment_size(client: Client, server: Server) -> None:
    frame = data_frame(cid(1, SERVER_ID), bytes(640))  # two of these entries fit a batch, and not a third
    for _ in range(100):
        client.send(frame)
    left, full = 100, 0
    while left:
        datagram, _, entries, pad = server.receive()
        left -= len(entries)
        full += len(datagram) == 1440
        assert pad == (1440 - 40 - 2 * 677 if len(datagram) == 1440 else 0)
    assert full > 0


def test_open_reaches_the_server_it_names(
    network: WorkerNetwork, client: Client, server: Server, worker: Worker
) -> None:
    other = Server(network, worker, 8, shard=2)
    client.send(open_frame(8, shard=2))
    _, header, entries, _ = other.receive()
    assert header["shard"] == 2
    assert [e.frame for e in entries] == [open_frame(8, shard=2)]
    other.leave()


def test_probe_is_answered_by_both(client: Client, server: Server, worker: Worker) -> None:
    for draining in (False, True):
        worker.must(f"drain {'on' if draining else 'off'}")
        client.send(probe_frame(SERVER_ID, nonce=99))
        pong = wire.control_decode("pong", client.receive())
        assert pong["nonce"] == 99
        assert (pong["helper_id"], pong["incarnation"], pong["state"]) == (HELPER_ID, INCARNATION, int(draining))
        assert [e.frame for e in server.receive_frames(1)] == [probe_frame(SERVER_ID, nonce=99)]
    worker.must("drain off")


def test_batches_of_the_server_reach_their_clients(network: WorkerNetwork, server: Server) -> None:
    clients = [Client(network) for _ in range(3)]  # never heard before: a helper that was just restarted (T3)
    frames = [data_frame(cid(slot, SERVER_ID), bytes([slot]) * 40) for slot in range(12)]
    server.send(server.batch((entry(clients[i % 3], frame) for i, frame in enumerate(frames)), pad=100))
    for i, receiver in enumerate(clients):
        assert [receiver.receive() for _ in range(4)] == frames[i::3]
        receiver.close()


def test_checksums_are_there_and_right(network: WorkerNetwork, client: Client, server: Server) -> None:
    with network.raw() as tap:
        for size in (0, 1, 2, 3, 64, 1001):
            client.send(data_frame(cid(1, SERVER_ID), bytes([size % 251]) * size, urgent=True))
            server.receive()
            server.send(server.batch([entry(client, data_frame(cid(1, SERVER_ID), bytes(size)))]))
            client.receive()
        seen = 0
        while seen < 12:
            frame = tap.recv(2048)
            if frame[12:14] != b"\x08\x00" or frame[26:30] != IPv4Address(HELPER_IP).packed:
                continue
            seen += 1
            ip, udp = frame[14:34], frame[34 : 14 + struct.unpack_from("!H", frame, 16)[0]]
            assert _ones_sum(ip) == 0xFFFF
            assert ip[6] & 0x40, "don't fragment"
            assert udp[6:8] != b"\x00\x00"
            pseudo = ip[12:20] + b"\x00\x11" + struct.pack("!H", len(udp))
            assert _ones_sum(pseudo + udp) == 0xFFFF


def _ones_sum(data: bytes) -> int:
    data += bytes(len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def test_a_removed_server_gets_nothing(network: WorkerNetwork, client: Client, worker: Worker) -> None:
    leaver = Server(network, worker, 9)
    client.send(data_frame(cid(1, 9), b"before", urgent=True))
    assert len(leaver.receive_frames(1)) == 1
    leaver.leave()
    before = worker.drops().get("unknown_server", 0)
    client.send(data_frame(cid(1, 9), b"after", urgent=True))
    eventually("the drop is counted", lambda: worker.drops().get("unknown_server", 0) == before + 1)


def test_neighbours_are_known(network: WorkerNetwork, worker: Worker, client: Client, server: Server) -> None:
    client.send(probe_frame(SERVER_ID))
    client.receive()
    server.receive()
    known = {n["ip"]: n.get("mac") for n in worker.must("neighbours")["neighbours"]}
    mac = network.edge_mac().hex(":")
    assert known[CLIENT_IP] == mac
    assert known[SERVER_IP] == mac


def test_counters_add_up(client: Client, server: Server, worker: Worker) -> None:
    before = worker.stats()
    for i in range(50):
        client.send(data_frame(cid(i, SERVER_ID), b"count me"))
    server.receive_frames(50)
    after = worker.stats()
    grown = {key: after[key] - before[key] for key in after if isinstance(after[key], int)}
    assert grown["client_frames_in"] == grown["trunk_entries_out"] == grown["trunk_data_entries_out"] == 50
    assert grown["trunk_batches_out"] == grown["flush_age"] + grown["flush_size"] + grown["flush_urgent"]
    assert after["drops"] == before["drops"]


def test_an_idle_worker_sleeps(worker: Worker, record_property: Callable[[str, object], None]) -> None:
    assert worker.ready["doorbell"] is True
    record_property("idle_cpu_share", worker.cpu_share(2.0))
