# SPDX-License-Identifier: Apache-2.0
"""SQL: migrations forward and back, the history's filters, order and end."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from health_parts import NOW
from sqlalchemy import Connection, text

from postman_health import store, store_events
from postman_health.detector import Change
from postman_health.store_events import Filter, NewEvent, Unstorable
from postman_health.tables import SCHEMA, SCRIPTS, metadata
from postman_kit.db import Database
from postman_kit.migrate import migrate


@pytest.fixture
async def database(database_url: str) -> Any:
    database = Database(database_url, name="test")
    yield database
    await database.close()


def new_event(kind: str = "helper.up", helper_id: int | None = 1, **changes: Any) -> NewEvent:
    values = {"event_id": uuid4(), "kind": kind, "helper_id": helper_id, "server_id": None, "at": NOW}
    return NewEvent(**({"trace_id": None, "body": {"x": 1}} | values | changes))


async def add(database: Database, event: NewEvent, recorded_at: datetime = NOW) -> int | None:
    async with database.transaction() as connection:
        return await store_events.record(connection, event, recorded_at)


async def test_migrations_make_the_tables_and_take_them_back(database: Database) -> None:
    def differences(connection: Connection) -> list[Any]:
        options = {"include_schemas": True, "version_table_schema": SCHEMA}
        options["include_name"] = lambda name, kind, _: kind != "schema" or name == SCHEMA
        found = compare_metadata(MigrationContext.configure(connection, opts=options), metadata)
        return [each for each in found if each[0] != "remove_table" or each[1].name != "alembic_version"]

    async def tables() -> set[str]:
        query = text("SELECT tablename FROM pg_tables WHERE schemaname = 'health'")
        async with database.transaction() as connection:
            return set((await connection.execute(query)).scalars())

    await add(database, new_event())
    async with database.transaction() as connection:
        await store.save(connection, Change(1, 1, None, "down", "why", NOW, 5, 1, {}))
        assert await connection.run_sync(differences) == []
    await migrate(database, schema=SCHEMA, scripts=SCRIPTS, revision="base", back=True)
    assert await tables() == {"alembic_version"}
    await asyncio.gather(*(migrate(database, schema=SCHEMA, scripts=SCRIPTS) for _ in range(3)))
    assert await tables() == {table.name for table in metadata.tables.values()} | {"alembic_version"}


async def test_an_older_verdict_does_not_replace_a_newer(database: Database) -> None:
    for serial, verdict in ((5, "down"), (4, "suspect"), (6, "up")):
        async with database.transaction() as connection:
            await store.save(connection, Change(1, 1, None, verdict, "why", NOW, serial, 1, {}))
            kept = await store.load(connection)
        assert kept[0].verdict == ("down" if serial < 6 else "up")
    async with database.transaction() as connection:
        await store.forget(connection, 1)
        assert await store.load(connection) == []


async def test_pages_and_filters(database: Database) -> None:
    for number in range(1, 11):
        await add(database, new_event("helper.up" if number % 2 else "server.up", 1 if number < 6 else None))
    async with database.transaction() as connection:
        first = await store_events.page(connection, Filter(), 0, 4)
        rest = await store_events.page(connection, Filter(), first[-1].number, 100)
        assert [event.number for event in first + rest] == list(range(1, 11))
        found = await store_events.page(connection, Filter(kind="helper.up", helper_id=1), 1, 100)
        assert [event.number for event in found] == [3, 5]
        assert await store_events.page(connection, Filter(server_id=1), 0, 100) == []
        assert await store_events.newest_number(connection) == 10


async def test_the_registrys_last_word_on_each_helper(database: Database) -> None:
    for kind, helper_id in (("helper.up", 1), ("helper.up", 2), ("helper.down", 1), ("verdict.down", 2)):
        await add(database, new_event(kind, helper_id))
    async with database.transaction() as connection:
        found = await store_events.newest_helper_facts(connection)
    assert sorted(event.kind for event in found) == ["helper.down", "helper.up"]


async def test_old_events_go_in_small_batches(database: Database) -> None:
    now = datetime.now(UTC)
    for days in (40, 35, 31, 29, 0):
        await add(database, new_event(), now - timedelta(days=days))
    kept = timedelta(days=30)
    counts = []
    for _ in range(3):
        async with database.transaction() as connection:
            counts.append(await store_events.prune(connection, now, kept, 2))
    assert counts == [2, 1, 0]
    async with database.transaction() as connection:
        assert [event.number for event in await store_events.page(connection, Filter(), 0, 10)] == [4, 5]
        leapt = now + timedelta(days=3650)
        assert await store_events.prune(connection, leapt, kept, 10) == 0  # our clock leapt, the database's did not


async def test_numbers_are_seen_in_their_order(database: Database) -> None:
    """Whoever reads while many write never sees a number above one that is yet to come."""
    seen: list[int] = []

    async def read() -> None:
        while len(seen) < 40:
            async with database.transaction() as connection:
                page = await store_events.page(connection, Filter(), seen[-1] if seen else 0, 100)
            seen.extend(event.number for event in page)

    reader = asyncio.create_task(read())
    await asyncio.gather(*(add(database, new_event()) for _ in range(40)))
    await reader
    async with database.transaction() as connection:
        everything = await store_events.page(connection, Filter(), 0, 100)
    assert seen == [event.number for event in everything]


async def test_what_postgres_never_takes_is_told_apart(database: Database) -> None:
    with pytest.raises(Unstorable):
        await add(database, new_event(body={"x": "\x00"}))
    with pytest.raises(Unstorable):
        await add(database, new_event(kind="k" * 65))
    assert await add(database, new_event()) is not None
