# SPDX-License-Identifier: Apache-2.0
"""Putting placements in force: once, in order, refused when stale; the messages that say so; who is prepared."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from placement_parts import (
    DEMAND,
    DEMANDS,
    TOPOLOGY,
    Mesh,
    Placement,
    Registry,
    placement_of,
    problem,
    running_placement,
    until,
)
from sqlalchemy import select

from postman_contracts import messages, rest, subjects
from postman_contracts.messages import ASSIGNMENTS_PER_PART_MAX, Assigned, AssignmentsChanged, HelperRole
from postman_contracts.problems import ProblemType
from postman_kit.bus import MESSAGE_BYTES_MAX, Bus
from postman_kit.db import Database
from postman_kit.embedded import EmbeddedNats
from postman_placement.bus import Acknowledgements
from postman_placement.facts import parts_of
from postman_placement.snapshot import HELPERS_MAX
from postman_placement.tables import outbox

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest_asyncio.fixture(loop_scope="session")
async def helpers(registry: Registry, placement: Placement) -> list[int]:
    await placement.put_inputs()
    return [await registry.helper("one", "h1"), await registry.helper("two", "h2")]


@pytest_asyncio.fixture(loop_scope="session")
async def bus(nats_server: EmbeddedNats) -> AsyncIterator[Bus]:
    bus = Bus(nats_server.url, name="listener")
    await bus.start()
    assert await bus.wait_connected(10)
    yield bus
    await bus.stop()


@pytest_asyncio.fixture(loop_scope="session")
async def heard(bus: Bus) -> list[AssignmentsChanged]:
    """What anybody says of assignments, of other tests too."""
    parts: list[AssignmentsChanged] = []

    async def on_part(_: str, part: AssignmentsChanged) -> None:
        parts.append(part)

    await bus.subscribe(subjects.ASSIGNMENT_FACTS_ALL, AssignmentsChanged, on_part)
    return parts


def of(placement_id: UUID) -> Callable[[list[AssignmentsChanged]], list[AssignmentsChanged]]:
    return lambda parts: [part for part in parts if part.placement_id == placement_id]


# --- once, in order ---------------------------------------------------------------------------------


async def test_to_apply_again_changes_nothing(
    placement: Placement, helpers: list[int], heard: list[AssignmentsChanged]
) -> None:
    made = await placement.make()
    first = await placement.apply(made.placement_id)
    answers = await asyncio.gather(*(placement.apply(made.placement_id) for _ in range(5)))
    assert {(one.epoch, one.applied_at) for one in answers} == {(first.epoch, first.applied_at)}
    parts = await until(lambda: of(made.placement_id)(heard), len)
    assert [(part.epoch, part.part, part.parts) for part in parts] == [(first.epoch, 0, 1)]
    (assigned,) = parts[0].assignments
    assert (assigned.service, assigned.group, assigned.site) == ("echo", "g", "c")
    assert (assigned.primary, assigned.backup) == tuple(helpers)
    assert parts[0].helpers == (
        HelperRole(helper_id=helpers[0], role="primary", rate_pps=100),
        HelperRole(helper_id=helpers[1], role="backup", rate_pps=0),
    )


async def test_many_at_once_apply_once(placement: Placement, helpers: list[int]) -> None:
    made = await placement.make()
    answers = await asyncio.gather(*(placement.apply(made.placement_id) for _ in range(6)))
    assert len({one.epoch for one in answers}) == 1


async def test_each_placement_takes_the_next_epoch_and_the_place_of_the_one_before(
    placement: Placement, helpers: list[int]
) -> None:
    first, second = await placement.make(), await placement.make(excluded_helpers=[helpers[0]])
    epoch = (await placement.apply(first.placement_id)).epoch
    assert epoch
    assert (await placement.apply(second.placement_id)).epoch == epoch + 1
    superseded = await placement.get(first.placement_id)
    assert (superseded.state, superseded.epoch) == ("superseded", epoch)
    assert {helper.is_acknowledged for helper in superseded.helpers} == {None}
    operator = placement.client("operator")
    refused = await operator.post(f"/v1/placements/{first.placement_id}/apply")
    assert f"epoch {epoch} " in problem(refused, ProblemType.STALE_PLACEMENT, 409).detail
    answer = (await operator.get("/v1/assignments")).json()
    assert (answer["epoch"], answer["placement_id"]) == (epoch + 1, str(second.placement_id))
    assert [item["primary"] for item in answer["items"]] == [helpers[1]]


async def test_different_ones_at_once_take_one_epoch_each(placement: Placement, helpers: list[int]) -> None:
    made = [await placement.make() for _ in range(3)]
    applied = await asyncio.gather(*(placement.apply(one.placement_id) for one in made))
    epochs = sorted(one.epoch or 0 for one in applied)
    assert epochs == list(range(epochs[0], epochs[0] + 3))
    in_force = max(applied, key=lambda one: one.epoch or 0)
    states = {one.placement_id: (await placement.get(one.placement_id)).state for one in made}
    assert [found for found, state in states.items() if state == "applied"] == [in_force.placement_id]


async def test_an_epoch_that_the_registry_has_is_passed_also_by_a_database_that_was_lost(
    placement: Placement, registry: Registry, helpers: list[int], bus: Bus
) -> None:
    async def at_registry() -> int | None:
        page = rest.HelperPage.model_validate((await registry.client("viewer").get("/v1/helpers")).json())
        return page.assignment_epoch

    made = await placement.make()
    epoch = ((await at_registry()) or 0) + 100
    (part,) = parts_of(uuid4(), epoch, [], [], now=datetime.now(UTC))
    payload = part.model_dump_json().encode()
    await bus.publish_durable(subjects.assignment_fact("changed"), payload, message_id=str(part.event_id))
    await until(at_registry, lambda found: found == epoch)
    assert (await placement.apply(made.placement_id)).epoch == epoch + 1
    await until(at_registry, lambda found: found == epoch + 1)


async def test_the_registry_resolves_by_what_is_in_force(
    placement: Placement, registry: Registry, helpers: list[int]
) -> None:
    await registry.server("echo", "s")
    agent = registry.client("agent")

    async def resolved() -> tuple[int | None, list[tuple[int, int]]]:
        answer = rest.Resolution.model_validate((await agent.get("/v1/resolve?service=echo&group=g")).json())
        return answer.assignment_epoch, [(helper.helper_id, helper.rank) for helper in answer.helpers]

    first, second = await placement.make(), await placement.make(excluded_helpers=[helpers[0]])
    epoch = (await placement.apply(first.placement_id)).epoch
    assert epoch
    await until(resolved, lambda found: found == (epoch, [(helpers[0], 0), (helpers[1], 1)]))
    await placement.apply(second.placement_id)
    await until(resolved, lambda found: found == (epoch + 1, [(helpers[1], 0), (helpers[0], 2)]))


# --- stale ------------------------------------------------------------------------------------------


async def test_what_was_made_of_other_inputs_is_stale(
    placement: Placement, registry: Registry, helpers: list[int]
) -> None:
    operator = placement.client("operator")

    async def refused(placement_id: UUID) -> str:
        answer = await operator.post(f"/v1/placements/{placement_id}/apply")
        return problem(answer, ProblemType.STALE_PLACEMENT, 409).detail

    made = await placement.make()
    await placement.put_inputs(demands={"items": [DEMAND | {"rate_pps": 200}]})
    assert "the demands changed (version 2, it was 1)" in await refused(made.placement_id)
    made = await placement.make()
    await placement.put_inputs(TOPOLOGY | {"links": TOPOLOGY["links"][:2]}, {"items": [DEMAND | {"rate_pps": 200}]})
    assert "the topology changed (version 2, it was 1)" in await refused(made.placement_id)
    await placement.put_inputs()
    made = await placement.make()
    third = await registry.helper("three", "h2")
    assert f"helper {third} usable since" in await refused(made.placement_id)
    made = await placement.make()
    await registry.end_helper(helpers[0])
    detail = await refused(made.placement_id)
    assert f"helper {helpers[0]} not usable any more" in detail
    assert "POST /v1/placements" in detail
    assert (await operator.get("/v1/assignments")).json()["epoch"] is None
    assert (await placement.apply((await placement.make()).placement_id)).state == "applied"


async def test_what_changes_nothing_makes_nothing_stale(
    placement: Placement, registry: Registry, helpers: list[int]
) -> None:
    made = await placement.make()
    await placement.put_inputs(TOPOLOGY, DEMANDS)
    await registry.helper("one", "h1")  # its next incarnation: the same helper
    measured = {"a": "c", "b": "h1", "rtt_us": 900, "at": "2026-01-01T00:00:00Z"}
    assert (await placement.client("agent").post("/v1/measurements", json={"items": [measured]})).status_code == 200
    assert (await placement.apply(made.placement_id)).state == "applied"


# --- messages ---------------------------------------------------------------------------------------


async def test_an_epoch_of_many_assignments_comes_in_parts(
    placement: Placement, helpers: list[int], heard: list[AssignmentsChanged]
) -> None:
    items = [
        DEMAND | {"group": f"group-{number:03}", "rate_pps": 1, "prefixes": [f"198.18.{number}.0/24"]}
        for number in range(230)
    ]
    await placement.put_inputs(demands={"items": items})
    made = await placement.make()
    await placement.apply(made.placement_id)
    parts = await until(lambda: of(made.placement_id)(heard), lambda found: len(found) == 3)
    assert [(part.part, part.parts, len(part.assignments)) for part in parts] == [(0, 3, 100), (1, 3, 100), (2, 3, 30)]
    assert len({part.event_id for part in parts}) == 3
    assert {part.helpers for part in parts} == {parts[0].helpers}
    groups = [one.group for part in parts for one in part.assignments]
    assert groups == [item["group"] for item in items]
    assert parts[0].assignments[7].prefixes == ("198.18.7.0/24",)


def test_every_part_fits_a_message() -> None:
    choose = random.Random(1)
    helpers = [
        HelperRole(helper_id=65535 - number, role="primary", rate_pps=123456789012.34567)
        for number in range(HELPERS_MAX)
    ]
    for count in (0, 1, 99, 100, 101, 500):
        assigned = [
            Assigned(
                service="s" * 63,
                group=f"{number:063}",
                site="x" * 63,
                prefixes=tuple(f"2001:db8:1111:2222:3333:4444:5555:{bit:x}/128" for bit in range(choose.randrange(65))),
                primary=65535,
                backup=65534,
            )
            for number in range(count)
        ]
        for named in (helpers, helpers[:2]):
            parts = parts_of(uuid4(), 1, assigned, named, now=NOW)
            assert [one for part in parts for one in part.assignments] == assigned
            assert [(part.part, part.parts) for part in parts] == [(n, len(parts)) for n in range(len(parts))]
            for part in parts:
                assert len(part.model_dump_json()) <= MESSAGE_BYTES_MAX
                assert len(part.assignments) <= ASSIGNMENTS_PER_PART_MAX
                assert part.helpers == tuple(named)


async def test_the_trace_of_apply_goes_on_in_the_message(placement: Placement, helpers: list[int], bus: Bus) -> None:
    made = await placement.make()
    traces: list[int] = []

    async def on_part(_: str, part: AssignmentsChanged) -> None:
        if part.placement_id == made.placement_id:
            traces.append(trace.get_current_span().get_span_context().trace_id)

    await bus.subscribe(subjects.ASSIGNMENT_FACTS_ALL, AssignmentsChanged, on_part)
    applying = placement.app.state.services.applying
    with TracerProvider().get_tracer("test").start_as_current_span("apply") as span:
        await applying.apply(made.placement_id)
    await until(lambda: traces, len)
    assert traces == [span.get_span_context().trace_id]


async def test_the_epoch_in_force_is_said_again_at_start(
    mesh: Mesh,
    helpers: list[int],
    nats_server: EmbeddedNats,
    heard: list[AssignmentsChanged],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    placement, registry = mesh.placement, mesh.registry
    made = await placement.make()
    await placement.apply(made.placement_id)
    (first,) = await until(lambda: of(made.placement_id)(heard), len)
    state = tmp_path_factory.mktemp("second")
    keys = {"api_key": registry.key("viewer")}
    async with running_placement(state, mesh.database_url, nats_server.url, registry.url, **keys) as second:
        parts = await until(lambda: of(made.placement_id)(heard), lambda found: len(found) == 2)
        assert parts == [first, first]
        assert (await second.get(made.placement_id)).state == "applied"


async def test_what_still_waits_is_not_written_twice(registry: Registry, database_url: str, tmp_path: Path) -> None:
    await registry.helper("one", "h1")
    keys = {"api_key": registry.key("viewer")}
    async with running_placement(tmp_path, database_url, "nats://127.0.0.1:9", registry.url, **keys) as placement:
        await placement.put_inputs()
        epoch = (await placement.apply((await placement.make()).placement_id)).epoch
        for _ in range(2):
            assert await placement.app.state.services.applying.publish_again() == epoch
    database = Database(database_url, name="test")
    async with database.transaction() as connection:
        assert len((await connection.execute(select(outbox.c.event_id))).all()) == 1
    await database.close()


# --- who is prepared --------------------------------------------------------------------------------


def beat(helper_id: int, epoch: int | None, incarnation: int = 1) -> messages.HelperHeartbeat:
    return messages.HelperHeartbeat(
        helper_id=helper_id, incarnation=incarnation, state="up", at=NOW, assignment_epoch=epoch
    )


async def test_helpers_acknowledge_by_heartbeat(placement: Placement, helpers: list[int], bus: Bus) -> None:
    made = await placement.make()
    epoch = (await placement.apply(made.placement_id)).epoch
    assert epoch

    async def prepared(*epochs: int | None) -> list[bool | None]:
        for helper_id, epoch in zip(helpers, epochs, strict=True):
            await bus.publish(subjects.helper_heartbeat(helper_id), beat(helper_id, epoch))
        found = await placement.get(made.placement_id)
        return [helper.is_acknowledged for helper in found.helpers]

    await until(lambda: prepared(epoch, None), lambda found: found == [True, False])
    await until(lambda: prepared(epoch, epoch), lambda found: found == [True, True])
    await until(lambda: prepared(None, epoch + 1), lambda found: found == [False, True])


async def test_an_old_heartbeat_acknowledges_nothing() -> None:
    now_s = 100.0
    acknowledgements = Acknowledgements(lambda: now_s)
    await acknowledgements.on_heartbeat("", beat(1, 3, incarnation=2))
    await acknowledgements.on_heartbeat("", beat(1, 9, incarnation=1))
    assert [acknowledgements.is_prepared(1, epoch) for epoch in (2, 3, 4)] == [True, True, False]
    assert not acknowledgements.is_prepared(2, 1)
    now_s += 6
    assert not acknowledgements.is_prepared(1, 3)
    await acknowledgements.on_heartbeat("", beat(1, 1, incarnation=1))
    assert acknowledgements.is_prepared(1, 1)


async def test_old_placements_are_forgotten_but_not_the_one_in_force(
    tmp_path_factory: pytest.TempPathFactory, database_url: str, nats_server: EmbeddedNats, registry: Registry
) -> None:
    state = tmp_path_factory.mktemp("few")
    keys = {"placement_kept_max": 2, "api_key": registry.key("viewer")}
    await registry.helper("one", "h1")
    async with running_placement(state, database_url, nats_server.url, registry.url, **keys) as placement:
        await placement.put_inputs()
        first = await placement.make()
        await placement.apply(first.placement_id)
        made = [(await placement.make()).placement_id for _ in range(3)]
        items = (await placement.client("viewer").get("/v1/placements")).json()["items"]
        assert [item["placement_id"] for item in items] == [str(made[2]), str(made[1]), str(first.placement_id)]
        gone = await placement.client("operator").post(f"/v1/placements/{made[0]}/apply")
        problem(gone, ProblemType.UNKNOWN_PLACEMENT, 404)
        assert placement_of(await placement.client("viewer").get(f"/v1/placements/{first.placement_id}"))
