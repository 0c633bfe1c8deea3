# SPDX-License-Identifier: Apache-2.0
"""ChaCha20-Poly1305 (RFC 8439) and AES-256-GCM (FIPS 197, NIST SP 800-38D): the standard library has neither."""

from __future__ import annotations

import struct
from collections.abc import Callable

# --- ChaCha20-Poly1305 ----------------------------------------------------------------------------------------------


def _rotl32(x: int, bits: int) -> int:
    return (x << bits | x >> (32 - bits)) & 0xFFFF_FFFF


def _quarter(s: list[int], a: int, b: int, c: int, d: int) -> None:
    for x, y, z, bits in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
        s[x] = (s[x] + s[y]) & 0xFFFF_FFFF
        s[z] = _rotl32(s[z] ^ s[x], bits)


def _chacha_block(key: bytes, counter: int, nonce: bytes) -> bytes:
    begin = list(struct.unpack("<16I", b"expand 32-byte k" + key + counter.to_bytes(4, "little") + nonce))
    s = begin.copy()
    for _ in range(10):
        for i in range(4):
            _quarter(s, i, i + 4, i + 8, i + 12)
        for i in range(4):
            _quarter(s, i, (i + 1) % 4 + 4, (i + 2) % 4 + 8, (i + 3) % 4 + 12)
    return struct.pack("<16I", *((x + y) & 0xFFFF_FFFF for x, y in zip(s, begin, strict=True)))


def _xor(a: bytes, b: bytes) -> bytes:
    return bytes(x ^ y for x, y in zip(a, b, strict=False))


def _poly1305(key: bytes, data: bytes) -> bytes:
    r = int.from_bytes(key[:16], "little") & 0x0FFF_FFFC_0FFF_FFFC_0FFF_FFFC_0FFF_FFFF
    acc = 0
    for at in range(0, len(data), 16):
        acc = (acc + int.from_bytes(data[at : at + 16] + b"\1", "little")) * r % ((1 << 130) - 5)
    return ((acc + int.from_bytes(key[16:], "little")) & ((1 << 128) - 1)).to_bytes(16, "little")


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 16)


def chacha20_poly1305(key: bytes, nonce: bytes, text: bytes, extra: bytes) -> tuple[bytes, bytes]:
    """The other text, and the tag over what is encrypted when `text` is the plain one."""
    stream = b"".join(_chacha_block(key, 1 + i, nonce) for i in range((len(text) + 63) // 64))
    out = _xor(text, stream)
    lengths = struct.pack("<QQ", len(extra), len(out))
    return out, _poly1305(_chacha_block(key, 0, nonce)[:32], _padded(extra) + _padded(out) + lengths)


# --- AES-256-GCM ----------------------------------------------------------------------------------------------------


def _times(a: int, b: int) -> int:
    """The product in GF(2^8) modulo x^8 + x^4 + x^3 + x + 1."""
    out = 0
    while b:
        out ^= a if b & 1 else 0
        a = a << 1 ^ (0x11B if a & 0x80 else 0)
        b >>= 1
    return out


def _substitute(byte: int) -> int:
    inverse = next((x for x in range(256) if _times(byte, x) == 1), 0)
    out = 0x63
    for shift in range(5):
        out ^= (inverse << shift | inverse >> (8 - shift)) & 0xFF
    return out


_SBOX = bytes(_substitute(byte) for byte in range(256))
_ROUNDS = 14


def _expand(key: bytes) -> list[bytes]:
    words, factor = [key[i : i + 4] for i in range(0, 32, 4)], 1
    while len(words) < 4 * (_ROUNDS + 1):
        last = words[-1]
        if len(words) % 8 == 0:
            last = bytes(_SBOX[b] for b in last[1:] + last[:1])
            last = bytes([last[0] ^ factor]) + last[1:]
            factor = _times(factor, 2)
        elif len(words) % 8 == 4:
            last = bytes(_SBOX[b] for b in last)
        words.append(_xor(words[-8], last))
    return [b"".join(words[i : i + 4]) for i in range(0, len(words), 4)]


def _mix(column: bytes) -> bytes:
    rows = ((2, 3, 1, 1), (1, 2, 3, 1), (1, 1, 2, 3), (3, 1, 1, 2))
    out = []
    for row in rows:
        value = 0
        for factor, byte in zip(row, column, strict=True):
            value ^= _times(byte, factor)
        out.append(value)
    return bytes(out)


def aes_block(keys: list[bytes], block: bytes) -> bytes:
    s = _xor(block, keys[0])
    for round_ in range(1, _ROUNDS + 1):
        s = bytes(_SBOX[s[(i + 4 * (i % 4)) % 16]] for i in range(16))
        if round_ < _ROUNDS:
            s = b"".join(_mix(s[i : i + 4]) for i in range(0, 16, 4))
        s = _xor(s, keys[round_])
    return s


def _ghash(h: int, data: bytes) -> int:
    acc = 0
    for at in range(0, len(data), 16):
        acc ^= int.from_bytes(data[at : at + 16], "big")
        product, v = 0, h
        for bit in range(127, -1, -1):
            product ^= v if acc >> bit & 1 else 0
            v = v >> 1 ^ (0xE1 << 120 if v & 1 else 0)
        acc = product
    return acc


def aes_256_gcm(key: bytes, nonce: bytes, text: bytes, extra: bytes) -> tuple[bytes, bytes]:
    """The other text, and the tag over what is encrypted when `text` is the plain one."""
    keys = _expand(key)
    blocks = (aes_block(keys, nonce + (2 + i).to_bytes(4, "big")) for i in range((len(text) + 15) // 16))
    out = _xor(text, b"".join(blocks))
    lengths = struct.pack(">QQ", 8 * len(extra), 8 * len(out))
    hashed = _ghash(int.from_bytes(aes_block(keys, bytes(16)), "big"), _padded(extra) + _padded(out) + lengths)
    return out, _xor(hashed.to_bytes(16, "big"), aes_block(keys, nonce + b"\0\0\0\1"))


CIPHERS: dict[str, Callable[[bytes, bytes, bytes, bytes], tuple[bytes, bytes]]] = {
    "aes_256_gcm": aes_256_gcm,
    "chacha20_poly1305": chacha20_poly1305,
}
