# SPDX-License-Identifier: Apache-2.0
"""DATA and ACK, long and short, with their check (W7) or sealed (W11)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import aead_primitives as aead
from wire_keys import keyed
from wire_layout import Fields, Value, WireError, check_reserved, first_byte, get_fields, put_fields
from wire_primitives import crc32c

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
        put_fields(head, _SHORT, fields)
        return bytes(head)
    tx, tx_echo = fields["tx"], fields["tx_echo"]
    assert isinstance(tx, int)
    assert isinstance(tx_echo, int)
    put_fields(head, _FRAME, {**fields, "txs": tx << 4 | tx_echo})
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
        out = get_fields(buf, _SHORT)
        check_reserved(buf, _SHORT, 1, 16)
        return {**out, "tx": 0, "tx_echo": 0, "window": 0xFFFF, "sacks": []}, 16
    out = get_fields(buf, _FRAME)
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


@dataclass(frozen=True)
class Seal:
    """What a sealed frame's AEAD needs beside the seed: `cipher` is aes_256_gcm or chacha20_poly1305."""

    cipher: str
    seal_key: bytes
    to_server: bool

    def key(self, cid: int) -> bytes:
        label = b"postman c2s" if self.to_server else b"postman s2c"
        return keyed(self.seal_key, label + cid.to_bytes(8, "big"), 32)


def sealed_encode(kind: str, fields: Mapping[str, Value], seed: CheckSeed, seal: Seal, number: int) -> bytes:
    payload = fields["payload"]
    assert isinstance(payload, bytes)
    head = _frame_head(kind, fields, len(payload))
    nonce = bytes(4) + number.to_bytes(8, "big")
    encrypted, tag = aead.CIPHERS[seal.cipher](seal.key(seed.cid), nonce, payload, seed.meaning(head))
    return head + encrypted + (number & 0xFFFF_FFFF).to_bytes(4, "big") + tag


def sealed_decode(kind: str, buf: bytes, seed: CheckSeed, seal: Seal, number: int) -> Fields:
    """Both ciphers are streams: encrypting what was encrypted gives the payload back."""
    out, at = _frame_parse(kind, buf)
    encrypted = buf[at:-20]
    nonce = bytes(4) + number.to_bytes(8, "big")
    cipher, key, meaning = aead.CIPHERS[seal.cipher], seal.key(seed.cid), seed.meaning(buf[:at])
    payload, _ = cipher(key, nonce, encrypted, meaning)
    again, tag = cipher(key, nonce, payload, meaning)
    if again != encrypted or tag != buf[-16:] or buf[-20:-16] != (number & 0xFFFF_FFFF).to_bytes(4, "big"):
        raise WireError("tag does not hold")
    return {**out, "payload": payload}
