# SPDX-License-Identifier: Apache-2.0
"""The bus and the outbox against a real NATS and a real Postgres, both of which go away in the middle."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import nats
import pytest
import structlog.testing
from pydantic import BaseModel
from sqlalchemy import MetaData, func, select, text
from sqlalchemy.exc import DBAPIError

from postman_kit.bus import Bus, BusUnavailable, Stream
from postman_kit.db import Database, DatabaseUnavailable
from postman_kit.embedded import EmbeddedNats, EmbeddedPostgres
from postman_kit.outbox import OutboxPublisher, outbox_add, outbox_table

OUTBOX = outbox_table(MetaData(), "public")
STREAM = Stream("TEST", ("test.fact.>",))


class Note(BaseModel):
    v: int = 1
    text: str


async def eventually(condition: Callable[[], object], timeout_s: float = 15.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 # what is polled is another process
            await asyncio.sleep(0.01)


@pytest.fixture
def own_nats(tmp_path: Path) -> EmbeddedNats:
    """A NATS that the test may stop."""
    return EmbeddedNats(tmp_path / "nats")


@pytest.fixture
async def bus(nats_server: EmbeddedNats) -> AsyncIterator[Bus]:
    bus = Bus(nats_server.url, name="test")
    await bus.start()
    assert await bus.wait_connected(10)
    yield bus
    await bus.stop()


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url, name="test", connections_max=4)
    async with database.transaction() as connection:
        await connection.run_sync(OUTBOX.metadata.create_all)
    yield database
    await database.close()


async def write(database: Database, *texts: str, now: datetime | None = None, fail: bool = False) -> list[UUID]:
    ids = [uuid4() for _ in texts]
    async with database.transaction() as connection:
        for event_id, content in zip(ids, texts, strict=True):
            await outbox_add(
                connection,
                OUTBOX,
                event_id=event_id,
                subject="test.fact.note",
                message=Note(text=content),
                now=now or datetime.now(UTC),
            )
        if fail:
            raise RuntimeError("told to")
    return ids


async def waiting(database: Database) -> int:
    async with database.transaction() as connection:
        return await connection.scalar(select(func.count()).select_from(OUTBOX)) or 0


async def stored(url: str) -> list[str]:
    """What the stream has kept, in order."""
    client = await nats.connect(url)
    try:
        jetstream = client.jetstream()
        info = await jetstream.stream_info(STREAM.name)
        kept = [await jetstream.get_msg(STREAM.name, seq) for seq in range(1, info.state.last_seq + 1)]
        return [Note.model_validate_json(message.data or b"").text for message in kept]
    finally:
        await client.close()


async def test_typed_messages_arrive_and_malformed_ones_are_counted(bus: Bus, nats_server: EmbeddedNats) -> None:
    got: list[tuple[str, Note]] = []

    async def on_note(subject: str, note: Note) -> None:
        if note.text == "fail":
            raise RuntimeError("told to")
        got.append((subject, note))

    await bus.subscribe("typed.*", Note, on_note)
    client = await nats.connect(nats_server.url)
    malformed = [b"", b"{", b"[]", b'{"v": 1}', b"\xff" * 9, b'{"text": "' + b"x" * 70_000 + b'"}']
    for data in malformed:
        await client.publish("typed.a", data)
    await client.close()
    await bus.publish("typed.a", Note(text="fail"))
    await bus.publish("typed.b", Note(text="good"))
    await eventually(lambda: got)
    assert got == [("typed.b", Note(text="good"))]
    await eventually(lambda: bus.counters["malformed"] == len(malformed))
    assert bus.counters["failed"] == 1


async def test_start_does_not_wait_and_everything_is_made_once_nats_is_there(own_nats: EmbeddedNats) -> None:
    own_nats.start()
    url = own_nats.url
    own_nats.stop()
    bus, got = Bus(url, name="test"), []

    async def on_note(_: str, note: Note) -> None:
        got.append(note.text)

    await bus.subscribe("early", Note, on_note)
    await bus.ensure_stream(STREAM)
    async with asyncio.timeout(1):
        await bus.start()
    assert not await bus.publish("early", Note(text="lost"))
    assert bus.counters["dropped"] == 1
    with pytest.raises(BusUnavailable):
        await bus.publish_durable("test.fact.x", b"{}", message_id="1")
    with own_nats:
        assert await bus.wait_connected(15)
        assert await bus.publish("early", Note(text="heard"))
        await bus.publish_durable("test.fact.x", b"{}", message_id="1")
        await eventually(lambda: got == ["heard"])
        await bus.stop()


async def test_an_absent_nats_is_told_without_its_password_and_not_each_time() -> None:
    with structlog.testing.capture_logs() as lines:
        bus = Bus("nats://u:s3cret@127.0.0.1:1", name="test")
        await bus.start()
        await eventually(lambda: [line["failures"] for line in lines if "failures" in line][:3] == [1, 2, 4])
        await bus.stop()
    assert "s3cret" not in repr(lines)


async def test_subscriptions_and_streams_survive_a_restart_of_nats(own_nats: EmbeddedNats) -> None:
    got: list[str] = []

    async def on_note(_: str, note: Note) -> None:
        got.append(note.text)

    with own_nats:
        bus = Bus(own_nats.url, name="test")
        await bus.subscribe("note", Note, on_note)
        await bus.ensure_stream(STREAM)
        await bus.start()
        assert await bus.wait_connected(10)
        assert own_nats.pid
        os.kill(own_nats.pid, signal.SIGKILL)
        await eventually(lambda: not bus.is_connected and own_nats.pid is None)
        own_nats.start()
        await eventually(lambda: bus.is_connected)
        await bus.publish("note", Note(text="after"))
        await eventually(lambda: got == ["after"])
        await bus.publish_durable("test.fact.x", b"{}", message_id="1")
        await bus.stop()


async def test_a_wrong_password_is_tried_again_and_stop_is_quick(nats_server: EmbeddedNats) -> None:
    bus = Bus(nats_server.url.replace("postman:", "postman:wrong"), name="test")
    await bus.start()
    assert not await bus.wait_connected(0.5)
    async with asyncio.timeout(5):
        await bus.stop()


async def test_the_outbox_publishes_after_commit_in_order_once(database: Database, own_nats: EmbeddedNats) -> None:
    with own_nats:
        own_bus = Bus(own_nats.url, name="test")
        await own_bus.ensure_stream(STREAM)
        await own_bus.start()
        assert await own_bus.wait_connected(10)
        publisher = OutboxPublisher(database, OUTBOX, own_bus)
        with pytest.raises(RuntimeError, match="told to"):
            await write(database, "rolled back", fail=True)
        texts = [str(number) for number in range(250)]
        ids = await write(database, *texts)
        await own_bus.publish_durable(  # as if an earlier publisher had died between publishing and removing
            "test.fact.note", Note(text="0").model_dump_json().encode(), message_id=str(ids[0])
        )
        task = asyncio.create_task(publisher.run())
        publisher.wake()
        await eventually(lambda: publisher.counters["published"] == 250)
        assert await stored(own_nats.url) == texts
        assert await waiting(database) == 0
        task.cancel()
        await own_bus.stop()


async def test_the_outbox_waits_for_nats(database: Database, own_nats: EmbeddedNats) -> None:
    with own_nats:
        bus = Bus(own_nats.url, name="test")
        await bus.ensure_stream(STREAM)
        await bus.start()
        assert await bus.wait_connected(10)
        publisher = OutboxPublisher(database, OUTBOX, bus)
        task = asyncio.create_task(publisher.run())
        await write(database, "before")
        publisher.wake()
        await eventually(lambda: publisher.counters["published"] == 1)
        own_nats.stop()
        await write(database, "during 1", "during 2")
        publisher.wake()
        await eventually(lambda: not bus.is_connected)
        assert await waiting(database) == 2
        own_nats.start()
        await eventually(lambda: publisher.counters["published"] == 3)
        assert await stored(own_nats.url) == ["before", "during 1", "during 2"]
        task.cancel()
        await bus.stop()


async def test_the_outbox_and_the_database_survive_a_killed_postgres(tmp_path: Path, own_nats: EmbeddedNats) -> None:
    with EmbeddedPostgres(tmp_path / "pg") as postgres, own_nats:
        database, bus = Database(postgres.url, name="test"), Bus(own_nats.url, name="test")
        await bus.ensure_stream(STREAM)
        await bus.start()
        assert await bus.wait_connected(10)
        async with database.transaction() as connection:
            await connection.run_sync(OUTBOX.metadata.create_all)
        publisher = OutboxPublisher(database, OUTBOX, bus)
        await write(database, "committed")
        assert postgres.pid
        os.kill(postgres.pid, signal.SIGKILL)
        with pytest.raises(DatabaseUnavailable):
            await asyncio.wait_for(_until_away(database), 15)
        task = asyncio.create_task(publisher.run())
        await eventually(lambda: postgres.pid is None)  # its connections go before it
        postgres.start()
        async with asyncio.timeout(15):
            await database.wait_ready()
        await eventually(lambda: publisher.counters["published"] == 1)
        assert await stored(own_nats.url) == ["committed"]
        task.cancel()
        await bus.stop()
        await database.close()


async def _until_away(database: Database) -> None:
    while True:
        await database.check()


async def test_facts_too_old_to_matter_are_dropped_and_counted(database: Database, bus: Bus) -> None:
    await bus.ensure_stream(STREAM)
    publisher = OutboxPublisher(database, OUTBOX, bus, age_max=timedelta(hours=1))
    await write(database, "old", now=datetime.now(UTC) - timedelta(hours=2))
    await write(database, "new")
    assert await publisher.publish_batch() == 1
    assert publisher.counters["expired"] == 1


async def test_a_statement_that_is_wrong_is_not_an_outage(database: Database) -> None:
    with pytest.raises(Exception, match="nothing_here") as caught:
        async with database.transaction() as connection:
            await connection.execute(text("SELECT * FROM nothing_here"))
    assert not isinstance(caught.value, DatabaseUnavailable)


async def test_keys_in_a_statement_are_not_in_its_error(database: Database) -> None:
    with pytest.raises(DBAPIError) as caught:
        async with database.transaction() as connection:
            await connection.execute(text("INSERT INTO no_such_table VALUES (:key)"), {"key": "s3cret"})
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("wrong", ["password", "database"])
async def test_what_an_operator_can_repair_meanwhile_is_an_outage(database_url: str, wrong: str) -> None:
    parts = urlsplit(database_url)
    place = f"postman:s3cret@{parts.hostname}:{parts.port}"
    url = f"{database_url}x" if wrong == "database" else parts._replace(netloc=place).geturl()
    database = Database(url, name="test")
    with pytest.raises(DatabaseUnavailable) as caught:
        await database.check(5.0)
    await database.close()
    assert wrong in str(caught.value)
    assert "s3cret" not in str(caught.value)
