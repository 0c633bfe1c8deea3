# SPDX-License-Identifier: Apache-2.0
"""The golden vectors, read by an implementation of the wire format that shares nothing with the C library.

libs/wire/vectors_test.c reads the same files, so a layout, a key derivation or a tag on which C and Python differ fails
one of the two.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import wire_model as wm
from aead_primitives import CIPHERS, aes_256_gcm, chacha20_poly1305
from vector_file import VECTORS, Vector, read_vectors
from wire_primitives import crc32c, siphash24

ALL = [v for path in sorted(VECTORS.glob("*.hex")) for v in read_vectors(path)]
KINDS_EXPECTED = {
    "data",
    "ack",
    *CIPHERS,
    *wm.CONTROL,
    "trunk",
    "token",
    "session_keys",
    "reset_token",
    "open_cookie_value",
    "trunk_keys",
    "cid",
    "crc32c",
}


def of_kind(*kinds: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    chosen = [v for v in ALL if v.kind in kinds]
    return pytest.mark.parametrize("v", chosen, ids=[v.name for v in chosen])


def test_every_kind_has_a_vector() -> None:
    assert {v.kind for v in ALL} == KINDS_EXPECTED


def test_siphash_known_answers() -> None:
    """Appendix A of the SipHash paper, and the first 128-bit vector of its reference code."""
    key = bytes(range(16))
    assert siphash_hex(key, bytes(range(15)), 8) == "e545be4961ca29a1"
    assert siphash_hex(key, b"", 16) == "a3817f04ba25a8e66df67214c7550293"


def siphash_hex(key: bytes, data: bytes, size: int) -> str:
    return siphash24(key, data, size).hex()


def seed_of(v: Vector) -> wm.CheckSeed:
    return wm.CheckSeed(
        v.integer("check_secret"),
        v.integer("cid"),
        v.integer("check_seq"),
        v.integer("check_ack"),
        v.integer("check_epoch"),
    )


@of_kind("data", "ack")
def test_frame(v: Vector) -> None:
    fields = wm.frame_decode(v.kind, v.octets("bytes"), seed_of(v))
    for name in ("flags", "epoch8", "tx", "tx_echo", "cid", "seq", "ack", "window"):
        assert fields[name] == v.integer(name), name
    assert fields["payload"] == v.octets("payload")
    assert fields["sacks"] == [
        {"start": int(start, 0), "len": int(length, 0)} for start, length in map(str.split, v.all("sack"))
    ]
    assert wm.frame_encode(v.kind, fields, seed_of(v)) == v.octets("bytes")


@of_kind("data", "ack")
def test_frame_check_covers_the_seed(v: Vector) -> None:
    """W7: a truncated number that was widened wrongly fails the check."""
    seed = seed_of(v)
    wrong = [
        wm.CheckSeed(seed.secret ^ 1, seed.cid, seed.seq, seed.ack, seed.epoch),
        wm.CheckSeed(seed.secret, seed.cid, seed.seq + (1 << 32), seed.ack, seed.epoch),
        wm.CheckSeed(seed.secret, seed.cid, seed.seq, seed.ack + (1 << 32), seed.epoch),
        wm.CheckSeed(seed.secret, seed.cid, seed.seq, seed.ack, (seed.epoch + 256) & 0xFFFF_FFFF),
    ]
    for other in wrong:
        with pytest.raises(wm.WireError, match="check"):
            wm.frame_decode(v.kind, v.octets("bytes"), other)


@of_kind(*CIPHERS)
def test_sealed(v: Vector) -> None:
    kind = "ack" if v.integer("type") else "data"
    seed = wm.CheckSeed(0, v.integer("cid"), *(v.integer(f"check_{key}") for key in ("seq", "ack", "epoch")))
    seal, number = wm.Seal(v.kind, v.octets("seal_key"), bool(v.integer("to_server"))), v.integer("packet_number")
    good = v.octets("bytes")
    fields = wm.sealed_decode(kind, good, seed, seal, number)
    for name in ("flags", "epoch8", "tx", "tx_echo", "cid", "seq", "ack", "window"):
        assert fields[name] == v.integer(name), name
    assert fields["payload"] == v.octets("payload")
    assert wm.sealed_encode(kind, fields, seed, seal, number) == good
    wrong = [
        (wm.CheckSeed(0, seed.cid, seed.seq + (1 << 32), seed.ack, seed.epoch), seal, number),
        (wm.CheckSeed(0, seed.cid, seed.seq, seed.ack, seed.epoch ^ 256), seal, number),
        (seed, wm.Seal(v.kind, seal.seal_key, not seal.to_server), number),
        (seed, seal, number + (1 << 32)),
    ]
    for other in wrong:
        with pytest.raises(wm.WireError, match="tag"):
            wm.sealed_decode(kind, good, *other)


def test_aead_known_answers() -> None:
    """RFC 8439, 2.8.2; test case 16 of the GCM specification (McGrew, Viega 2005)."""
    text = (
        b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would"
        b" be it."
    )
    nonce = bytes.fromhex("070000004041424344454647")
    _, tag = chacha20_poly1305(bytes(range(0x80, 0xA0)), nonce, text, bytes.fromhex("50515253c0c1c2c3c4c5c6c7"))
    assert tag.hex() == "1ae10b594f09e26a7e902ecbd0600691"
    plain = bytes.fromhex(
        "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
        "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"
    )
    key = bytes.fromhex("feffe9928665731c6d6a8f9467308308") * 2
    extra = bytes.fromhex("feedfacedeadbeeffeedfacedeadbeefabaddad2")
    _, tag = aes_256_gcm(key, bytes.fromhex("cafebabefacedbaddecaf888"), plain, extra)
    assert tag.hex() == "76fc6ece0f4e1768cddf8853bb2d551b"


@of_kind(*wm.CONTROL)
def test_control(v: Vector) -> None:
    layout = wm.CONTROL[v.kind]
    mac_key = v.octets("mac_key")  # none where there is no MAC
    fields = wm.control_decode(v.kind, v.octets("bytes"), mac_key)
    for name, _, size in layout.fields:
        if name not in ("epoch8", "count"):
            assert fields[name] == (v.integer(name) if size <= 8 else v.octets(name)), name
    if layout.item:
        names = [name for name, _ in layout.item]
        listed = [dict(zip(names, (int(n, 0) for n in line.split()), strict=True)) for line in v.all("conn")]
        assert fields["conns"] == listed
    assert wm.control_encode(v.kind, fields, mac_key) == v.octets("bytes")


@of_kind(*(kind for kind, layout in wm.CONTROL.items() if layout.mac))
def test_control_tampered(v: Vector) -> None:
    good = v.octets("bytes")
    for at in range(len(good)):
        bad = good[:at] + bytes([good[at] ^ 0x10]) + good[at + 1 :]
        with pytest.raises(wm.WireError):
            wm.control_decode(v.kind, bad, v.octets("mac_key"))


def parse_entry(line: str) -> wm.AnyEntry:
    kind, *words = line.split()
    match kind:
        case "long":
            return wm.Entry(bytes.fromhex(words[0]), int(words[1], 0), bytes.fromhex(words[2]))
        case "short":
            return wm.Short(int(words[0], 0), int(words[1], 0), bytes.fromhex(words[2]))
        case "bind":
            index, generation = int(words[0], 0), int(words[1], 0)
            return wm.Bind(index, generation, bytes.fromhex(words[2]), int(words[3], 0), int(words[4], 0))
        case "nack":
            return wm.Nack(int(words[0], 0), int(words[1], 0))
    return wm.BindRef(kind, int(words[0], 0), int(words[1], 0))


@of_kind("trunk")
def test_trunk(v: Vector) -> None:
    expected = [parse_entry(line) for line in v.all("entry")]
    cids = {e.index: int.from_bytes(e.frame[4:12], "big") for e in expected if isinstance(e, wm.Short)}
    fields, entries, pad = wm.trunk_decode(v.octets("bytes"), v.octets("key"), v.integer("batch_seq_high"), cids)
    for name, value in fields.items():
        assert value == v.integer(name), name
    assert entries == expected
    assert pad == v.integer("pad")
    again = wm.trunk_encode(fields, entries, pad, v.octets("key"), v.integer("batch_seq_high"))
    assert again == v.octets("bytes")


@of_kind("token")
def test_token(v: Vector) -> None:
    fields = wm.token_decode(v.octets("bytes"), v.octets("k_srv"))
    for name, value in fields.items():
        assert value == (v.integer(name) if isinstance(value, int) else v.octets(name)), name
    assert wm.token_key(v.octets("k_srv"), v.octets("bytes")) == v.octets("token_key")


@of_kind("session_keys")
def test_session_keys(v: Vector) -> None:
    for name, value in wm.session_keys(v.octets("token_key"), v.integer("session_id")).items():
        assert value == (v.integer(name) if isinstance(value, int) else v.octets(name)), name


@of_kind("reset_token")
def test_reset_token(v: Vector) -> None:
    assert wm.reset_key(v.octets("trunk_secret")) == v.octets("reset_key")
    assert wm.reset_token(v.octets("reset_key"), v.integer("cid")) == v.octets("reset_token")


@of_kind("open_cookie_value")
def test_open_cookie(v: Vector) -> None:
    numbers = [v.integer(name) for name in ("port", "session_id", "open_nonce", "slot")]
    assert wm.open_cookie(v.octets("secret"), v.octets("ip"), *numbers) == v.octets("cookie")


@of_kind("trunk_keys")
def test_trunk_keys(v: Vector) -> None:
    keys = wm.trunk_keys(v.octets("trunk_secret"), v.integer("helper_id"), v.integer("incarnation"))
    assert keys == {"to_server": v.octets("to_server"), "to_helper": v.octets("to_helper")}


@of_kind("cid")
def test_cid(v: Vector) -> None:
    route = {name: v.integer(name) for name in ("server_id", "shard", "slot", "generation")}
    assert wm.cid_open(v.octets("key"), v.integer("cid")) == route
    assert wm.cid_seal(v.octets("key"), **route) == v.integer("cid")


@of_kind("crc32c")
def test_crc32c(v: Vector) -> None:
    assert crc32c(v.octets("data")) == v.integer("crc")
