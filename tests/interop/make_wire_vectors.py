# SPDX-License-Identifier: Apache-2.0
"""Writes the golden vectors and the fuzzers' seed corpus from the Python model of the wire format.

Run it only when the format changes on purpose: `python tests/interop/make_wire_vectors.py`. The C library has no part
in it.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path

import wire_model as wm
from vector_file import VECTORS, Vector, write_vectors
from wire_primitives import crc32c

CORPUS = VECTORS.parent / "corpus"
PAYLOAD_BYTES_BASE = 1280
COOKIE_NUMBERS = {"port": 2, "session_id": 8, "open_nonce": 8, "slot": 4}


def pick(vector: str, name: str, size: int) -> bytes:
    """Bytes that differ for every vector and field, and are the same at every run: a swapped field shows."""
    return hashlib.shake_128(f"{vector}/{name}".encode()).digest(size)


def pick_int(vector: str, name: str, size: int) -> int:
    return int.from_bytes(pick(vector, name, size), "big")


# --- DATA and ACK ---------------------------------------------------------------------------------------------------


def frame_vector(name: str, kind: str, flags: int, payload_bytes: int, nb_sacks: int = 0) -> Vector:
    v = Vector(name, kind)
    seq, ack = pick_int(name, "seq", 8) >> 16, pick_int(name, "ack", 8) >> 16
    seed = wm.CheckSeed(pick_int(name, "secret", 8), pick_int(name, "cid", 8), seq, ack, pick_int(name, "epoch", 4))
    short = bool(flags & wm.FLAG_SHORT)
    number_mask = 0xFFFF if short else 0xFFFF_FFFF
    fields: wm.Fields = {
        "flags": flags,
        "epoch8": seed.epoch & (0x0F if short else 0xFF),
        "tx": 0 if short else pick_int(name, "tx", 1) >> 4,
        "tx_echo": 0 if short else pick_int(name, "tx", 1) & 15,
        "cid": seed.cid,
        "seq": seq & number_mask,
        "ack": ack & number_mask,
        "window": 0xFFFF if short else pick_int(name, "window", 2),
    }
    sacks = [
        {"start": pick_int(name, f"start{i}", 4), "len": pick_int(name, f"len{i}", 2) | 1} for i in range(nb_sacks)
    ]
    payload = pick(name, "payload", payload_bytes)
    for key, value in fields.items():
        assert isinstance(value, int)
        v.put(key, value)
    for sack in sacks:
        v.put("sack", f"{sack['start']:#x} {sack['len']:#x}")
    v.put("payload", payload)
    for key in ("secret", "seq", "ack", "epoch"):
        v.put(f"check_{key}", getattr(seed, key))
    v.put("bytes", wm.frame_encode(kind, {**fields, "sacks": sacks, "payload": payload}, seed))
    return v


def frame_vectors() -> list[Vector]:
    check, sack, fin, resend, urgent, short = 0x80, 0x20, 0x10, 0x08, 0x04, 0x02
    return [
        frame_vector("data_small", "data", check, 100),
        frame_vector("data_one_byte_urgent", "data", check | urgent, 1),
        frame_vector("data_fin_only", "data", check | fin, 0),
        frame_vector("data_resend_fin_sack", "data", check | resend | fin | sack, 33, nb_sacks=2),
        frame_vector("data_full", "data", check | sack, PAYLOAD_BYTES_BASE, nb_sacks=4),
        frame_vector("data_short", "data", check | short, 64),
        frame_vector("data_short_empty", "data", check | short, 0),
        frame_vector("data_short_long", "data", check | short, 255),
        frame_vector("data_short_urgent", "data", check | short | urgent, 255),
        frame_vector("data_short_full", "data", check | short, PAYLOAD_BYTES_BASE),
        frame_vector("ack_short", "ack", check | short, 0),
        frame_vector("ack_plain", "ack", check, 0),
        frame_vector("ack_one_sack", "ack", check | sack, 0, nb_sacks=1),
        frame_vector("ack_four_sacks", "ack", check | sack, 0, nb_sacks=4),
    ]


SEALED_COMMON = ("flags", "epoch8", "tx", "tx_echo", "cid", "seq", "ack", "window")


def sealed_vector(name: str, kind: str, flags: int, payload_bytes: int, cipher: str, number: int) -> Vector:
    """The plain frame's numbers, sealed."""
    plain = frame_vector(name, kind, 0x80 | flags, payload_bytes)
    v = Vector(name, cipher)
    seed = wm.CheckSeed(0, plain.integer("cid"), *(plain.integer(f"check_{key}") for key in ("seq", "ack", "epoch")))
    seal = wm.Seal(cipher, pick(name, "seal_key", 32), kind == "data")
    v.put("type", 0 if kind == "data" else 1)
    for key in SEALED_COMMON:
        v.put(key, wm.FLAG_SEALED | flags if key == "flags" else plain.integer(key))
    payload = plain.octets("payload")
    v.put("payload", payload)
    for key in ("seq", "ack", "epoch"):
        v.put(f"check_{key}", getattr(seed, key))
    v.put("seal_key", seal.seal_key)
    v.put("to_server", int(seal.to_server))
    v.put("packet_number", number)
    fields: wm.Fields = {key: v.integer(key) for key in SEALED_COMMON}
    v.put("bytes", wm.sealed_encode(kind, {**fields, "payload": payload, "sacks": []}, seed, seal, number))
    return v


def sealed_vectors() -> list[Vector]:
    aes, chacha = "aes_256_gcm", "chacha20_poly1305"
    return [
        sealed_vector("data_sealed_long", "data", 0x10, 100, aes, 0),
        sealed_vector("data_sealed", "data", wm.FLAG_SHORT, 64, aes, 0xFFFF_FFFF),
        sealed_vector("ack_sealed", "ack", wm.FLAG_SHORT, 0, aes, 5),
        sealed_vector("data_sealed_long_chacha", "data", 0x08, 130, chacha, 0x1_0000_0002),
        sealed_vector("data_sealed_chacha", "data", wm.FLAG_SHORT, 1, chacha, 77),
        sealed_vector("ack_sealed_long_chacha", "ack", 0, 0, chacha, 1),
    ]


# --- control frames -------------------------------------------------------------------------------------------------


def control_vector(name: str, kind: str, nb_conns: int = 0, **given: int) -> Vector:
    v, layout = Vector(name, kind), wm.CONTROL[kind]
    fields: wm.Fields = {}
    for key, _, size in layout.fields:
        if key in ("epoch8", "count"):
            continue
        value = given.get(key, pick_int(name, key, size) if size <= 8 else pick(name, key, size))
        fields[key] = value
        v.put(key, value)
    if layout.item:
        conns = [{key: pick_int(name, f"{key}{i}", size) for key, size in layout.item} for i in range(nb_conns)]
        fields["conns"] = conns
        for conn in conns:
            v.put("conn", " ".join(f"{value:#x}" for value in conn.values()))
    mac_key = pick(name, "mac_key", 16)
    if layout.mac:
        v.put("mac_key", mac_key)
    v.put("bytes", wm.control_encode(kind, fields, mac_key))
    return v


def control_vectors() -> list[Vector]:
    return [
        control_vector("open_first", "open", epoch=1),
        control_vector("open_cookie_first", "open_cookie", epoch=1),
        control_vector("open_ack_first", "open_ack", epoch=1),
        *(control_vector(f"refused_{reason}", "refused", reason=reason) for reason in (1, 2, 3)),
        control_vector("resume_empty", "resume", flags=0),
        control_vector("resume_planned", "resume", flags=1),
        control_vector("resume_two", "resume", nb_conns=2, flags=0),
        control_vector("resume_full", "resume", nb_conns=32, flags=0),
        control_vector("resume_ack_empty", "resume_ack"),
        control_vector("resume_ack_two", "resume_ack", nb_conns=2),
        control_vector("resume_ack_full", "resume_ack", nb_conns=32),
        control_vector("path_challenge_any", "path_challenge"),
        control_vector("path_response_any", "path_response"),
        control_vector("probe_any", "probe", whole_bytes=48),
        control_vector("probe_padded", "probe", whole_bytes=300),
        control_vector("echo_any", "echo", whole_bytes=48),
        control_vector("echo_of_padded", "echo", whole_bytes=8904),
        control_vector("busy_any", "busy"),
        control_vector("stateless_reset_any", "stateless_reset"),
        control_vector("pong_serving", "pong", state=0),
        control_vector("pong_draining", "pong", state=1),
        control_vector("reset_any", "reset"),
    ]


# --- trunk batches --------------------------------------------------------------------------------------------------


def entry_line(e: wm.AnyEntry) -> str:
    match e:
        case wm.Entry(ip, port, frame):
            return f"long {ip.hex()} {port:#x} {frame.hex()}"
        case wm.Short(index, generation, frame):
            return f"short {index:#x} {generation:#x} {frame.hex()}"
        case wm.Bind(index, generation, ip, port, cid):
            return f"bind {index:#x} {generation:#x} {ip.hex()} {port:#x} {cid:#x}"
        case wm.BindRef(name, index, generation):
            return f"{name} {index:#x} {generation:#x}"
        case wm.Nack(first, count):
            return f"nack {first:#x} {count:#x}"


def trunk_vector(name: str, entries: Sequence[wm.AnyEntry], pad: int = 0, flags: int = 0) -> Vector:
    v = Vector(name, "trunk")
    sizes = {"helper_id": 2, "worker": 1, "shard": 1, "incarnation": 4, "batch_seq": 4, "hold_us": 2, "ce_count": 2}
    fields: wm.Fields = {key: pick_int(name, key, size) for key, size in sizes.items()}
    fields["flags"] = flags
    fields |= {key: pick_int(name, key, 4) if flags & 1 else 0 for key in ("ack_batch", "ack_bits")}
    fields["credit"] = pick_int(name, "credit", 4) if flags & 2 else 0
    key, seq_high = pick(name, "key", 16), pick_int(name, "seq_high", 4)
    for field, value in fields.items():
        assert isinstance(value, int)
        v.put(field, value)
    for e in entries:
        v.put("entry", entry_line(e))
    v.put("pad", pad)
    v.put("key", key)
    v.put("batch_seq_high", seq_high)
    v.put("bytes", wm.trunk_encode(fields, entries, pad, key, seq_high))
    return v


def trunk_vectors(frames: Sequence[Vector], control: Sequence[Vector]) -> list[Vector]:
    by_name = {v.name: v.octets("bytes") for v in [*frames, *control]}

    def entry(vector: str, frame: str, ip_bytes: int = 4) -> wm.Entry:
        return wm.Entry(pick(vector, f"{frame}/ip", ip_bytes), pick_int(vector, f"{frame}/port", 2), by_name[frame])

    mixed = [entry("trunk_mixed", n) for n in ("data_small", "ack_plain", "open_first")]
    mixed.append(entry("trunk_mixed", "data_one_byte_urgent", 16))
    padded_bytes = 1440 - 32 - 8 - sum(9 + len(by_name[n]) for n in ("data_small", "ack_four_sacks"))
    small = [wm.Entry(pick("trunk_many", f"ip{i}", 4), i, pick("trunk_many", f"frame{i}", 1)) for i in range(128)]
    ipv4, ipv6 = pick("bind", "ip4", 4), pick("bind", "ip6", 16)
    control_entries: list[wm.AnyEntry] = [
        wm.Bind(1, 255, ipv4, 0x1234, pick_int("bind", "cid4", 8)),
        wm.Bind(524287, 0, ipv6, 0xFFFF, pick_int("bind", "cid6", 8)),
        *(wm.BindRef(name, 7 + i, 16 * i) for i, name in enumerate(("bind_ack", "bind_err", "unbind"))),
        wm.Nack(0xFFFF_FFFE, 1),
        wm.Nack(7, 256),
    ]
    indexes = (0, 2047, 2048, 65536, 524287, 1, 300)
    names = ("data_short", "data_short_empty", "ack_short", "data_short_long", "ack_short", "data_sealed", "ack_sealed")
    short_entries: list[wm.AnyEntry] = [
        wm.Short(index, i + 5, by_name[name]) for i, (index, name) in enumerate(zip(indexes, names, strict=True))
    ]
    return [
        trunk_vector("trunk_control", control_entries),
        trunk_vector("trunk_short", short_entries, pad=3, flags=3),
        trunk_vector("trunk_all", [*mixed, *short_entries, *control_entries], flags=1),
        trunk_vector("trunk_empty", []),
        trunk_vector("trunk_one", [entry("trunk_one", "data_small")], flags=1),
        trunk_vector("trunk_mixed", mixed, flags=3),
        trunk_vector(
            "trunk_padded", [entry("trunk_padded", n) for n in ("data_small", "ack_four_sacks")], padded_bytes
        ),
        trunk_vector("trunk_largest_frame", [entry("trunk_largest_frame", "data_full", 16)]),
        trunk_vector("trunk_many", small, flags=2),
    ]


# --- keyed functions ------------------------------------------------------------------------------------------------


def token_vector(name: str) -> Vector:
    v = Vector(name, "token")
    sizes = {"key_id": 2, "client_id": 8, "service_id": 8, "not_before": 4, "lifetime_s": 2, "max_conns": 2}
    fields: wm.Fields = {key: pick_int(name, key, size) for key, size in sizes.items()}
    fields |= {"rate_class": pick_int(name, "rate_class", 2), "server_id": pick_int(name, "server_id", 2)}
    fields["random"] = pick(name, "random", 16)
    k_srv = pick(name, "k_srv", 32)
    token = wm.token_encode(fields, k_srv)
    for key, value in fields.items():
        assert isinstance(value, int | bytes)
        v.put(key, value)
    v.put("k_srv", k_srv)
    v.put("bytes", token)
    v.put("token_key", wm.token_key(k_srv, token))
    return v


def key_vectors() -> list[Vector]:
    out = []
    for name in ("session_a", "session_b"):
        v = Vector(name, "session_keys")
        key, session_id = pick(name, "token_key", 32), pick_int(name, "session_id", 8)
        v.put("token_key", key)
        v.put("session_id", session_id)
        for field, value in wm.session_keys(key, session_id).items():
            assert isinstance(value, int | bytes)
            v.put(field, value)
        out.append(v)
    for name, ip_bytes in (("cookie_v4", 4), ("cookie_v6", 16)):
        v = Vector(name, "open_cookie_value")
        secret, ip = pick(name, "secret", 16), pick(name, "ip", ip_bytes)
        v.put("secret", secret)
        v.put("ip", ip)
        numbers = {key: pick_int(name, key, size) for key, size in COOKIE_NUMBERS.items()}
        for key, number in numbers.items():
            v.put(key, number)
        v.put("cookie", wm.open_cookie(secret, ip, **numbers))
        out.append(v)
    for name in ("reset_a", "reset_b"):
        v = Vector(name, "reset_token")
        secret, cid = pick(name, "secret", 32), pick_int(name, "cid", 8)
        v.put("trunk_secret", secret)
        v.put("cid", cid)
        v.put("reset_key", wm.reset_key(secret))
        v.put("reset_token", wm.reset_token(wm.reset_key(secret), cid))
        out.append(v)
    for name in ("trunk_a", "trunk_b"):
        v = Vector(name, "trunk_keys")
        secret, helper_id, incarnation = pick(name, "secret", 32), pick_int(name, "helper", 2), pick_int(name, "inc", 4)
        v.put("trunk_secret", secret)
        v.put("helper_id", helper_id)
        v.put("incarnation", incarnation)
        for field, value in wm.trunk_keys(secret, helper_id, incarnation).items():
            assert isinstance(value, bytes)
            v.put(field, value)
        out.append(v)
    return out


def cid_vectors() -> list[Vector]:
    routes = [
        (0, 0, 0, 0),
        (0xFFFF, 0xFF, 0xFF_FFFF, 0xFFFF),
        (1, 0, 1, 0),
        (1, 0, 2, 0),
        (0x1234, 0x56, 0x789ABC, 0xDEF0),
    ]
    out = []
    for i, route in enumerate(routes):
        v = Vector(f"cid_{i}", "cid")
        key = pick("cid", "key", 16)
        v.put("key", key)
        for name, value in zip(("server_id", "shard", "slot", "generation"), route, strict=True):
            v.put(name, value)
        v.put("cid", wm.cid_seal(key, *route))
        out.append(v)
    return out


def crc_vectors() -> list[Vector]:
    # The first is the polynomial's usual check value, the next four are RFC 3720, appendix B.4.
    inputs = [b"123456789", bytes(32), b"\xff" * 32, bytes(range(32)), bytes(range(31, -1, -1))]
    inputs += [pick("crc", "long", 1333)]
    out = []
    for i, data in enumerate(inputs):
        v = Vector(f"crc_{i}", "crc32c")
        v.put("data", data)
        v.put("crc", crc32c(data))
        out.append(v)
    return out


def write_corpus(target: str, vectors: Sequence[Vector]) -> None:
    folder: Path = CORPUS / target
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for v in vectors:
        (folder / v.name).write_bytes(v.octets("bytes"))


def main() -> None:
    frames, control, tokens = frame_vectors(), control_vectors(), [token_vector("token_a"), token_vector("token_b")]
    sealed = sealed_vectors()
    trunk = trunk_vectors([*frames, *sealed], control)
    write_vectors(VECTORS / "frame.hex", "DATA and ACK.", frames)
    write_vectors(VECTORS / "sealed.hex", "Sealed DATA and ACK.", sealed)
    write_vectors(VECTORS / "control.hex", "Control frames.", control)
    write_vectors(VECTORS / "trunk.hex", "Trunk batches.", trunk)
    write_vectors(VECTORS / "token.hex", "Tokens and their keys.", tokens)
    write_vectors(VECTORS / "keys.hex", "Key derivation.", key_vectors())
    write_vectors(VECTORS / "cid.hex", "Connection ids.", cid_vectors())
    write_vectors(VECTORS / "crc32c.hex", "CRC32C.", crc_vectors())
    for target, vectors in {"frame": [*frames, *sealed], "control": control, "trunk": trunk, "token": tokens}.items():
        write_corpus(target, vectors)


if __name__ == "__main__":
    main()
