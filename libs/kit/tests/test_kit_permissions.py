# SPDX-License-Identifier: Apache-2.0
"""What each NATS user may do, against a real server with an installation's configuration."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from uuid import uuid4

import nats
import nats.errors
import pytest
from nats.aio.client import Client

from postman_contracts import subjects
from postman_contracts.messages import AssignmentsChanged, HelperFact, HelperHeartbeat, VerdictFact
from postman_contracts.permissions import USERS
from postman_kit.bus import Bus, BusUnavailable
from postman_kit.embedded import EmbeddedNats
from postman_kit.facts import FACTS
from postman_kit.nats_config import NatsServer, render_nats_config

SERVICES = ("registry", "placement", "health")
HEARTBEAT, ORDER = subjects.helper_heartbeat(7), subjects.helper_order(7)
REPORT, VERDICT = subjects.helper_report(7), subjects.helper_verdict(7)
HELPER_DOWN, SERVER_UP = subjects.helper_fact("down"), subjects.server_fact("up")
VERDICT_DOWN, ASSIGNED = subjects.verdict_fact("down"), subjects.assignment_fact("changed")
ALL = (HEARTBEAT, ORDER, REPORT, VERDICT, HELPER_DOWN, SERVER_UP, VERDICT_DOWN, ASSIGNED)
STREAM_CALLS = tuple(f"$JS.API.STREAM.{call}.{FACTS.name}" for call in ("DELETE", "PURGE", "MSG.DELETE"))
MAY_SAY = {
    "registry": {ORDER, HELPER_DOWN, SERVER_UP},
    "placement": {ASSIGNED},
    "health": {VERDICT, VERDICT_DOWN},
    "helper": {HEARTBEAT, REPORT},
    "agent": set[str](),
}
MAY_HEAR = {
    "registry": {HEARTBEAT, VERDICT, ASSIGNED},
    "placement": {HEARTBEAT},
    "health": {HEARTBEAT, REPORT, HELPER_DOWN, SERVER_UP, VERDICT_DOWN, ASSIGNED},
    "helper": {ORDER, SERVER_UP, ASSIGNED},
    "agent": {VERDICT, HELPER_DOWN, SERVER_UP, VERDICT_DOWN, ASSIGNED},
}


@asynccontextmanager
async def connected(server: EmbeddedNats, user: str) -> AsyncIterator[tuple[Client, list[str]]]:
    """A client, and what the server refused it."""
    refusals: list[str] = []

    async def on_error(error: Exception) -> None:
        refusals.append(str(error).lower())

    client = await nats.connect(server.url_of(user), error_cb=on_error, inbox_prefix=f"_INBOX_{user}")
    try:
        yield client, refusals
    finally:
        await client.close()


async def permitted(client: Client, refusals: list[str], subject: str, *, publish: bool) -> bool:
    """Whether the server lets the client publish to this subject, or listen to it."""
    refusals.clear()
    if publish:
        await client.publish(subject, b"{}")
    else:
        await client.subscribe(subject)
    await client.flush()  # its ping overtakes what the client has not written yet; then that is written
    await client.flush()  # the server refuses before it answers this
    assert all(f'"{subject.lower()}"' in refusal for refusal in refusals)
    return not refusals


@pytest.mark.parametrize("user", USERS)
async def test_each_says_and_hears_what_it_must_and_nothing_else(nats_server: EmbeddedNats, user: str) -> None:
    async with connected(nats_server, user) as (client, refusals):
        said = {subject for subject in ALL if await permitted(client, refusals, subject, publish=True)}
        heard = {subject for subject in ALL if await permitted(client, refusals, subject, publish=False)}
    assert (said, heard) == (MAY_SAY[user], MAY_HEAR[user])


@pytest.mark.parametrize("user", USERS)
async def test_nobody_deletes_facts_or_listens_to_all(nats_server: EmbeddedNats, user: str) -> None:
    others = [f"{other.inbox_prefix}.>" for other in USERS.values() if other.name != user]
    async with connected(nats_server, user) as (client, refusals):
        for subject in (*STREAM_CALLS, "$SYS.REQ.SERVER.PING", "anything"):
            assert not await permitted(client, refusals, subject, publish=True), subject
        for subject in (">", "*.>", "_INBOX.>", "$JS.>", "$SYS.>", *others):
            assert not await permitted(client, refusals, subject, publish=False), subject
        assert await permitted(client, refusals, f"_INBOX_{user}.>", publish=False)


@pytest.mark.parametrize("user", ["helper", "agent"])
async def test_nodes_do_not_touch_the_stream(nats_server: EmbeddedNats, user: str) -> None:
    async with connected(nats_server, user) as (client, refusals):
        for call in ("STREAM.CREATE", "STREAM.UPDATE", "STREAM.INFO", "CONSUMER.CREATE", "CONSUMER.MSG.NEXT"):
            subject = f"$JS.API.{call}.{FACTS.name}" + (".x" if call.startswith("CONSUMER") else "")
            assert not await permitted(client, refusals, subject, publish=True), subject


@pytest.mark.parametrize("place", ["{host}", "agent@{host}", "agent:wrong@{host}", "nobody:x@{host}"])
async def test_nobody_enters_without_a_password(nats_server: EmbeddedNats, place: str) -> None:
    async def ignore(_: Exception) -> None:
        pass

    url = "nats://" + place.format(host=nats_server.url.rpartition("@")[2])
    with pytest.raises(nats.errors.Error, match=r"(?i)authorization"):
        await nats.connect(url, allow_reconnect=False, error_cb=ignore)


async def started(server: EmbeddedNats, user: str) -> Bus:
    bus = Bus(server.url_of(user), name=user)
    await bus.start()
    assert await bus.wait_connected(10)
    return bus


async def test_services_publish_and_consume_facts_with_their_rights(nats_server: EmbeddedNats) -> None:
    now = datetime.now(UTC)
    down = HelperFact(event_id=uuid4(), at=now, helper_id=7, incarnation=1, reason="test")
    verdict = VerdictFact(event_id=uuid4(), at=now, helper_id=7, incarnation=1, previous=None, reason="test")
    changed = AssignmentsChanged(
        event_id=uuid4(), at=now, epoch=1, placement_id=uuid4(), part=0, parts=1, assignments=(), helpers=()
    )
    buses = {name: await started(nats_server, name) for name in SERVICES}
    heard: dict[str, list[str]] = {name: [] for name in SERVICES}
    for name, bus in buses.items():

        async def on_fact(_: str, fact: AssignmentsChanged, into: list[str] = heard[name]) -> None:
            into.append(str(fact.event_id))

        await bus.ensure_stream(FACTS)
        await bus.subscribe_durable(
            FACTS, subjects.ASSIGNMENT_FACTS_ALL, AssignmentsChanged, on_fact, durable=f"test-{name}"
        )
    for name, subject, fact in (
        ("registry", HELPER_DOWN, down),
        ("health", VERDICT_DOWN, verdict),
        ("placement", ASSIGNED, changed),
    ):
        await buses[name].publish_durable(
            subject, fact.model_dump_json().encode(), message_id=str(fact.event_id), timeout_s=10.0
        )
    async with asyncio.timeout(20):
        while not all(str(changed.event_id) in events for events in heard.values()):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert [bus.counters["refused"] for bus in buses.values()] == [0, 0, 0]
    for bus in buses.values():
        await bus.stop()


async def test_what_is_refused_is_counted_and_not_stored(nats_server: EmbeddedNats) -> None:
    bus = await started(nats_server, "helper")
    with pytest.raises(BusUnavailable):
        await bus.publish_durable(HELPER_DOWN, b"{}", message_id=uuid4().hex, timeout_s=0.2)
    assert bus.counters["refused"] == 1
    beat = HelperHeartbeat(helper_id=7, incarnation=1, state="up", at=datetime.now(UTC))
    assert await bus.publish(HEARTBEAT, beat)
    await bus.stop()


def test_a_user_that_may_say_nothing_is_not_one_that_may_say_everything() -> None:
    config = json.loads(render_nats_config(NatsServer("127.0.0.1:0", "x"), dict.fromkeys(("postman", *USERS), "p")))
    users = {user["user"]: user for user in config["accounts"]["POSTMAN"]["users"]}
    assert users["agent"]["permissions"]["publish"] == {"deny": [">"]}
    assert [name for name, user in users.items() if "permissions" not in user] == ["postman"]
