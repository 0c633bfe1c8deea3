# SPDX-License-Identifier: Apache-2.0
"""Trunk batches: a header, entries of five sorts, padding, a tag."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from wire_frames import FLAG_SEALED, FLAG_SHORT, FRAME_TYPES
from wire_layout import Fields, Value, WireError, first_byte, get_fields, put_fields
from wire_primitives import siphash24

_TRUNK = [("nb_entries", 2, 2), ("helper_id", 4, 2), ("worker", 6, 1), ("shard", 7, 1), ("incarnation", 8, 4)]
_TRUNK += [("batch_seq", 12, 4), ("ack_batch", 16, 4), ("ack_bits", 20, 4), ("credit", 24, 4), ("hold_us", 28, 2)]
_TRUNK += [("ce_count", 30, 2), ("flags", 1, 1)]
_TRUNK_OPTIONAL = ("ack_batch", "ack_bits", "credit", "ce_count", "flags")
_BIND, _BIND_REFS, _NACK = 0xC1, {"bind_ack": 0xC2, "bind_err": 0xC3, "unbind": 0xC4}, 0xC5


@dataclass(frozen=True)
class Entry:
    """One C-frame in a batch, with its client's address (4 or 16 bytes)."""

    ip: bytes
    port: int
    frame: bytes

    def encode(self) -> bytes:
        kind = 0x44 if len(self.ip) == 4 else 0x46
        return bytes([kind]) + len(self.frame).to_bytes(2, "big") + self.ip + self.port.to_bytes(2, "big") + self.frame


@dataclass(frozen=True)
class Short:
    """A short frame of a bound flow. `frame` is the whole C-frame: what the binding knows of it does not travel."""

    index: int
    generation: int
    frame: bytes

    def encode(self) -> bytes:
        is_ack, flags = self.frame[0] & 0x1F == FRAME_TYPES["ack"], self.frame[1]
        wide = self.index > 2047
        first = 0x80 | 0x20 * is_ack | (0x10 if flags & FLAG_SEALED else 0) | 0x08 * wide
        index = self.index.to_bytes(3, "big")
        out = bytes([first | index[0], index[1], index[2]]) if wide else bytes([first | index[1], index[2]])
        out += bytes([self.frame[2] << 4 | self.generation]) + self.frame[12:16]
        if not is_ack:
            out += bytes([len(self.frame) - 16 - (20 if flags & FLAG_SEALED else 4)])
        return out + self.frame[16:]


@dataclass(frozen=True)
class Bind:
    index: int
    generation: int
    ip: bytes
    port: int
    cid: int

    def encode(self) -> bytes:
        head = bytes([_BIND]) + self.index.to_bytes(4, "big") + bytes([self.generation, 4 if len(self.ip) == 4 else 6])
        return head + self.ip + self.port.to_bytes(2, "big") + self.cid.to_bytes(8, "big")


@dataclass(frozen=True)
class BindRef:
    name: str
    index: int
    generation: int

    def encode(self) -> bytes:
        return bytes([_BIND_REFS[self.name]]) + self.index.to_bytes(4, "big") + bytes([self.generation])


@dataclass(frozen=True)
class Nack:
    first: int
    count: int

    def encode(self) -> bytes:
        return bytes([_NACK]) + self.first.to_bytes(4, "big") + self.count.to_bytes(2, "big")


AnyEntry = Entry | Short | Bind | BindRef | Nack


def trunk_encode(
    fields: Mapping[str, Value], entries: Sequence[AnyEntry], pad: int, key: bytes, seq_high: int
) -> bytes:
    buf = bytearray(32)
    buf[0] = first_byte(31)
    put_fields(buf, _TRUNK, {**dict.fromkeys(_TRUNK_OPTIONAL, 0), **fields, "nb_entries": len(entries)})
    buf += b"".join(e.encode() for e in entries) + bytes(pad)
    return bytes(buf) + siphash24(key, bytes(buf) + seq_high.to_bytes(4, "big"), 8)


class _Reader:
    """Takes fields off the front of a byte string."""

    def __init__(self, buf: bytes) -> None:
        self.buf, self.at = buf, 0

    def octets(self, size: int) -> bytes:
        if self.at + size > len(self.buf):
            raise WireError("an entry runs over the end")
        self.at += size
        return self.buf[self.at - size : self.at]

    def integer(self, size: int) -> int:
        return int.from_bytes(self.octets(size), "big")


def _short(first: int, r: _Reader, cids: Mapping[int, int]) -> Short:
    is_ack, sealed, wide = first & 0x20, first & 0x10, first & 0x08
    index = (first & 7) << (16 if wide else 8) | r.integer(2 if wide else 1)
    epoch_generation, numbers = r.integer(1), r.octets(4)
    rest = r.octets((0 if is_ack else r.integer(1)) + (20 if sealed else 4))
    flags = FLAG_SHORT | (FLAG_SEALED if sealed else 0x80)
    head = bytes([first_byte(FRAME_TYPES["ack" if is_ack else "data"]), flags, epoch_generation >> 4, 0])
    return Short(index, epoch_generation & 15, head + cids[index].to_bytes(8, "big") + numbers + rest)


def _entry(r: _Reader, cids: Mapping[int, int]) -> AnyEntry:
    first = r.integer(1)
    if first in (0x44, 0x46):
        length = r.integer(2)
        ip, port = r.octets(4 if first == 0x44 else 16), r.integer(2)
        return Entry(ip, port, r.octets(length))
    if first >> 6 == 2:
        return _short(first, r, cids)
    if first == _BIND:
        index, generation, family = r.integer(4), r.integer(1), r.integer(1)
        ip, port = r.octets({4: 4, 6: 16}[family]), r.integer(2)
        return Bind(index, generation, ip, port, r.integer(8))
    if first == _NACK:
        return Nack(r.integer(4), r.integer(2))
    names = {kind: name for name, kind in _BIND_REFS.items()}
    if first not in names:
        raise WireError(f"entry of kind {first:#x}")
    return BindRef(names[first], r.integer(4), r.integer(1))


def trunk_decode(
    buf: bytes, key: bytes, seq_high: int, cids: Mapping[int, int] | None = None
) -> tuple[Fields, list[AnyEntry], int]:
    """Header, entries, and the number of padding bytes. cids: the connection of each bound index."""
    if buf[0] != first_byte(31):
        raise WireError(f"first byte {buf[0]:#x} is not that of a batch")
    if siphash24(key, buf[:-8] + seq_high.to_bytes(4, "big"), 8) != buf[-8:]:
        raise WireError("tag does not hold")
    out = get_fields(buf, _TRUNK)
    flags = out["flags"]
    assert isinstance(flags, int)
    if flags > 3 or (not flags & 1 and (out["ack_batch"] or out["ack_bits"])) or (not flags & 2 and out["credit"]):
        raise WireError("a field without its flag, or an unknown flag")
    entries: list[AnyEntry] = []
    r = _Reader(buf[32:-8])
    while r.at < len(r.buf) and r.buf[r.at] != 0:
        entries.append(_entry(r, cids or {}))
    if any(r.buf[r.at :]):
        raise WireError("padding is not zero")
    if len(entries) != out.pop("nb_entries"):
        raise WireError("entry count does not match")
    return out, entries, len(r.buf) - r.at
