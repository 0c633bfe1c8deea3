# SPDX-License-Identifier: Apache-2.0
"""What is in a capture of a trunk: each entry of each batch, with the bytes that are not the application's.

Reads pcap files of Ethernet and IPv4 as tcpdump writes them, and batches as libs/wire/include/postman/wire.h lays them
out; no key is needed for that. A capture that does not decode to its last byte is an error: a count that guesses is
none."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PCAP_HEAD = struct.Struct("<IHHiIII")
PCAP_RECORD = struct.Struct("<IIII")
PCAP_MAGIC = 0xA1B2C3D4
ETHERNET_BYTES, UDP_BYTES = 14, 8
IPV4, UDP = 0x0800, 17
TRUNK_TYPE = 31
TRUNK_HEADER_BYTES, TRUNK_TAG_BYTES = 32, 8
LONG = {0x44: 9, 0x46: 21}
"""Kind of a long entry: bytes before its C-frame."""
CONTROL = {0xC2: 6, 0xC3: 6, 0xC4: 6, 0xC5: 7}
"""Kinds of control entries of one size: their bytes. BIND depends on the family of its address."""
BIND, BIND_BYTES = 0xC1, {4: 21, 6: 33}
FRAME_HEADER_BYTES, SHORT_FRAME_HEADER_BYTES, CHECK_BYTES, SEAL_BYTES = 24, 16, 4, 20
FLAG_SEALED, FLAG_SACK, FLAG_RESEND, FLAG_SHORT = 0x40, 0x20, 0x08, 0x02
DATA, ACK = 0, 1


class CaptureError(ValueError):
    """The bytes are not what the layout says."""


@dataclass(frozen=True)
class TrunkEntry:
    """One entry: `payload` bytes are the application's, `check` bytes prove them, `header` bytes are all others."""

    kind: str  # short, long, control
    payload: int
    check: int
    header: int
    connection: int = 0  # its id; of a short entry the index of its binding, of BIND both
    index: int = 0
    resent: bool = False


@dataclass(frozen=True)
class TrunkBatch:
    """One trunk datagram."""

    source_port: int
    length: int
    entries: tuple[TrunkEntry, ...]
    at_s: float  # by the clock of the day


def datagrams(path: Path) -> Iterator[tuple[float, int, int, bytes]]:
    """(time, source port, destination port, payload) of each UDP datagram that was captured whole."""
    raw = path.read_bytes()
    if len(raw) < PCAP_HEAD.size or PCAP_HEAD.unpack_from(raw)[0] != PCAP_MAGIC:
        raise CaptureError(f"{path} is no pcap file of this machine's byte order")
    at = PCAP_HEAD.size
    while at + PCAP_RECORD.size <= len(raw):
        second, microsecond, captured, length = PCAP_RECORD.unpack_from(raw, at)
        frame = raw[at + PCAP_RECORD.size : at + PCAP_RECORD.size + captured]
        at += PCAP_RECORD.size + captured
        if captured < length or len(frame) < captured or int.from_bytes(frame[12:14], "big") != IPV4:
            continue
        ip = frame[ETHERNET_BYTES:]
        head = (ip[0] & 15) * 4
        if ip[9] == UDP:
            source, target, udp_bytes = struct.unpack_from(">HHH", ip, head)
            yield second + microsecond / 1e6, source, target, ip[head + UDP_BYTES : head + udp_bytes]


def batches(path: Path, trunk_port: int) -> Iterator[TrunkBatch]:
    """All batches to and from this port of a helper."""
    for at_s, source, target, payload in datagrams(path):
        if trunk_port in (source, target) and payload and payload[0] & 31 == TRUNK_TYPE:
            yield TrunkBatch(source, len(payload), tuple(entries(payload)), at_s)


def entries(batch: bytes) -> Iterator[TrunkEntry]:
    """The entries of a batch, padding left out."""
    at, end = TRUNK_HEADER_BYTES, len(batch) - TRUNK_TAG_BYTES
    found = 0
    while at < end and batch[at] != 0:
        length, entry = _short(batch, at) if batch[at] >> 6 == 2 else _other(batch, at)
        at += length
        found += 1
        if at > end:
            raise CaptureError("an entry runs over the end of its batch")
        yield entry
    if any(batch[at:end]):
        raise CaptureError("padding is not zero")
    if found != int.from_bytes(batch[2:4], "big"):
        raise CaptureError(f"{found} entries, and the header says otherwise")


def _short(batch: bytes, at: int) -> tuple[int, TrunkEntry]:
    """10 T E X iii, index 1 or 2, epoch and generation 1, seq 2, ack 2, [payload length 1]."""
    first = batch[at]
    is_ack, sealed, wide = first & 0x20, first & 0x10, first & 0x08
    header = 1 + (2 if wide else 1) + 1 + 2 + 2
    index = (first & 7) << 8 * (2 if wide else 1) | int.from_bytes(batch[at + 1 : at + (3 if wide else 2)], "big")
    payload = 0
    if not is_ack:
        payload = batch[at + header]
        header += 1
    check = SEAL_BYTES if sealed else CHECK_BYTES
    return header + payload + check, TrunkEntry("short", payload, check, header, index=index)


def _other(batch: bytes, at: int) -> tuple[int, TrunkEntry]:
    kind = batch[at]
    if kind in LONG:
        length = LONG[kind] + int.from_bytes(batch[at + 1 : at + 3], "big")
        return length, _frame(batch[at + LONG[kind] : at + length], LONG[kind])
    if kind == BIND:
        family = batch[at + 6]
        length = BIND_BYTES.get(family, 0)
        connection = int.from_bytes(batch[at + length - 8 : at + length], "big")
        if length > 0:
            index = int.from_bytes(batch[at + 1 : at + 5], "big")
            return length, TrunkEntry("control", 0, 0, length, connection, index)
    else:
        length = CONTROL.get(kind, 0)
    if length == 0:
        raise CaptureError(f"unknown entry {kind:#x}")
    return length, TrunkEntry("control", 0, 0, length)


def _frame(frame: bytes, before: int) -> TrunkEntry:
    """A C-frame in a long entry: of DATA and ACK it is known what is payload, the rest is control."""
    if frame[0] & 31 not in (DATA, ACK):
        return TrunkEntry("control", 0, 0, before + len(frame))
    flags = frame[1]
    check = SEAL_BYTES if flags & FLAG_SEALED else CHECK_BYTES
    header = SHORT_FRAME_HEADER_BYTES if flags & FLAG_SHORT else FRAME_HEADER_BYTES
    if flags & FLAG_SACK:
        header += 1 + 6 * frame[header]
    payload = len(frame) - header - check
    if payload < 0:
        raise CaptureError("a frame is shorter than its header")
    connection = int.from_bytes(frame[4:12], "big")
    return TrunkEntry("long", payload, check, before + header, connection, resent=bool(flags & FLAG_RESEND))
