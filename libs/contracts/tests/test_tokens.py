# SPDX-License-Identifier: Apache-2.0
"""Tokens and trunk keys: what is signed verifies, what is altered does not, and the C library agrees."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postman_contracts.tokens import (
    SKEW_S,
    TOKEN_BYTES,
    Token,
    TokenError,
    client_id_of,
    service_id_of,
    token_decode,
    token_encode,
    token_key,
    token_mac,
    token_verify,
    trunk_keys,
)

VECTORS = Path(__file__).resolve().parents[3] / "libs" / "wire" / "vectors"
K_SRV = bytes(range(32))

u16, u32, u64 = (st.integers(0, (1 << bits) - 1) for bits in (16, 32, 64))
keys = st.binary(min_size=32, max_size=32)
tokens = st.builds(
    Token,
    key_id=u16,
    client_id=u64,
    service_id=u64,
    server_id=u16,
    not_before_s=u32,
    lifetime_s=u16,
    max_conns=u16,
    rate_class=u16,
    random=st.binary(min_size=16, max_size=16),
)


def a_token(**changes: int) -> Token:
    fields = {"key_id": 3, "client_id": 1, "service_id": 2, "server_id": 7, "not_before_s": 1000, "lifetime_s": 60}
    return Token(**(fields | {"max_conns": 9} | changes), random=b"r" * 16)


@given(tokens, keys)
def test_encode_decode_verify_round_trip(token: Token, k_srv: bytes) -> None:
    encoded = token_encode(token, k_srv)
    assert len(encoded) == TOKEN_BYTES
    assert token_decode(encoded) == token
    verified = token_verify(encoded, {token.key_id: k_srv}, server_id=token.server_id, now_s=token.not_before_s)
    assert verified == token


@given(tokens, keys, st.integers(0, TOKEN_BYTES * 8 - 1))
def test_any_altered_bit_is_refused(token: Token, k_srv: bytes, bit: int) -> None:
    altered = bytearray(token_encode(token, k_srv))
    altered[bit // 8] ^= 1 << bit % 8
    every_key = dict.fromkeys([token.key_id, token.key_id ^ (1 << bit % 16), *range(4)], k_srv)
    with pytest.raises(TokenError):
        token_verify(bytes(altered), every_key, server_id=token.server_id, now_s=token.not_before_s)


@given(tokens, keys, keys)
def test_another_key_is_refused(token: Token, k_srv: bytes, other: bytes) -> None:
    if k_srv != other:
        encoded = token_encode(token, k_srv)
        with pytest.raises(TokenError, match="MAC"):
            token_verify(encoded, {token.key_id: other}, server_id=token.server_id, now_s=token.not_before_s)


@given(st.binary(max_size=200))
def test_any_bytes_decode_or_are_refused(data: bytes) -> None:
    try:
        token_decode(data)
    except TokenError:
        return
    assert len(data) == TOKEN_BYTES
    assert data[:2] == b"\x01\x00"


@pytest.mark.parametrize(
    ("now_s", "problem"),
    [
        (1000 - SKEW_S, None),
        (1000 - SKEW_S - 1, "not valid yet"),
        (1060 + SKEW_S, None),
        (1060 + SKEW_S + 1, "expired"),
    ],
)
def test_lifetime_with_skew(now_s: int, problem: str | None) -> None:
    encoded = token_encode(a_token(), K_SRV)
    if problem is None:
        token_verify(encoded, {3: K_SRV}, server_id=7, now_s=now_s)
    else:
        with pytest.raises(TokenError, match=problem):
            token_verify(encoded, {3: K_SRV}, server_id=7, now_s=now_s)


def test_other_server_and_unknown_key_are_refused() -> None:
    encoded = token_encode(a_token(), K_SRV)
    with pytest.raises(TokenError, match="another server"):
        token_verify(encoded, {3: K_SRV}, server_id=8, now_s=1000)
    with pytest.raises(TokenError, match="key"):
        token_verify(encoded, {4: K_SRV}, server_id=7, now_s=1000)


@pytest.mark.parametrize("changes", [{"key_id": 1 << 16}, {"client_id": -1}, {"lifetime_s": 1 << 16}])
def test_fields_that_do_not_fit_are_an_error(changes: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="out of range"):
        token_encode(a_token(**changes), K_SRV)


def test_wrong_key_lengths_are_an_error() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        token_encode(a_token(), b"short")
    with pytest.raises(ValueError, match="64 bytes"):
        token_key(K_SRV, b"short")


@given(u16, u32)
def test_trunk_keys_differ_by_direction_and_incarnation(helper_id: int, incarnation: int) -> None:
    pair = trunk_keys(K_SRV, helper_id, incarnation)
    other = trunk_keys(K_SRV, helper_id, incarnation ^ 1)
    assert len({*pair, *other}) == 4


@given(st.text(max_size=80))
def test_ids_are_stable_and_in_range(name: str) -> None:
    assert 1 <= service_id_of(name) < 1 << 53
    assert 1 <= client_id_of(name) < 1 << 64
    assert service_id_of(name) == service_id_of(name)


# --- golden vectors, shared with libs/wire --------------------------------------------------------


def cases(file_name: str, kind: str) -> Iterator[dict[str, str]]:
    """The cases of one kind; the format is in libs/wire/vectors/README.md."""
    path = VECTORS / file_name
    case: dict[str, str] | None = None
    for line in path.read_text().splitlines() if path.exists() else []:
        name, _, value = line.partition(" ")
        if name == "vector":
            if case:
                yield case
            case = {} if value.split()[1] == kind else None
        elif case is not None and name and not name.startswith("#"):
            case[name] = case.get(name, "") + value
    if case:
        yield case


@pytest.mark.parametrize("case", list(cases("token.hex", "token")))
def test_token_vectors(case: dict[str, str]) -> None:
    numbers = ("key_id", "client_id", "service_id", "server_id", "lifetime_s", "max_conns", "rate_class")
    token = Token(
        **{name: int(case[name], 0) for name in numbers},
        not_before_s=int(case["not_before"], 0),
        random=bytes.fromhex(case["random"]),
    )
    k_srv, encoded = bytes.fromhex(case["k_srv"]), bytes.fromhex(case["bytes"])
    assert token_encode(token, k_srv) == encoded
    assert token_decode(encoded) == token
    assert token_mac(k_srv, encoded) == encoded[48:]
    assert token_key(k_srv, encoded).hex() == case["token_key"]


@pytest.mark.parametrize("case", list(cases("keys.hex", "trunk_keys")))
def test_trunk_key_vectors(case: dict[str, str]) -> None:
    pair = trunk_keys(bytes.fromhex(case["trunk_secret"]), int(case["helper_id"], 0), int(case["incarnation"], 0))
    assert (pair.to_server.hex(), pair.to_helper.hex()) == (case["to_server"], case["to_helper"])


def test_vectors_are_there() -> None:
    if not VECTORS.exists():
        pytest.skip("libs/wire/vectors is not in this tree")
    assert list(cases("token.hex", "token"))
    assert list(cases("keys.hex", "trunk_keys"))
