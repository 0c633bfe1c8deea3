# SPDX-License-Identifier: Apache-2.0
"""The life of helpers and servers, keys over time, choices: pure functions, no clock but the argument."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from registry_parts import NOW, TTL, helper_spec, server_spec

from postman_registry.choice import HELPERS_OFFERED_MAX, choose_server, choose_shard, helpers_in_order, load_step
from postman_registry.domain import (
    Helper,
    HelperStatus,
    NotDrainable,
    Server,
    ServerStatus,
    StaleIncarnation,
    helper_expire,
    helper_leave,
    helper_order_drain,
    helper_order_undrain,
    helper_register,
    helper_renew,
    server_expire,
    server_leave,
    server_register,
    server_renew,
    server_supersede,
)
from postman_registry.fresh_cache import FreshCache
from postman_registry.keys import RotationPolicy, SigningKey, first_key, rotate, signing_key


def kinds(events: list) -> list[tuple[str, int, str]]:
    return [(event.kind, event.incarnation, event.reason) for event in events]


def a_helper(**changes: object) -> Helper:
    helper, _ = helper_register(None, 1, helper_spec(), now=NOW, lease_ttl=TTL)
    helper, _ = helper_renew(helper, 1, "up", None, now=NOW, lease_ttl=TTL)
    return replace(helper, **changes)


def a_server(server_id: int = 5, **changes: object) -> Server:
    server, _ = server_register(server_id, 9, server_spec(), now=NOW, lease_ttl=TTL)
    return replace(server, **changes)


# --- helpers --------------------------------------------------------------------------------------


def test_a_first_registration_is_incarnation_1() -> None:
    helper, events = helper_register(None, 1, helper_spec(), now=NOW, lease_ttl=TTL)
    assert (helper.incarnation, helper.status, helper.lease_expires_at) == (1, HelperStatus.STARTING, NOW + TTL)
    assert events == []


def test_a_second_registration_supersedes_a_live_one() -> None:
    helper, events = helper_register(a_helper(), 1, helper_spec(), now=NOW, lease_ttl=TTL)
    assert kinds(events) == [("down", 1, "superseded")]
    assert (helper.incarnation, helper.status) == (2, HelperStatus.STARTING)


@pytest.mark.parametrize("status", [HelperStatus.DOWN, HelperStatus.GONE, HelperStatus.STARTING])
def test_a_registration_after_one_that_was_not_up_ends_nothing(status: HelperStatus) -> None:
    helper, events = helper_register(a_helper(status=status), 1, helper_spec(), now=NOW, lease_ttl=TTL)
    assert (helper.incarnation, events) == (2, [])


@pytest.mark.parametrize(
    ("status", "ordered", "reported", "expected", "events"),
    [
        (HelperStatus.STARTING, False, "up", HelperStatus.UP, [("up", 1, "serving")]),
        (HelperStatus.STARTING, True, "up", HelperStatus.DRAINING, [("draining", 1, "ordered")]),
        (HelperStatus.UP, False, "up", HelperStatus.UP, []),
        (HelperStatus.UP, False, "draining", HelperStatus.DRAINING, [("draining", 1, "reported")]),
        (HelperStatus.DRAINING, False, "up", HelperStatus.UP, [("up", 1, "reported")]),
        (HelperStatus.DRAINING, True, "up", HelperStatus.DRAINING, []),
        (HelperStatus.DOWN, False, "up", HelperStatus.UP, [("up", 1, "lease-renewed")]),
        (HelperStatus.DOWN, True, "up", HelperStatus.DRAINING, [("draining", 1, "lease-renewed")]),
    ],
)
def test_renewals(status: HelperStatus, ordered: bool, reported: str, expected: HelperStatus, events: list) -> None:
    helper = a_helper(status=status, is_draining_ordered=ordered, stats={"load": 0.5})
    later = NOW + timedelta(seconds=1)
    renewed, its_events = helper_renew(helper, 1, reported, None, now=later, lease_ttl=TTL)
    assert (renewed.status, renewed.lease_expires_at, renewed.stats) == (expected, later + TTL, {"load": 0.5})
    assert kinds(its_events) == events


@pytest.mark.parametrize(
    ("status", "incarnation"), [(HelperStatus.UP, 2), (HelperStatus.UP, 4), (HelperStatus.GONE, 3)]
)
def test_stale_renewals(status: str, incarnation: int) -> None:
    with pytest.raises(StaleIncarnation):
        helper_renew(
            a_helper(status=HelperStatus(status), incarnation=3), incarnation, "up", None, now=NOW, lease_ttl=TTL
        )


def test_leaving_is_idempotent_and_only_for_what_has_been() -> None:
    gone, events = helper_leave(a_helper(), 1)
    assert kinds(events) == [("gone", 1, "left")]
    assert helper_leave(gone, 1) == (gone, [])
    current = a_helper(incarnation=2)
    assert helper_leave(current, 1) == (current, [])
    with pytest.raises(StaleIncarnation):
        helper_leave(current, 3)


def test_an_order_to_drain_holds() -> None:
    drained, events = helper_order_drain(a_helper())
    assert kinds(events) == [("draining", 1, "ordered")]
    assert helper_order_drain(drained) == (drained, [])
    restarted, _ = helper_register(drained, 1, helper_spec(), now=NOW, lease_ttl=TTL)
    assert restarted.is_draining_ordered
    renewed, _ = helper_renew(restarted, 2, "up", None, now=NOW, lease_ttl=TTL)
    assert renewed.status is HelperStatus.DRAINING


def test_an_order_to_serve_again_counts_when_the_helper_says_that_it_does() -> None:
    drained, _ = helper_order_drain(a_helper())
    free = helper_order_undrain(drained)
    assert (free.status, free.is_draining_ordered) == (HelperStatus.DRAINING, False)
    still, events = helper_renew(free, 1, "draining", None, now=NOW, lease_ttl=TTL)
    assert (still.status, events) == (HelperStatus.DRAINING, [])
    serving, events = helper_renew(still, 1, "up", None, now=NOW, lease_ttl=TTL)
    assert (serving.status, kinds(events)) == (HelperStatus.UP, [("up", 1, "reported")])


def test_an_order_to_drain_is_not_for_the_next_owner_of_the_id() -> None:
    drained, _ = helper_order_drain(a_helper(status=HelperStatus.DOWN))
    assert drained.is_draining_ordered
    other, _ = helper_register(drained, 1, helper_spec("other"), now=NOW, lease_ttl=TTL)
    assert not other.is_draining_ordered


def test_what_is_gone_cannot_drain() -> None:
    with pytest.raises(NotDrainable):
        helper_order_drain(a_helper(status=HelperStatus.GONE))


def test_a_lease_ends_at_its_time_and_once() -> None:
    helper = a_helper()
    assert helper_expire(helper, now=NOW + TTL - timedelta(microseconds=1)) == (helper, [])
    down, events = helper_expire(helper, now=NOW + TTL)
    assert kinds(events) == [("down", 1, "lease-expired")]
    assert helper_expire(down, now=NOW + 2 * TTL) == (down, [])


# --- servers --------------------------------------------------------------------------------------


def test_the_life_of_a_server() -> None:
    server = a_server()
    down, events = server_expire(server, now=NOW + TTL)
    assert (down.status, down.ended_at, kinds(events)) == (ServerStatus.DOWN, NOW + TTL, [("down", 9, "lease-expired")])
    up, events = server_renew(down, 9, now=NOW + 2 * TTL, lease_ttl=TTL)
    assert (up.status, up.ended_at, kinds(events)) == (ServerStatus.UP, None, [("up", 9, "lease-renewed")])
    gone, events = server_leave(up, 9, now=NOW + 2 * TTL)
    assert (gone.status, kinds(events)) == (ServerStatus.GONE, [("gone", 9, "left")])
    assert server_leave(gone, 9, now=NOW) == (gone, [])
    with pytest.raises(StaleIncarnation):
        server_renew(gone, 9, now=NOW, lease_ttl=TTL)


def test_stale_incarnations_of_servers() -> None:
    with pytest.raises(StaleIncarnation):
        server_renew(a_server(), 8, now=NOW, lease_ttl=TTL)
    with pytest.raises(StaleIncarnation):
        server_leave(a_server(), 10, now=NOW)
    server = a_server()
    assert server_leave(server, 8, now=NOW) == (server, [])


def test_a_superseded_server_may_not_come_back() -> None:
    ended, events = server_supersede(a_server(), now=NOW)
    assert kinds(events) == [("down", 9, "superseded")]
    with pytest.raises(StaleIncarnation):
        server_renew(ended, 9, now=NOW, lease_ttl=TTL)


# --- keys -----------------------------------------------------------------------------------------

ROTATION = RotationPolicy(timedelta(hours=1), timedelta(seconds=15), timedelta(minutes=10))


@given(st.lists(st.integers(1, 4000), min_size=1, max_size=60))
def test_every_token_meets_a_server_that_knows_its_key(steps_s: list[int]) -> None:
    """A server renews at any times less than a lease apart or further; tokens are signed at any time in between."""
    keys, now = [first_key(b"k0", now=NOW)], NOW
    signed: list[tuple[int, object]] = []
    for number, step_s in enumerate(steps_s):
        now += timedelta(seconds=step_s)
        signed = [(key_id, at) for key_id, at in signed if now - at <= ROTATION.token_lifetime]
        keys = rotate(keys, f"k{number}".encode(), ROTATION, now=now)
        assert 1 <= len(keys) <= 2
        known = {key.key_id for key in keys}
        assert {key_id for key_id, _ in signed} <= known
        signed.append((signing_key(keys, now=now).key_id, now))


def test_a_new_key_signs_one_lease_later() -> None:
    old = first_key(b"old", now=NOW)
    later = NOW + ROTATION.key_age_max
    keys = rotate([old], b"new", ROTATION, now=later)
    assert [key.key for key in keys] == [b"old", b"new"]
    assert signing_key(keys, now=later).key == b"old"
    assert signing_key(keys, now=later + ROTATION.lease_ttl).key == b"new"
    assert rotate(keys, b"x", ROTATION, now=later + ROTATION.lease_ttl) is keys


def test_key_ids_wrap() -> None:
    keys = [SigningKey(65535, b"k", NOW, NOW)]
    assert rotate(keys, b"n", ROTATION, now=NOW + ROTATION.key_age_max)[1].key_id == 0


# --- choices --------------------------------------------------------------------------------------


def some_helpers(count: int, **loads: float) -> list[Helper]:
    return [
        a_helper(helper_id=number, stats={"load": loads[f"h{number}"]} if f"h{number}" in loads else {})
        for number in range(1, count + 1)
    ]


def test_clients_spread_and_each_always_gets_the_same() -> None:
    helpers = some_helpers(4)
    first = Counter(helpers_in_order(helpers, f"client {number}")[0].helper.helper_id for number in range(4000))
    assert len(first) == 4
    assert all(800 < count < 1200 for count in first.values())  # 1000 each; five standard deviations are 137
    assert helpers_in_order(helpers, "c") == helpers_in_order(list(reversed(helpers)), "c")


def test_a_helper_that_goes_moves_only_its_own_clients() -> None:
    helpers = some_helpers(4)
    for number in range(200):
        before = helpers_in_order(helpers, f"client {number}")[0]
        after = helpers_in_order(helpers[1:], f"client {number}")[0]
        assert after == before or before.helper == helpers[0]


def test_less_loaded_helpers_come_first() -> None:
    helpers = some_helpers(3, h1=0.9, h2=0.1, h3=0.6)
    assert [ranked.helper.helper_id for ranked in helpers_in_order(helpers, "c")] == [2, 3, 1]


@pytest.mark.parametrize(("load", "step"), [(-1, 0), (0, 0), (0.24, 0), (0.25, 1), (0.99, 3), (1, 3), (7e300, 3)])
def test_load_steps(load: float, step: int) -> None:
    assert load_step({"load": load}) == step


def test_at_most_seven_helpers_are_offered() -> None:
    assert len(helpers_in_order(some_helpers(20), "c")) == HELPERS_OFFERED_MAX


def test_servers_and_shards_are_chosen_by_client() -> None:
    servers = [a_server(number) for number in (1, 2, 3)]
    chosen = Counter(choose_server(servers, f"c{number}").server_id for number in range(300))
    assert len(chosen) == 3
    assert choose_server([], "c") is None
    sharded = a_server(spec=server_spec(shards=4))
    assert {choose_shard(sharded, f"c{number}") for number in range(100)} == {0, 1, 2, 3}


# --- the cache ------------------------------------------------------------------------------------


class Source:
    """Counts how often it is asked; answers when told to."""

    def __init__(self) -> None:
        self.asked = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def load(self) -> int:
        self.asked += 1
        answer = self.asked
        await self.gate.wait()
        return answer


async def test_the_cache_asks_once_per_moment() -> None:
    time_s, source = [0.0], Source()
    cache: FreshCache[str, int] = FreshCache(1.0, 10, lambda: time_s[0])
    assert [await cache.get("k", source.load) for _ in range(3)] == [1, 1, 1]
    time_s[0] = 1.0
    assert await cache.get("k", source.load) == 2


async def test_many_who_ask_at_once_share_one_answer() -> None:
    source = Source()
    cache: FreshCache[str, int] = FreshCache(0.0, 10)
    assert await asyncio.gather(*(cache.get("k", source.load) for _ in range(5))) == [1] * 5


async def test_after_clear_nobody_gets_what_was_begun_before() -> None:
    source = Source()
    cache: FreshCache[str, int] = FreshCache(100.0, 10)
    source.gate.clear()
    early = asyncio.create_task(cache.get("k", source.load))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert source.asked == 1
    cache.clear()
    source.gate.set()
    assert await cache.get("k", source.load) == 2
    assert await early == 1
    assert await cache.get("k", source.load) == 2


async def test_the_cache_is_bounded_and_errors_are_not_kept() -> None:
    source = Source()
    cache: FreshCache[int, int] = FreshCache(100.0, 2)
    for key in (1, 2, 3):
        await cache.get(key, source.load)
    assert await cache.get(3, source.load) == 3
    assert await cache.get(1, source.load) == 4

    async def fail() -> int:
        raise OSError("told to")

    for _ in range(2):
        with pytest.raises(OSError, match="told to"):
            await cache.get(9, fail)
