# SPDX-License-Identifier: Apache-2.0
"""A real worker whose address is an IPv6 one, between kernel sockets: neighbour discovery both ways, ping, and
frames of clients to a server and back."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from ipaddress import IPv6Address
from pathlib import Path

import pytest
import wire_model as wire
from worker_network import WorkerNetwork
from worker_peers import CLIENT_PORT, TRUNK_PORT, cid, data_frame, probe_frame
from worker_program import DEADLINE_S, HELPER_ID, INCARNATION, Worker, WorkerFiles

pytestmark = pytest.mark.root

CLIENT, SERVER, HELPER = "fd00::1", "fd00::2", "fd00::a:b"
SERVER_ID = 7
KEYS = wire.trunk_keys(bytes(32), HELPER_ID, INCARNATION)
TO_SERVER, TO_HELPER = (bytes(KEYS[name]) for name in ("to_server", "to_helper"))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def worker(worker_binary: Path, network: WorkerNetwork, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    network.edge.run("sh", "-c", f"echo 0 > /proc/sys/net/ipv6/conf/{network.edge_device}/disable_ipv6")
    for address in (CLIENT, SERVER):
        network.edge.run("ip", "addr", "add", f"{address}/64", "dev", network.edge_device, "nodad")
    files = WorkerFiles(worker_binary, tmp_path_factory.mktemp("worker"))
    device = f"net_af_packet0,iface={network.helper_device},framesz=2048,blocksz=65536,qpairs=1"
    config = files.write(device=device, data_address=f"{HELPER}/64", hold_us_max=2000)
    with Worker(worker_binary, config, enter=network.helper.enter) as started:
        yield started


@pytest.fixture
def client(network: WorkerNetwork) -> Iterator[socket.socket]:
    with network.udp(CLIENT) as sock:
        sock.connect((HELPER, CLIENT_PORT))
        yield sock


@pytest.fixture
def server(network: WorkerNetwork, worker: Worker) -> Iterator[socket.socket]:
    with network.udp(SERVER) as sock:
        port = sock.getsockname()[1]
        worker.must(f"server set {SERVER_ID} 0 {SERVER} {port} {TO_SERVER.hex()} {TO_HELPER.hex()}")
        yield sock
        worker.must(f"server remove {SERVER_ID}")


def test_it_says_its_address_and_answers_ping(network: WorkerNetwork, worker: Worker) -> None:
    assert worker.ready["address"] == str(IPv6Address(HELPER))
    network.edge.run("ping", "-6", "-c", "3", "-i", "0.05", "-W", "5", HELPER)
    network.edge.run("ping", "-6", "-c", "2", "-i", "0.05", "-W", "5", "-s", "1400", HELPER)
    assert worker.stats()["echo_replies"] >= 5


def test_frames_go_to_the_server_and_back(worker: Worker, client: socket.socket, server: socket.socket) -> None:
    frames = [data_frame(cid(slot, SERVER_ID), bytes([slot]) * (slot * 5)) for slot in range(100)]
    for frame in frames:
        client.send(frame)
    found: list[wire.Entry] = []
    while len(found) < len(frames):
        datagram, source = server.recvfrom(2048)
        assert source[:2] == (HELPER, TRUNK_PORT)
        found += wire.trunk_decode(datagram, TO_SERVER, 0)[1]
    assert [entry.frame for entry in found] == frames
    port = client.getsockname()[1]
    assert {(entry.ip, entry.port) for entry in found} == {(IPv6Address(CLIENT).packed, port)}

    replies = [wire.Entry(IPv6Address(CLIENT).packed, port, frame) for frame in frames[:10]]
    header: dict[str, wire.Value] = {
        "helper_id": HELPER_ID, "worker": 0, "shard": 0, "incarnation": 1, "batch_seq": 1, "hold_us": 0,
    }  # fmt: skip
    server.sendto(wire.trunk_encode(header, replies, 0, TO_HELPER, 0), (HELPER, TRUNK_PORT))
    assert [client.recv(2048) for _ in replies] == frames[:10]
    assert not {key: number for key, number in worker.drops().items() if key.startswith(("out_", "udp_"))}


def test_a_probe_is_answered(client: socket.socket, server: socket.socket) -> None:
    client.send(probe_frame(SERVER_ID, nonce=77))
    assert wire.control_decode("pong", client.recv(2048))["nonce"] == 77
    assert wire.trunk_decode(server.recv(2048), TO_SERVER, 0)[1][0].frame == probe_frame(SERVER_ID, nonce=77)


def test_a_server_of_the_other_version_is_refused(worker: Worker) -> None:
    answer = worker.ask(f"server set 9 0 198.18.0.2 9000 {TO_SERVER.hex()} {TO_HELPER.hex()}")
    assert not answer["ok"]
    assert "IP version" in answer["error"]


def test_neighbours_are_known(worker: Worker, network: WorkerNetwork, client: socket.socket) -> None:
    assert client.gettimeout() == DEADLINE_S
    client.send(probe_frame(SERVER_ID))
    known = {n["ip"]: n.get("mac") for n in worker.must("neighbours")["neighbours"]}
    assert known[CLIENT] == network.edge_mac().hex(":")
