# SPDX-License-Identifier: Apache-2.0
"""Tokens and trunk keys, byte for byte as `libs/wire/include/postman/wire.h` has them (rules K1 to K5).

Layout of a token, big-endian: version 1, flags 1, key_id 2, client_id 8, service_id 8, not_before 4 (unix s),
lifetime_s 2, max_conns 2, rate_class 2, server_id 2, random 16, MAC 16 = BLAKE2b-128(K_srv, bytes 0 to 47).

`cid_key` (16 bytes, one for the whole installation) is not used here: it permutes connection ids (W5), goes to helpers
and servers only, and never to a client.
"""

from __future__ import annotations

import hmac
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final, NamedTuple

TOKEN_BYTES: Final = 64
TOKEN_VERSION: Final = 1
KEY_BYTES: Final = 32
CID_KEY_BYTES: Final = 16
RESET_KEY_BYTES: Final = 16
SKEW_S: Final = 30
"""Rule K4: clocks of registry and server may differ by this much."""

_BODY: Final = struct.Struct(">BBHQQIHHHH16s")
_MAC_BYTES: Final = 16
_TRUNK: Final = struct.Struct(">HI")


class TokenError(ValueError):
    """A token that must not open anything; the text says why."""


@dataclass(frozen=True, slots=True)
class Token:
    """The fields of a token, without its MAC."""

    key_id: int
    client_id: int
    service_id: int
    server_id: int
    not_before_s: int
    lifetime_s: int
    max_conns: int
    random: bytes = field(repr=False)
    rate_class: int = 0

    @property
    def expires_at_s(self) -> int:
        """Unix time at which it stops opening connections (without the skew allowed)."""
        return self.not_before_s + self.lifetime_s


class TrunkKeys(NamedTuple):
    """Keys of the two directions between one server and one helper incarnation."""

    to_server: bytes
    to_helper: bytes


def _check_key(name: str, key: bytes) -> None:
    if len(key) != KEY_BYTES:
        raise ValueError(f"{name} must be {KEY_BYTES} bytes")


def token_encode(token: Token, k_srv: bytes) -> bytes:
    """Build the 64 bytes of a token, signed with `k_srv`. ValueError if a field does not fit the layout."""
    _check_key("k_srv", k_srv)
    if len(token.random) != 16:
        raise ValueError("random must be 16 bytes")
    try:
        body = _BODY.pack(
            TOKEN_VERSION,
            0,
            token.key_id,
            token.client_id,
            token.service_id,
            token.not_before_s,
            token.lifetime_s,
            token.max_conns,
            token.rate_class,
            token.server_id,
            token.random,
        )
    except struct.error as error:
        raise ValueError(f"token field out of range: {error}") from None
    return body + token_mac(k_srv, body)


def token_mac(k_srv: bytes, token: bytes) -> bytes:
    """The MAC of a token (or of its first 48 bytes)."""
    _check_key("k_srv", k_srv)
    return blake2b(token[: _BODY.size], digest_size=_MAC_BYTES, key=k_srv).digest()


def token_decode(token: bytes) -> Token:
    """The fields of a token, unverified. TokenError if it is not a token of version 1."""
    if len(token) != TOKEN_BYTES:
        raise TokenError(f"a token has {TOKEN_BYTES} bytes, not {len(token)}")
    (version, flags, key_id, client_id, service_id, not_before, lifetime, max_conns, rate_class, server_id, random) = (
        _BODY.unpack_from(token)
    )
    if version != TOKEN_VERSION:
        raise TokenError(f"unknown token version {version}")
    if flags:
        raise TokenError("reserved token flags are set")
    return Token(
        key_id=key_id,
        client_id=client_id,
        service_id=service_id,
        server_id=server_id,
        not_before_s=not_before,
        lifetime_s=lifetime,
        max_conns=max_conns,
        rate_class=rate_class,
        random=random,
    )


def token_verify(token: bytes, keys: Mapping[int, bytes], *, server_id: int, now_s: float) -> Token:
    """The fields of a token that may open a connection now, at this server. TokenError says why it may not."""
    fields = token_decode(token)
    k_srv = keys.get(fields.key_id)
    if k_srv is None:
        raise TokenError("signed with a key that is not valid")
    if not hmac.compare_digest(token_mac(k_srv, token), token[_BODY.size :]):
        raise TokenError("the MAC does not hold")
    if fields.server_id != server_id:
        raise TokenError("made for another server")
    if now_s < fields.not_before_s - SKEW_S:
        raise TokenError("not valid yet")
    if now_s > fields.expires_at_s + SKEW_S:
        raise TokenError("expired")
    return fields


def token_key(k_srv: bytes, token: bytes) -> bytes:
    """What the client gets beside the token and makes session keys of (rule K2)."""
    _check_key("k_srv", k_srv)
    if len(token) != TOKEN_BYTES:
        raise ValueError(f"a token has {TOKEN_BYTES} bytes")
    return blake2b(b"postman token" + token, digest_size=KEY_BYTES, key=k_srv).digest()


def trunk_keys(trunk_secret: bytes, helper_id: int, incarnation: int) -> TrunkKeys:
    """Keys of the trunks between the server that has `trunk_secret` and one helper incarnation (rule K5)."""
    _check_key("trunk_secret", trunk_secret)
    label = b"postman trunk" + _TRUNK.pack(helper_id, incarnation)
    pair = blake2b(label, digest_size=KEY_BYTES, key=trunk_secret).digest()
    return TrunkKeys(to_server=pair[:16], to_helper=pair[16:])


def reset_key(trunk_secret: bytes) -> bytes:
    """What the reset tokens of a server are made with (rule C9): a successor gets it, never the secret."""
    _check_key("trunk_secret", trunk_secret)
    return blake2b(b"postman reset", digest_size=KEY_BYTES, key=trunk_secret).digest()[:RESET_KEY_BYTES]


def service_id_of(service: str) -> int:
    """A service's id: a hash of its name, so that nobody has to store it. 53 bits: exact in every JSON reader."""
    digest = blake2b(service.encode(), digest_size=8, person=b"postman service").digest()
    return (int.from_bytes(digest, "big") >> 11) or 1


def client_id_of(client: str) -> int:
    """A client's id in tokens: a hash of what the registry knows it by (its agent's name or its address)."""
    digest = blake2b(client.encode(), digest_size=8, person=b"postman client").digest()
    return int.from_bytes(digest, "big") or 1
