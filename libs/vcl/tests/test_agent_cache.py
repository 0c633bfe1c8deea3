# SPDX-License-Identifier: Apache-2.0
"""The agent's memory: what is fresh, what is good for an outage, what is forgotten."""

from __future__ import annotations

import pytest

from vcl.agent_cache import FRESH_S, NEGATIVE_S, TOKEN_MARGIN_S, Cache
from vcl.agent_types import REASON_NO_SERVER, Lookup, Resolution

KEY = ("cache.example", 11211)
UNIX_S = 1_900_000_000.0


def resolution(server_id: int = 7, token_lifetime_s: float = 600.0) -> Resolution:
    return Resolution(
        server_id=server_id,
        shard=0,
        service="memcached",
        data_address="198.18.0.20",
        udp_port=11211,
        token=b"t" * 64,
        token_key=b"k" * 32,
        token_expires_at=UNIX_S + token_lifetime_s,
        helpers=(),
    )


def test_an_answer_is_fresh_briefly_and_good_for_an_outage_until_its_token_ends() -> None:
    cache = Cache()
    answer = resolution()
    cache.store(KEY, Lookup(answer), now_s=100.0)
    assert cache.fresh(KEY, 100.0 + FRESH_S - 0.01, UNIX_S) == Lookup(answer)
    assert cache.fresh(KEY, 100.0 + FRESH_S, UNIX_S) is None
    assert cache.fallback(KEY, UNIX_S + 599.0) == answer
    assert cache.fallback(KEY, UNIX_S + 600.0) is None


def test_a_token_about_to_end_is_never_fresh() -> None:
    cache = Cache()
    cache.store(KEY, Lookup(resolution(token_lifetime_s=TOKEN_MARGIN_S)), now_s=0.0)
    assert cache.fresh(KEY, 0.0, UNIX_S) is None
    assert cache.fallback(KEY, UNIX_S) is not None


def test_an_absence_is_remembered_for_a_second_and_is_no_answer_for_an_outage() -> None:
    cache = Cache()
    absence = Lookup(None, REASON_NO_SERVER)
    cache.store(KEY, absence, now_s=5.0)
    assert cache.fresh(KEY, 5.0 + NEGATIVE_S - 0.01, UNIX_S) == absence
    assert cache.fresh(KEY, 5.0 + NEGATIVE_S, UNIX_S) is None
    assert cache.fallback(KEY, UNIX_S) is None


def test_facts_make_stale_or_forget() -> None:
    cache = Cache()
    absent = ("other.example", 1)
    cache.store(KEY, Lookup(resolution(server_id=7)), now_s=0.0)
    cache.store(absent, Lookup(None, REASON_NO_SERVER), now_s=0.0)
    cache.expire_all()
    assert cache.fresh(KEY, 0.0, UNIX_S) is None
    assert cache.fallback(KEY, UNIX_S) is not None
    assert cache.fresh(absent, 0.0, UNIX_S) is not None
    cache.forget_absences()
    assert cache.fresh(absent, 0.0, UNIX_S) is None
    cache.forget_server(8)
    assert cache.fallback(KEY, UNIX_S) is not None
    cache.forget_server(7)
    assert cache.fallback(KEY, UNIX_S) is None


def test_the_cache_is_bounded_and_counts_evictions() -> None:
    cache = Cache(entries_max=3)
    for port in range(1, 6):
        cache.store(("h", port), Lookup(resolution()), now_s=0.0)
    assert len(cache) == 3
    assert cache.evictions == 2
    assert cache.fresh(("h", 2), 0.0, UNIX_S) is None
    assert cache.fresh(("h", 5), 0.0, UNIX_S) is not None


@pytest.mark.parametrize("secret", [b"t" * 64, b"k" * 32])
def test_a_resolution_does_not_print_its_secrets(secret: bytes) -> None:
    assert repr(secret) not in repr(resolution())
