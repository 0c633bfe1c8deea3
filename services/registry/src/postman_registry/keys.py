# SPDX-License-Identifier: Apache-2.0
"""K_srv keys of one server over time (rule K1). Pure.

A server hears of a new key when it renews its lease, and tokens are signed with it only one lease later; the one before
stays until the last token that it signed has expired. So at most two are valid, and no token meets a server that does
not know its key.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from postman_contracts.tokens import SKEW_S

KEY_IDS = 1 << 16


@dataclass(frozen=True, slots=True)
class SigningKey:
    """One K_srv: known to the server from `made_at` on, signs tokens from `usable_from` on."""

    key_id: int
    key: bytes = field(repr=False)
    made_at: datetime
    usable_from: datetime


@dataclass(frozen=True, slots=True)
class RotationPolicy:
    """How old a key may get, and the two times that the overlap depends on."""

    key_age_max: timedelta
    lease_ttl: timedelta
    token_lifetime: timedelta


def first_key(key: bytes, *, now: datetime) -> SigningKey:
    """The key that a server gets when it registers: it has it before anybody can ask for a token."""
    return SigningKey(key_id=1, key=key, made_at=now, usable_from=now)


def signing_key(keys: list[SigningKey], *, now: datetime) -> SigningKey:
    """The newest key that may sign now."""
    usable = [key for key in keys if key.usable_from <= now] or keys
    return max(usable, key=lambda key: key.usable_from)


def rotate(keys: list[SigningKey], new_key: bytes, policy: RotationPolicy, *, now: datetime) -> list[SigningKey]:
    """The keys after one look at the clock: an old enough newest key gets a successor, an outlived one goes."""
    newest = max(keys, key=lambda key: key.made_at)
    outlived_at = newest.usable_from + policy.token_lifetime + timedelta(seconds=SKEW_S)
    if len(keys) > 1 and now > outlived_at:
        keys = [newest]
    if len(keys) == 1 and now - newest.made_at >= policy.key_age_max:
        successor = SigningKey(
            key_id=(newest.key_id + 1) % KEY_IDS,
            key=new_key,
            made_at=now,
            usable_from=now + policy.lease_ttl,
        )
        keys = [newest, successor]
    return keys
