# SPDX-License-Identifier: Apache-2.0
"""A second implementation of the wire format, from docs/protocol.md alone.

It shares no code with libs/wire: layouts are tables of (field, offset, size), SipHash and CRC32C are those of
wire_primitives.py and aead_primitives.py, BLAKE2b is hashlib's. Slow and plain on purpose: it only makes and checks
golden vectors. Here are the control frames, and the names of all the parts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from wire_frames import (
    FLAG_SEALED,
    FLAG_SHORT,
    CheckSeed,
    Seal,
    frame_decode,
    frame_encode,
    sealed_decode,
    sealed_encode,
)
from wire_keys import (
    cid_open,
    cid_seal,
    open_cookie,
    reset_key,
    reset_token,
    session_keys,
    token_decode,
    token_encode,
    token_key,
    trunk_keys,
)
from wire_layout import Fields, Value, WireError, check_reserved, first_byte, get_fields, put_fields
from wire_primitives import siphash24
from wire_trunk import AnyEntry, Bind, BindRef, Entry, Nack, Short, trunk_decode, trunk_encode

__all__ = [
    "CONTROL",
    "FLAG_SEALED",
    "FLAG_SHORT",
    "AnyEntry",
    "Bind",
    "BindRef",
    "CheckSeed",
    "Entry",
    "Fields",
    "Nack",
    "Seal",
    "Short",
    "Value",
    "WireError",
    "cid_open",
    "cid_seal",
    "control_decode",
    "control_encode",
    "first_byte",
    "frame_decode",
    "frame_encode",
    "open_cookie",
    "reset_key",
    "reset_token",
    "sealed_decode",
    "sealed_encode",
    "session_keys",
    "token_decode",
    "token_encode",
    "token_key",
    "trunk_decode",
    "trunk_encode",
    "trunk_keys",
]


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
    put_fields(buf, layout.fields, {**fields, "epoch8": epoch & 0xFF, "count": len(items)})
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
    out = get_fields(buf, layout.fields)
    count = out.pop("count", 0)
    assert isinstance(count, int)
    if len(buf) != (out[layout.padded_to] if layout.padded_to else layout.length + count * layout.item_bytes):
        raise WireError(f"{kind} of {len(buf)} bytes")
    if layout.head:
        assert isinstance(out["epoch"], int)
        if out.pop("epoch8") != out["epoch"] & 0xFF:
            raise WireError("epoch8 does not repeat the epoch")
    fixed_end = layout.list_at or len(buf) - (16 if layout.mac else 0)
    check_reserved(buf, layout.fields, 1, fixed_end)
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
