# SPDX-License-Identifier: Apache-2.0
"""Tokens, the keys that are derived from keys, cookies, and connection ids."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from wire_layout import Fields, Value, WireError, get_fields, put_fields
from wire_primitives import siphash24

_TOKEN = [("key_id", 2, 2), ("client_id", 4, 8), ("service_id", 12, 8), ("not_before", 20, 4), ("lifetime_s", 24, 2)]
_TOKEN += [("max_conns", 26, 2), ("rate_class", 28, 2), ("server_id", 30, 2), ("random", 32, 16)]


def keyed(key: bytes, data: bytes, size: int) -> bytes:
    return hashlib.blake2b(data, key=key, digest_size=size).digest()


def token_encode(fields: Mapping[str, Value], k_srv: bytes) -> bytes:
    buf = bytearray(48)
    buf[0] = 1
    put_fields(buf, _TOKEN, fields)
    return bytes(buf) + keyed(k_srv, bytes(buf), 16)


def token_decode(buf: bytes, k_srv: bytes) -> Fields:
    if len(buf) != 64 or buf[0] != 1 or buf[1] != 0:
        raise WireError("not a token of version 1")
    if buf[48:] != keyed(k_srv, buf[:48], 16):
        raise WireError("token MAC does not hold")
    return get_fields(buf, _TOKEN)


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


def open_cookie(secret: bytes, ip: bytes, port: int, session_id: int, open_nonce: int, slot: int) -> bytes:
    address = bytes([4 if len(ip) == 4 else 6]) + ip.ljust(16, b"\0") + port.to_bytes(2, "big")
    named = session_id.to_bytes(8, "big") + open_nonce.to_bytes(8, "big")
    return siphash24(secret, address + named + slot.to_bytes(4, "big"), 16)


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
