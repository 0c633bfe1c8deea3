# SPDX-License-Identifier: Apache-2.0
"""A second implementation of the wire format, from docs/protocol.md alone.

It shares no code with libs/wire: layouts are tables of (field, offset, size), SipHash and CRC32C are those of
wire_primitives.py, BLAKE2b is hashlib's. Slow and plain on purpose: it only makes and checks golden vectors.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from wire_primitives import crc32c, siphash24

VERSION = 1

Value = int | bytes | list[dict[str, int]]
Fields = dict[str, Value]


class WireError(ValueError):
    """Bytes that are not what the layout says."""


@dataclass(frozen=True)
class Layout:
    """One frame type: fields as (name, offset, size); up to 8 bytes is an integer, more is a byte string. Bytes that no
    field covers are reserved and zero. `list_at` and `item` describe a list whose length is the field `count`;
    `padded_to` names the field that says to what length zeros fill the frame up; `head` is false where no epoch is."""

    type: int
    fields: Sequence[tuple[str, int, int]]
    length: int
    mac: bool = True
    list_at: int = 0
    item: Sequence[tuple[str, int]] = ()
    padded_to: str = ""
    head: bool = True

    @property
    def item_bytes(self) -> int:
        return sum(size for _, size in self.item)


def _head(id_name: str = "session_id") -> list[tuple[str, int, int]]:
    return [("epoch8", 2, 1), (id_name, 4, 8), ("epoch", 12, 4)]


_PROBE = [
    *_head(),
    ("nonce", 16, 8),
    ("server_id", 24, 2),
    ("helper_id", 26, 2),
    ("shard", 28, 1),
    ("whole_bytes", 30, 2),
]
_PATH = [*_head(), ("challenge", 16, 8), ("server_id", 24, 2), ("helper_id", 26, 2), ("shard", 28, 1)]

CONTROL: Mapping[str, Layout] = {
    "open": Layout(
        2,
        [
            *_head(),
            ("open_nonce", 16, 8),
            ("server_id", 24, 2),
            ("shard", 26, 1),
            ("client_port", 28, 2),
            ("rwnd", 32, 4),
            ("features", 36, 4),
            ("token", 40, 64),
            ("cookie", 104, 16),
        ],
        136,
    ),
    "open_cookie": Layout(3, [*_head(), ("open_nonce", 16, 8), ("cookie", 24, 16)], 56),
    "open_ack": Layout(
        4,
        [
            *_head(),
            ("open_nonce", 16, 8),
            ("cid", 24, 8),
            ("rwnd", 32, 4),
            ("features", 36, 4),
            ("max_hold_us", 40, 2),
            ("max_ack_delay_us", 42, 2),
            ("reset_token", 44, 16),
        ],
        76,
    ),
    "resume": Layout(
        5,
        [
            *_head(),
            ("nonce", 16, 8),
            ("server_id", 24, 2),
            ("helper_id", 26, 2),
            ("count", 28, 1),
            ("shard", 29, 1),
            ("flags", 30, 1),
        ],
        48,
        list_at=32,
        item=[("cid", 8), ("rcv_nxt", 8), ("snd_una", 8), ("snd_nxt", 8)],
    ),
    "resume_ack": Layout(
        6,
        [*_head(), ("nonce", 16, 8), ("challenge", 24, 8), ("count", 32, 1)],
        52,
        list_at=36,
        item=[("cid", 8), ("rcv_nxt", 8), ("snd_una", 8), ("window", 4)],
    ),
    "path_challenge": Layout(7, _PATH, 48),
    "path_response": Layout(8, _PATH, 48),
    "probe": Layout(9, _PROBE, 48, padded_to="whole_bytes"),
    "pong": Layout(
        10,
        [*_head(), ("nonce", 16, 8), ("helper_id", 24, 2), ("state", 26, 2), ("incarnation", 28, 4)],
        48,
        mac=False,
    ),
    "busy": Layout(
        12,
        [("cid", 4, 8), ("seq", 12, 4), ("retry_after_us", 16, 4), ("helper_id", 20, 2)],
        24,
        mac=False,
        head=False,
    ),
    "stateless_reset": Layout(13, [("cid", 4, 8), ("reset_token", 12, 16)], 28, mac=False, head=False),
    "reset": Layout(14, [*_head("cid"), ("offset", 16, 8), ("reason", 24, 1)], 44),
    "echo": Layout(16, _PROBE, 48),
    "refused": Layout(17, [*_head(), ("open_nonce", 16, 8), ("reason", 24, 1)], 44),
}

FRAME_TYPES: Mapping[str, int] = {"data": 0, "ack": 1}
_FRAME = [
    ("flags", 1, 1),
    ("epoch8", 2, 1),
    ("txs", 3, 1),
    ("cid", 4, 8),
    ("seq", 12, 4),
    ("ack", 16, 4),
    ("window", 20, 2),
]
_SHORT = [("flags", 1, 1), ("epoch8", 2, 1), ("cid", 4, 8), ("seq", 12, 2), ("ack", 14, 2)]
_TRUNK = [("nb_entries", 2, 2), ("helper_id", 4, 2), ("worker", 6, 1), ("shard", 7, 1), ("incarnation", 8, 4)]
_TRUNK += [("batch_seq", 12, 4), ("ack_batch", 16, 4), ("ack_bits", 20, 4), ("credit", 24, 4), ("hold_us", 28, 2)]
_TRUNK += [("ce_count", 30, 2), ("flags", 1, 1)]
_TRUNK_OPTIONAL = ("ack_batch", "ack_bits", "credit", "ce_count", "flags")
_TOKEN = [("key_id", 2, 2), ("client_id", 4, 8), ("service_id", 12, 8), ("not_before", 20, 4), ("lifetime_s", 24, 2)]
_TOKEN += [("max_conns", 26, 2), ("rate_class", 28, 2), ("server_id", 30, 2), ("random", 32, 16)]


def _put(buf: bytearray, layout: Sequence[tuple[str, int, int]], fields: Mapping[str, Value]) -> None:
    for name, offset, size in layout:
        value = fields[name]
        raw = value.to_bytes(size, "big") if isinstance(value, int) else bytes(value)  # type: ignore[arg-type]
        if len(raw) != size:
            raise WireError(f"{name} has {len(raw)} bytes, not {size}")
        buf[offset : offset + size] = raw


def _get(buf: bytes, layout: Sequence[tuple[str, int, int]]) -> Fields:
    out: Fields = {}
    for name, offset, size in layout:
        raw = buf[offset : offset + size]
        out[name] = int.from_bytes(raw, "big") if size <= 8 else raw
    return out


def _check_reserved(buf: bytes, layout: Sequence[tuple[str, int, int]], start: int, end: int) -> None:
    covered = {i for _, offset, size in layout for i in range(offset, offset + size)}
    for i in range(start, end):
        if i not in covered and buf[i] != 0:
            raise WireError(f"reserved byte {i} is {buf[i]:#x}")


def first_byte(type_: int) -> int:
    return VERSION << 5 | type_


# --- control frames -------------------------------------------------------------------------------------------------


def control_encode(kind: str, fields: Mapping[str, Value], mac_key: bytes = b"") -> bytes:
    layout = CONTROL[kind]
    items = fields.get("conns", [])
    assert isinstance(items, list)
    length = fields[layout.padded_to] if layout.padded_to else layout.length + len(items) * layout.item_bytes
    epoch = fields.get("epoch", 0)
    assert isinstance(length, int)
    assert isinstance(epoch, int)
    buf = bytearray(length)
    buf[0] = first_byte(layout.type)
    _put(buf, layout.fields, {**fields, "epoch8": epoch & 0xFF, "count": len(items)})
    at = layout.list_at
    for item in items:
        for name, size in layout.item:
            buf[at : at + size] = item[name].to_bytes(size, "big")
            at += size
    if layout.mac:
        buf[-16:] = siphash24(mac_key, bytes(buf[:-16]), 16)
    return bytes(buf)


def control_decode(kind: str, buf: bytes, mac_key: bytes = b"") -> Fields:
    layout = CONTROL[kind]
    if buf[0] != first_byte(layout.type):
        raise WireError(f"first byte {buf[0]:#x} is not that of {kind}")
    if buf[1] != 0:
        raise WireError("flags are set")
    out = _get(buf, layout.fields)
    count = out.pop("count", 0)
    assert isinstance(count, int)
    if len(buf) != (out[layout.padded_to] if layout.padded_to else layout.length + count * layout.item_bytes):
        raise WireError(f"{kind} of {len(buf)} bytes")
    if layout.head:
        assert isinstance(out["epoch"], int)
        if out.pop("epoch8") != out["epoch"] & 0xFF:
            raise WireError("epoch8 does not repeat the epoch")
    fixed_end = layout.list_at or len(buf) - (16 if layout.mac else 0)
    _check_reserved(buf, layout.fields, 1, fixed_end)
    if layout.item:
        out["conns"] = [_item(buf, layout, i) for i in range(count)]
    if layout.mac and buf[-16:] != siphash24(mac_key, buf[:-16], 16):
        raise WireError("MAC does not hold")
    return out


def _item(buf: bytes, layout: Layout, index: int) -> dict[str, int]:
    at = layout.list_at + index * layout.item_bytes
    out = {}
    for name, size in layout.item:
        out[name] = int.from_bytes(buf[at : at + size], "big")
        at += size
    return out


# --- DATA and ACK ---------------------------------------------------------------------------------------------------

FLAG_SEALED, FLAG_SACK, FLAG_URGENT, FLAG_SHORT = 0x40, 0x20, 0x04, 0x02


@dataclass(frozen=True)
class CheckSeed:
    """What protects a frame beside its own bytes: the numbers in full, and the secret of the CRC32C."""

    secret: int
    cid: int
    seq: int
    ack: int
    epoch: int

    def meaning(self, head: bytes) -> bytes:
        """What is protected of a header (W7): numbers in full, type, flags without URGENT; of a long frame also `tx`
        and all from the window on."""
        wide = b"".join(v.to_bytes(8, "big") for v in (self.cid, self.seq, self.ack)) + self.epoch.to_bytes(4, "big")
        kept = bytes([head[0], head[1] & ~FLAG_URGENT])
        return wide + kept + (b"" if head[1] & FLAG_SHORT else head[3:4] + head[20:])

    def crc(self, head: bytes, payload: bytes) -> bytes:
        return crc32c(self.secret.to_bytes(8, "big") + self.meaning(head) + payload).to_bytes(4, "big")


def _frame_head(kind: str, fields: Mapping[str, Value], payload_bytes: int) -> bytes:
    flags, sacks = fields["flags"], fields["sacks"]
    assert isinstance(flags, int)
    assert isinstance(sacks, list)
    head = bytearray(16 if flags & FLAG_SHORT else 24)
    head[0] = first_byte(FRAME_TYPES[kind])
    if flags & FLAG_SHORT:
        _put(head, _SHORT, fields)
        return bytes(head)
    tx, tx_echo = fields["tx"], fields["tx_echo"]
    assert isinstance(tx, int)
    assert isinstance(tx_echo, int)
    _put(head, _FRAME, {**fields, "txs": tx << 4 | tx_echo})
    head[22:24] = payload_bytes.to_bytes(2, "big")
    if sacks:
        head.append(len(sacks))
    for sack in sacks:
        head += sack["start"].to_bytes(4, "big") + sack["len"].to_bytes(2, "big")
    return bytes(head)


def frame_encode(kind: str, fields: Mapping[str, Value], seed: CheckSeed) -> bytes:
    """A frame with its check; `payload` travels as it is."""
    payload = fields["payload"]
    assert isinstance(payload, bytes)
    head = _frame_head(kind, fields, len(payload))
    return head + payload + seed.crc(head, payload)


def _frame_parse(kind: str, buf: bytes) -> tuple[Fields, int]:
    """The fields before the payload, and how many bytes they take."""
    if buf[0] != first_byte(FRAME_TYPES[kind]):
        raise WireError(f"first byte {buf[0]:#x} is not that of {kind}")
    if buf[1] & FLAG_SHORT:
        out = _get(buf, _SHORT)
        _check_reserved(buf, _SHORT, 1, 16)
        return {**out, "tx": 0, "tx_echo": 0, "window": 0xFFFF, "sacks": []}, 16
    out = _get(buf, _FRAME)
    txs, at, sacks = out.pop("txs"), 24, []
    assert isinstance(txs, int)
    if buf[1] & FLAG_SACK:
        count, at = buf[24], 25
        for _ in range(count):
            sacks.append(
                {"start": int.from_bytes(buf[at : at + 4], "big"), "len": int.from_bytes(buf[at + 4 : at + 6], "big")}
            )
            at += 6
    return {**out, "tx": txs >> 4, "tx_echo": txs & 15, "sacks": sacks}, at


def frame_decode(kind: str, buf: bytes, seed: CheckSeed) -> Fields:
    out, at = _frame_parse(kind, buf)
    payload = buf[at:-4]
    if not buf[1] & FLAG_SHORT and len(payload) != int.from_bytes(buf[22:24], "big"):
        raise WireError("payload length does not match")
    if seed.crc(buf[:at], payload) != buf[-4:]:
        raise WireError("check does not hold")
    return {**out, "payload": payload}


# --- trunk batches --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Entry:
    """One C-frame in a batch, with its client's address (4 or 16 bytes)."""

    ip: bytes
    port: int
    frame: bytes


def trunk_encode(fields: Mapping[str, Value], entries: Sequence[Entry], pad: int, key: bytes, seq_high: int) -> bytes:
    buf = bytearray(32)
    buf[0] = first_byte(31)
    _put(buf, _TRUNK, {**dict.fromkeys(_TRUNK_OPTIONAL, 0), **fields, "nb_entries": len(entries)})
    for e in entries:
        buf += bytes([0x44 if len(e.ip) == 4 else 0x46]) + len(e.frame).to_bytes(2, "big") + e.ip
        buf += e.port.to_bytes(2, "big") + e.frame
    buf += bytes(pad)
    return bytes(buf) + siphash24(key, bytes(buf) + seq_high.to_bytes(4, "big"), 8)


def trunk_decode(buf: bytes, key: bytes, seq_high: int) -> tuple[Fields, list[Entry], int]:
    """Header, entries, and the number of padding bytes."""
    if buf[0] != first_byte(31):
        raise WireError(f"first byte {buf[0]:#x} is not that of a batch")
    if siphash24(key, buf[:-8] + seq_high.to_bytes(4, "big"), 8) != buf[-8:]:
        raise WireError("tag does not hold")
    out = _get(buf, _TRUNK)
    _check_reserved(buf, _TRUNK, 1, 32)
    entries, at, end = [], 32, len(buf) - 8
    while at < end and buf[at] != 0:
        ip_bytes = {0x44: 4, 0x46: 16}[buf[at]]
        length = int.from_bytes(buf[at + 1 : at + 3], "big")
        at += 3
        port = int.from_bytes(buf[at + ip_bytes : at + ip_bytes + 2], "big")
        frame_at = at + ip_bytes + 2
        entries.append(Entry(buf[at : at + ip_bytes], port, buf[frame_at : frame_at + length]))
        at = frame_at + length
    if any(buf[at:end]) or at > end:
        raise WireError("padding is not zero, or an entry runs over the end")
    if len(entries) != out.pop("nb_entries"):
        raise WireError("entry count does not match")
    return out, entries, end - at


# --- tokens and keys ------------------------------------------------------------------------------------------------


def keyed(key: bytes, data: bytes, size: int) -> bytes:
    return hashlib.blake2b(data, key=key, digest_size=size).digest()


def token_encode(fields: Mapping[str, Value], k_srv: bytes) -> bytes:
    buf = bytearray(48)
    buf[0] = 1
    _put(buf, _TOKEN, fields)
    return bytes(buf) + keyed(k_srv, bytes(buf), 16)


def token_decode(buf: bytes, k_srv: bytes) -> Fields:
    if len(buf) != 64 or buf[0] != 1 or buf[1] != 0:
        raise WireError("not a token of version 1")
    if buf[48:] != keyed(k_srv, buf[:48], 16):
        raise WireError("token MAC does not hold")
    return _get(buf, _TOKEN)


def token_key(k_srv: bytes, token: bytes) -> bytes:
    return keyed(k_srv, b"postman token" + token, 32)


def session_keys(key: bytes, session_id: int) -> Fields:
    k = keyed(key, b"postman session" + session_id.to_bytes(8, "big"), 64)
    return {
        "mac_c2s": k[:16],
        "mac_s2c": k[16:32],
        "check_c2s": int.from_bytes(k[32:40], "big"),
        "check_s2c": int.from_bytes(k[40:48], "big"),
        "seal_key": keyed(key, b"postman seal" + session_id.to_bytes(8, "big"), 32),
    }


def reset_key(trunk_secret: bytes) -> bytes:
    return keyed(trunk_secret, b"postman reset", 32)[:16]


def reset_token(key: bytes, cid: int) -> bytes:
    return siphash24(key, cid.to_bytes(8, "big"), 16)


def trunk_keys(secret: bytes, helper_id: int, incarnation: int) -> Fields:
    k = keyed(secret, b"postman trunk" + helper_id.to_bytes(2, "big") + incarnation.to_bytes(4, "big"), 32)
    return {"to_server": k[:16], "to_helper": k[16:]}


def cid_seal(key: bytes, server_id: int, shard: int, slot: int, generation: int) -> int:
    plain = server_id << 48 | shard << 40 | slot << 16 | generation
    left, right = plain >> 32, plain & 0xFFFF_FFFF
    for round_ in range(4):
        left, right = right, left ^ _cid_round(key, round_, right)
    return left << 32 | right


def cid_open(key: bytes, cid: int) -> Fields:
    left, right = cid >> 32, cid & 0xFFFF_FFFF
    for round_ in (3, 2, 1, 0):
        left, right = right ^ _cid_round(key, round_, left), left
    plain = left << 32 | right
    return {
        "server_id": plain >> 48,
        "shard": plain >> 40 & 0xFF,
        "slot": plain >> 16 & 0xFF_FFFF,
        "generation": plain & 0xFFFF,
    }


def _cid_round(key: bytes, round_: int, half: int) -> int:
    return int.from_bytes(siphash24(key, bytes([round_]) + half.to_bytes(4, "big"), 8)[:4], "big")
