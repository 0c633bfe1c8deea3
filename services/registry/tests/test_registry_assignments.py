# SPDX-License-Identifier: Apache-2.0
"""Placement's assignments and health's verdicts: whom they concern, when an epoch counts, what resolve tells."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from ipaddress import ip_network
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from registry_parts import Registry, register_server, serving, until
from sqlalchemy import func, select

from postman_contracts import messages, rest, subjects
from postman_kit.bus import Bus
from postman_kit.db import DatabaseUnavailable
from postman_kit.embedded import EmbeddedNats
from postman_registry.assignments import Assignment, ClientPlace, ServiceAssignments
from postman_registry.choice import HELPERS_OFFERED_MAX, RANK_SUSPECT
from postman_registry.service.assignments import Assignments
from postman_registry.service.context import Context
from postman_registry.service.helpers import Helpers
from postman_registry.service.resolve import Resolver
from postman_registry.service.servers import Servers
from postman_registry.tables import assignment_epochs, assignment_parts
from postman_registry.tables import assignments as assignments_table
from postman_registry.verdicts import HelperVerdicts

PLACEMENT_ID = UUID(int=1)


def assignment(group: str, *prefixes: str, site: str = "nowhere") -> Assignment:
    return Assignment(group, site, prefixes, primary=1, backup=2)


def group_of(service: ServiceAssignments, **place: str) -> str | None:
    found = service.match(ClientPlace(**place))
    return found.group if found else None


# --- whom an assignment concerns --------------------------------------------------------------------


def test_a_group_comes_before_an_address_and_an_address_before_a_site() -> None:
    service = ServiceAssignments(
        1,
        [
            assignment("named"),
            assignment("wide", "198.18.0.0/16"),
            assignment("narrow", "198.18.4.0/24", "2001:db8::/32"),
            assignment("one", "198.18.4.7/32", "2001:db8::7/128"),
            assignment("east", site="east"),
        ],
    )
    assert group_of(service, group="named", address="198.18.4.7", site="east") == "named"
    assert group_of(service, group="unknown", address="198.18.4.7", site="east") == "one"
    assert group_of(service, address="198.18.4.8", site="east") == "narrow"
    assert group_of(service, address="198.18.5.8", site="east") == "wide"
    assert group_of(service, address="::ffff:198.18.5.8") == "wide"
    assert group_of(service, address="2001:db8::8") == "narrow"
    assert group_of(service, address="2001:db8::7%eth0") == "one"
    assert group_of(service, address="203.0.113.1", site="east") == "east"
    assert group_of(service, address="testclient", site="west") is None
    assert group_of(service) is None


def test_what_is_assigned_twice_goes_to_the_first_by_name() -> None:
    twice = [assignment("b", "10.0.0.0/8", site="s"), assignment("a", "10.0.0.0/8", site="s")]
    for order in (twice, twice[::-1]):
        service = ServiceAssignments(1, order)
        assert group_of(service, address="10.1.1.1") == group_of(service, site="s") == "a"


addresses = st.ip_addresses(v=4, network="10.0.0.0/27") | st.ip_addresses(v=6, network="fd00::/123")


@given(st.lists(st.tuples(addresses, st.integers(min_value=0, max_value=6)), max_size=12), addresses)
def test_the_longest_prefix_is_the_one_that_a_search_of_all_finds(chosen: list[Any], client: Any) -> None:
    networks = [ip_network((address, address.max_prefixlen - bits), strict=False) for address, bits in chosen]
    service = ServiceAssignments(1, [assignment(f"{n}", str(network)) for n, network in enumerate(networks)])
    lengths = [network.prefixlen for network in networks if client in network]
    found = service.match(ClientPlace(address=str(client)))
    assert (found is None) == (not lengths)
    if found is not None:
        assert client in ip_network(found.prefixes[0])
        assert ip_network(found.prefixes[0]).prefixlen == max(lengths)


# --- epochs -----------------------------------------------------------------------------------------


def part(epoch: int, number: int = 0, parts: int = 1, **changes: Any) -> messages.AssignmentsChanged:
    """A part that assigns one group of its own: helper `epoch` (at most 9) first, the one after it as backup."""
    assigned = messages.Assigned(
        service="echo",
        group=f"g{number}",
        site=f"s{number}",
        prefixes=(),
        primary=min(epoch, 9),
        backup=min(epoch, 9) + 1,
    )
    values: dict[str, Any] = {
        "event_id": uuid4(),
        "at": datetime.now(UTC),
        "epoch": epoch,
        "placement_id": PLACEMENT_ID,
        "part": number,
        "parts": parts,
        "assignments": (assigned,),
        "helpers": (),
    }
    return messages.AssignmentsChanged(**(values | changes))


async def take(assignments: Assignments, *parts: messages.AssignmentsChanged) -> None:
    for one in parts:
        await assignments.on_changed("", one)


async def in_force(assignments: Assignments, service: str = "echo") -> tuple[int | None, list[tuple[str, int]]]:
    """The epoch, and the groups of its first three parts with their primaries."""
    found = await assignments.of_service(service)
    matches = [found.match(ClientPlace(group=f"g{number}")) for number in range(3)]
    return found.epoch, [(match.group, match.primary) for match in matches if match]


async def rows(context: Context) -> tuple[int, int, int]:
    async with context.database.transaction() as connection:
        counts = [
            await connection.scalar(select(func.count()).select_from(table))
            for table in (assignment_epochs, assignment_parts, assignments_table)
        ]
    return counts[0] or 0, counts[1] or 0, counts[2] or 0


async def test_an_epoch_counts_once_all_its_parts_came(assignments: Assignments, context: Context) -> None:
    assert await in_force(assignments) == (None, [])
    await take(assignments, part(4))
    assert await in_force(assignments) == (4, [("g0", 4)])
    await take(assignments, part(6, 2, 3), part(6, 0, 3))
    assert await in_force(assignments) == (4, [("g0", 4)])
    await take(assignments, part(6, 1, 3))
    assert await in_force(assignments) == (6, [("g0", 6), ("g1", 6), ("g2", 6)])
    assert await in_force(assignments, "other") == (6, [])
    assert await rows(context) == (1, 3, 3)


async def test_repeated_and_late_parts_change_nothing(assignments: Assignments, context: Context) -> None:
    await take(assignments, part(5, 0, 2), part(5, 0, 2), part(5, 0, 2))
    assert await in_force(assignments) == (None, [])
    await take(assignments, part(5, 1, 2), part(5, 0, 2), part(5, 1, 2), part(3), part(5, placement_id=uuid4()))
    assert await in_force(assignments) == (5, [("g0", 5), ("g1", 5)])
    assert await rows(context) == (1, 2, 2)
    counted = {"activated": 1, "parts": 2, "duplicate": 5, "outdated": 1}
    assert dict(assignments.counters) == counted


async def test_parts_that_contradict_each_other_are_counted_and_do_no_harm(assignments: Assignments) -> None:
    await take(assignments, part(5, 0, 2), part(5, 1, 3), part(5, 1, 2, placement_id=uuid4()), part(7, 2, 2))
    assert assignments.counters["contradictory"] == 3
    assert await in_force(assignments) == (None, [])
    await take(assignments, part(5, 1, 2))
    assert await in_force(assignments) == (5, [("g0", 5), ("g1", 5)])


async def test_epochs_that_never_become_whole_do_not_pile_up(assignments: Assignments, context: Context) -> None:
    await take(assignments, part(1), *(part(epoch, 0, 2) for epoch in range(2, 40)))
    assert (await rows(context))[0] == 5  # the one in force, and four that may still come
    await take(assignments, part(39, 1, 2))
    assert await in_force(assignments) == (39, [("g0", 9), ("g1", 9)])
    assert await rows(context) == (1, 2, 2)


async def test_parts_that_come_at_once_are_one_epoch(assignments: Assignments, context: Context) -> None:
    parts = [part(9, number % 3, 3) for number in range(9)] + [part(8, number, 2) for number in range(2)]
    other_process = Assignments(context, age_s_max=0)
    await asyncio.gather(*((assignments, other_process)[n % 2].on_changed("", one) for n, one in enumerate(parts)))
    assert await in_force(other_process) == (9, [("g0", 9), ("g1", 9), ("g2", 9)])


async def test_an_epoch_without_assignments_takes_all_back(assignments: Assignments) -> None:
    await take(assignments, part(1), part(2, assignments=()))
    assert await in_force(assignments) == (2, [])


async def test_another_process_follows_within_the_age_of_answers(assignments: Assignments, context: Context) -> None:
    reader = Assignments(context, age_s_max=0)
    await take(assignments, part(1))
    assert await in_force(reader) == (1, [("g0", 1)])
    held = await reader.of_service("echo")
    assert await reader.of_service("echo") is held, "an epoch is read once"
    await take(assignments, part(2))
    assert await in_force(reader) == (2, [("g0", 2)])


async def test_without_a_database_a_part_is_not_lost(assignments: Assignments, context: Context) -> None:
    """The handler raises, so NATS brings the part again."""
    await context.database.close()
    context.database._engine = type(context.database)("postgresql://x@127.0.0.1:1/d", name="t")._engine
    with pytest.raises(DatabaseUnavailable):
        await take(assignments, part(1))


# --- what clients are told ----------------------------------------------------------------------------


async def offered(resolver: Resolver, place: ClientPlace = ClientPlace(group="g0")) -> list[tuple[int, int]]:  # noqa: B008
    resolved = await resolver.by_service("echo", "c", place)
    return [(one.helper.helper_id, one.rank) for one in resolved.helpers]


async def some_helpers(helpers: Helpers, servers: Servers, count: int = 4) -> None:
    for number in range(1, count + 1):
        await serving(helpers, f"h{number}")
    await register_server(servers)


async def test_assigned_helpers_come_first_and_have_their_ranks(
    helpers: Helpers, servers: Servers, resolver: Resolver, assignments: Assignments
) -> None:
    await some_helpers(helpers, servers, 12)
    await take(assignments, part(7))
    found = await offered(resolver)
    assert found[:2] == [(7, 0), (8, 1)]
    assert [rank for _, rank in found[2:]] == [2] * (HELPERS_OFFERED_MAX - 2)
    assert (await resolver.by_service("echo", "c", ClientPlace(group="g0"))).assignment_epoch == 7
    stranger = await resolver.by_service("echo", "c", ClientPlace(group="other"))
    assert ({one.rank for one in stranger.helpers}, stranger.assignment_epoch) == ({0}, None)


async def test_an_assigned_helper_that_is_not_usable_is_absent(
    helpers: Helpers, servers: Servers, resolver: Resolver, assignments: Assignments
) -> None:
    await some_helpers(helpers, servers)
    await take(assignments, part(1))
    await helpers.order_drain(1)
    assert [(helper_id, rank) for helper_id, rank in await offered(resolver) if rank < 2] == [(2, 1)]
    await helpers.leave(2, 1)
    assert sorted(await offered(resolver)) == [(3, 2), (4, 2)]


async def say(verdicts: HelperVerdicts, helper_id: int, verdict: Any, serial: int = 1, **changes: Any) -> None:
    values = {"incarnation": 1, "at": datetime.now(UTC), "reason": "test"} | changes
    message = messages.HelperVerdict(helper_id=helper_id, verdict=verdict, serial=serial, **values)
    await verdicts.on_verdict("", message)


async def test_verdicts_take_helpers_off_the_list_or_to_its_end(
    helpers: Helpers, servers: Servers, resolver: Resolver, assignments: Assignments, verdicts: HelperVerdicts
) -> None:
    await some_helpers(helpers, servers, 3)
    await take(assignments, part(1))
    await say(verdicts, 1, "suspect")
    await say(verdicts, 3, "down")
    assert await offered(resolver) == [(2, 1), (1, RANK_SUSPECT)]
    await say(verdicts, 1, "up", serial=2)
    assert await offered(resolver) == [(1, 0), (2, 1)]
    await say(verdicts, 1, "down", serial=3)
    await say(verdicts, 2, "down")
    assert await offered(resolver) == [], "the direct path is what remains"
    await serving(helpers, "h3")
    assert await offered(resolver) == [(3, 2)], "a verdict says nothing of another incarnation"


async def test_a_verdict_goes_stale_and_late_ones_do_not_count() -> None:
    now_s = 100.0
    verdicts = HelperVerdicts(clock=lambda: now_s)
    await say(verdicts, 1, "down", serial=7, lasts_s=5.0)
    await say(verdicts, 1, "up", serial=6)
    assert verdicts.on_helper(1, 1) == "down"
    now_s = 104.0
    await say(verdicts, 1, "down", serial=7, lasts_s=5.0)  # each second while it is not up
    now_s = 108.9
    assert verdicts.on_helper(1, 1) == "down"
    now_s = 109.0
    assert verdicts.on_helper(1, 1) == "up"
    await say(verdicts, 1, "suspect", serial=1)  # a health that began anew, long after
    assert verdicts.on_helper(1, 1) == "suspect"


# --- over NATS and HTTP -------------------------------------------------------------------------------


async def test_the_whole_way_from_nats_to_the_answer(registry: Registry, nats_server: EmbeddedNats) -> None:
    agent, bus = registry.client("agent"), Bus(nats_server.url, name="placement and health")
    await bus.start()
    assert await bus.wait_connected(10)
    body = {"data_address": "198.18.0.10", "workers": 1, "version": "1"}
    for name in ("h1", "h2", "h3"):
        grant = (await agent.post("/v1/helpers", json=body | {"name": name})).json()
        path = f"/v1/helpers/{grant['helper_id']}/lease"
        await agent.put(path, json={"incarnation": grant["incarnation"], "state": "up"})
    server = {"service": "echo", "host": "e", "tcp_port": 7, "data_address": "198.18.0.9", "udp_port": 7}
    await agent.post("/v1/servers", json=server | {"site": "west"})
    assert (await registry.client("viewer").get("/v1/servers")).json()["items"][0]["site"] == "west"

    async def resolve(**query: str) -> tuple[int | None, Sequence[tuple[int, int]]]:
        answer = rest.Resolution.model_validate(
            (await agent.get("/v1/resolve", params={"service": "echo", **query})).json()
        )
        return answer.assignment_epoch, [(one.helper_id, one.rank) for one in answer.helpers]

    # Its own epochs are above those of other tests: the stream is shared by all tests of the run.
    epoch = 1 + int(datetime.now(UTC).timestamp())
    assigned = messages.Assigned(service="echo", group="g", site="east", primary=3, backup=1)
    for number in (1, 0, 1):
        message = part(epoch, number, 2, assignments=(assigned,) if number else ())
        await bus.publish_durable(
            subjects.assignment_fact("changed"), message.model_dump_json().encode(), message_id=str(message.event_id)
        )
    wanted = (epoch, [(3, 0), (1, 1), (2, 2)])
    await until(lambda: resolve(group="g"), lambda found: found == wanted, 30)
    assert await resolve(site="east") == wanted
    assert (await resolve(site="west"))[0] is None
    lease = await agent.put("/v1/helpers/1/lease", json={"incarnation": 1, "state": "up"})
    assert rest.HelperLease.model_validate(lease.json()).assignment_epoch == epoch

    async def verdict(name: str, serial: int) -> None:
        message = messages.HelperVerdict(
            helper_id=3, incarnation=1, serial=serial, verdict=name, at=datetime.now(UTC), reason="test"
        )
        await bus.publish(subjects.helper_verdict(3), message)

    await verdict("down", 1)
    await until(lambda: resolve(group="g"), lambda found: found[1] == [(1, 1), (2, 2)])
    await verdict("up", 2)
    await until(lambda: resolve(group="g"), lambda found: found == wanted)
    await bus.stop()
