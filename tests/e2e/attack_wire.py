# SPDX-License-Identifier: Apache-2.0
"""What the attackers of test_attacker.py know of the wire: captured datagrams, answers to OPEN, and OPENs that hold."""

from __future__ import annotations

import ctypes
import ctypes.util
import hashlib
import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PCAP_HEAD_BYTES, ETHERNET_BYTES, IP_BYTES, UDP_BYTES = 24, 14, 20, 8
IPV4, UDP = 0x0800, 17
MTU_BYTES = 1514
OPEN, OPEN_ACK = 2, 4
OPEN_BYTES, OPEN_ACK_BYTES = 136, 76
MAC_BYTES = COOKIE_BYTES = 16
RWND_BYTES = 1 << 16


def _checksum(data: bytes) -> int:
    """RFC 1071."""
    total = sum(struct.unpack(f">{len(data) // 2}H", data[: len(data) & ~1])) + (data[-1] << 8 if len(data) % 2 else 0)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


@dataclass(frozen=True)
class Datagram:
    """One captured UDP datagram."""

    at_s: float
    to_mac: bytes
    from_mac: bytes
    from_ip: bytes
    to_ip: bytes
    from_port: int
    to_port: int
    payload: bytes

    def frame(self, payload: bytes, sender: tuple[bytes, bytes, int] | None = None) -> bytes:
        """Another payload on the same way; from (MAC, address, port) of `sender` if given."""
        from_mac, from_ip, from_port = sender or (self.from_mac, self.from_ip, self.from_port)
        udp_bytes = UDP_BYTES + len(payload)
        ip = bytearray(struct.pack(">BBHHHBBH", 0x45, 0, IP_BYTES + udp_bytes, 0, 0, 64, UDP, 0) + from_ip + self.to_ip)
        ip[10:12] = _checksum(bytes(ip)).to_bytes(2, "big")
        udp = struct.pack(">HHHH", from_port, self.to_port, udp_bytes, 0) + payload
        check = _checksum(from_ip + self.to_ip + struct.pack(">HH", UDP, udp_bytes) + udp) or 0xFFFF
        udp = udp[:6] + check.to_bytes(2, "big") + payload
        return (self.to_mac + from_mac + IPV4.to_bytes(2, "big") + bytes(ip) + udp)[:MTU_BYTES]


def datagrams(path: Path) -> Iterator[Datagram]:
    """All UDP datagrams over IPv4 of a capture, as tcpdump writes it, but empty ones."""
    raw, at = path.read_bytes(), PCAP_HEAD_BYTES
    while at + 16 <= len(raw):
        seconds, micros, captured, _ = struct.unpack_from("=IIII", raw, at)
        frame = raw[at + 16 : at + 16 + captured]
        at += 16 + captured
        if len(frame) < captured or int.from_bytes(frame[12:14], "big") != IPV4 or frame[23] != UDP:
            continue
        ip = frame[ETHERNET_BYTES:]
        head = (ip[0] & 15) * 4
        from_port, to_port, udp_bytes = struct.unpack_from(">HHH", ip, head)
        payload = ip[head + UDP_BYTES : head + udp_bytes]
        if payload:
            yield Datagram(
                seconds + micros / 1e6, frame[:6], frame[6:12], ip[12:16], ip[16:20], from_port, to_port, payload
            )


def opened(*captures: Path) -> dict[bytes, dict[bytes, float]]:
    """{(session id, open_nonce): {CID: when it was first seen}} of all OPEN_ACKs."""
    found: dict[bytes, dict[bytes, float]] = {}
    for path in captures:
        for datagram in datagrams(path):
            frame = datagram.payload
            if len(frame) == OPEN_ACK_BYTES and frame[0] == 1 << 5 | OPEN_ACK:
                cids = found.setdefault(frame[4:12] + frame[16:24], {})
                cids[frame[24:32]] = min(cids.get(frame[24:32], datagram.at_s), datagram.at_s)
    return found


def authentic_opens(count: int, *, token: bytes, token_key: bytes, server_id: int, shard: int) -> Iterator[bytes]:
    """OPENs of a client with a valid token, each of another session and sealed with its key (K2, K3, W6)."""
    sodium = ctypes.CDLL(ctypes.util.find_library("sodium"))  # SipHash in Python would take a minute
    mac, rng = ctypes.create_string_buffer(MAC_BYTES), random.Random(17)
    for _ in range(count):
        session, nonce = rng.randbytes(8), rng.randbytes(8)
        keys = hashlib.blake2b(b"postman session" + session, key=token_key, digest_size=64).digest()
        body = struct.pack(">BBBB8sI8s", 1 << 5 | OPEN, 0, 1, 0, session, 1, nonce)
        body += struct.pack(">HBBHHII", server_id, shard, 0, 4000, 0, RWND_BYTES, 0) + token + bytes(COOKIE_BYTES)
        sodium.crypto_shorthash_siphashx24(mac, body, ctypes.c_ulonglong(len(body)), keys[:MAC_BYTES])
        yield body + mac.raw
