# SPDX-License-Identifier: Apache-2.0
"""A client and a server shard that speak C-frames and trunk batches by kernel sockets, with the wire model of
tests/interop (no code in common with the worker)."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from ipaddress import IPv4Address

import wire_model as wire
from worker_network import CLIENT_IP, SERVER_IP, WorkerNetwork
from worker_program import CID_KEY, HELPER_IP, Worker, eventually

CLIENT_PORT, TRUNK_PORT = 4701, 4702
MAC_KEY = b"a session's key."
FLAG_CHECK, FLAG_URGENT = 0x80, 0x04


def cid(slot: int, server_id: int, shard: int = 0) -> int:
    return wire.cid_seal(CID_KEY, server_id, shard, slot, 1)


def data_frame(connection: int, payload: bytes, *, urgent: bool = False) -> bytes:
    """DATA as a client makes it; the seed of its check is the endpoints' secret."""
    flags = FLAG_CHECK | (FLAG_URGENT if urgent else 0)
    numbers: dict[str, wire.Value] = {"epoch8": 1, "tx": 0, "tx_echo": 0, "cid": connection}
    numbers |= {"seq": 0, "ack": 0, "window": 256}
    seed = wire.CheckSeed(secret=7, cid=connection, seq=0, ack=0, epoch=1)
    return wire.frame_encode("data", {**numbers, "flags": flags, "payload": payload, "sacks": []}, seed)


def probe_frame(server_id: int, nonce: int = 22, shard: int = 0) -> bytes:
    names = {"session_id": 11, "epoch": 1, "nonce": nonce, "server_id": server_id, "helper_id": 3, "shard": shard}
    names["whole_bytes"] = 48
    return wire.control_encode("probe", names, MAC_KEY)


def open_frame(server_id: int, session_id: int = 12, shard: int = 0) -> bytes:
    names = {
        "session_id": session_id, "epoch": 1, "open_nonce": 5, "server_id": server_id, "shard": shard,
        "client_port": 1000, "rwnd": 65536, "features": 0, "token": bytes(64), "cookie": bytes(16),
    }  # fmt: skip
    return wire.control_encode("open", names, MAC_KEY)


class Client:
    """A kernel UDP socket that talks to the worker's client port."""

    def __init__(self, network: WorkerNetwork) -> None:
        self.socket = network.udp(CLIENT_IP)
        self.socket.connect((HELPER_IP, CLIENT_PORT))
        self.port: int = self.socket.getsockname()[1]

    def send(self, datagram: bytes) -> None:
        self.socket.send(datagram)

    def receive(self) -> bytes:
        return self.socket.recv(2048)

    def close(self) -> None:
        self.socket.close()


class Server:
    """A server shard known to the worker, on a kernel UDP socket of its own."""

    def __init__(self, network: WorkerNetwork, worker: Worker, server_id: int, shard: int = 0) -> None:
        self.worker, self.server_id, self.shard = worker, server_id, shard
        self.socket = network.udp(SERVER_IP)
        self.port: int = self.socket.getsockname()[1]
        keys = wire.trunk_keys(bytes([server_id]) * 32, 3, 9)
        self.to_server, self.to_helper = bytes(keys["to_server"]), bytes(keys["to_helper"])  # type: ignore[arg-type]
        self.seq = 0
        self.received_seqs: list[int] = []
        self.asked_seqs: list[int] = []
        worker.must(
            f"server set {server_id} {shard} {SERVER_IP} {self.port} {self.to_server.hex()} {self.to_helper.hex()}"
        )
        eventually("the server's neighbour entry is there", self._is_neighbour)

    def _is_neighbour(self) -> bool:
        """The worker asks by ARP as soon as it is told of a server: a burst need not wait for that."""
        return any(n["ip"] == SERVER_IP and "mac" in n for n in self.worker.must("neighbours")["neighbours"])

    def receive(self) -> tuple[bytes, wire.Fields, list[wire.AnyEntry], int]:
        """The next batch: its bytes, header, entries and number of padding bytes. The tag must hold."""
        datagram, source = self.socket.recvfrom(2048)
        assert source == (HELPER_IP, TRUNK_PORT)
        header, entries, pad = wire.trunk_decode(datagram, self.to_server, 0)
        assert isinstance(header["batch_seq"], int)
        self.received_seqs.append(header["batch_seq"])
        return datagram, header, entries, pad

    def receive_frames(self, number: int) -> list[wire.Entry]:
        """Frames of as many batches as hold that number. What the worker asks for meanwhile (T8) is noted."""
        frames: list[wire.Entry] = []
        while len(frames) < number:
            frames += self._take_nacks(self.receive()[2])
        assert len(frames) == number
        return frames

    def receive_nacks(self, until: int) -> None:
        """Waits until the worker has asked for so many batches in all."""
        while len(self.asked_seqs) < until:
            assert self._take_nacks(self.receive()[2]) == []

    def _take_nacks(self, entries: Iterable[wire.AnyEntry]) -> list[wire.Entry]:
        """Notes what is asked for, which is only what is older than the newest batch; the rest must be frames."""
        frames: list[wire.Entry] = []
        for got in entries:
            if isinstance(got, wire.Nack):
                assert 1 <= got.first < got.first + got.count <= self.seq
                self.asked_seqs += range(got.first, got.first + got.count)
            else:
                assert isinstance(got, wire.Entry)
                frames.append(got)
        return frames

    def batch(self, entries: Iterable[wire.Entry], *, seq: int | None = None, pad: int = 0) -> bytes:
        """A sealed batch with the next number."""
        if seq is None:
            self.seq += 1
            seq = self.seq
        header: dict[str, wire.Value] = {
            "helper_id": 3, "worker": 0, "shard": self.shard, "incarnation": 1, "batch_seq": seq, "hold_us": 0,
        }  # fmt: skip
        return wire.trunk_encode(header, list(entries), pad, self.to_helper, 0)

    def send(self, datagram: bytes) -> None:
        self.socket.sendto(datagram, (HELPER_IP, TRUNK_PORT))

    def leave(self) -> None:
        self.worker.must(f"server remove {self.server_id}")
        self.socket.close()


def entry(client: Client, frame: bytes) -> wire.Entry:
    return wire.Entry(IPv4Address(CLIENT_IP).packed, client.port, frame)


def is_silent(sock: socket.socket) -> bool:
    """Nothing waits in the socket."""
    sock.setblocking(False)
    try:
        sock.recv(2048)
    except BlockingIOError:
        return True
    finally:
        sock.settimeout(20.0)
    return False
