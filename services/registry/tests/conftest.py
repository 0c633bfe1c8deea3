# SPDX-License-Identifier: Apache-2.0
"""Real Postgres and NATS for the run, a migrated database for each test, use-cases with a clock that we turn."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from postman_kit.db import Database
from postman_kit.embedded import EmbeddedNats, EmbeddedPostgres
from postman_kit.embedded.pytest_fixtures import drop_database, make_database, nats_server, postgres_server
from postman_kit.migrate import migrate
from postman_registry.bus import HelperPulse
from postman_registry.service.assignments import Assignments
from postman_registry.service.context import Context, Policy
from postman_registry.service.helpers import Helpers
from postman_registry.service.resolve import Resolver
from postman_registry.service.servers import Servers
from postman_registry.service.upkeep import Upkeep
from postman_registry.tables import SCHEMA, SCRIPTS
from postman_registry.verdicts import HelperVerdicts

sys.path.insert(0, str(Path(__file__).parent))

from registry_parts import TTL, Clock, Registry, running  # found by the line above

__all__ = ["nats_server", "postgres_server"]


@pytest.fixture(scope="session")
def template(postgres_server: EmbeddedPostgres) -> str:
    """The name of a migrated database, to be copied."""

    async def make() -> str:
        name = await make_database(postgres_server)
        database = Database(postgres_server.url_of(name), name="template")
        await migrate(database, schema=SCHEMA, scripts=SCRIPTS)
        await database.close()
        return name

    return asyncio.run(make())


@pytest.fixture
async def database_url(postgres_server: EmbeddedPostgres, template: str) -> AsyncIterator[str]:
    """A migrated database of the test's own."""
    name = await make_database(postgres_server, template)
    yield postgres_server.url_of(name)
    await drop_database(postgres_server, name)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def context(database_url: str, clock: Clock) -> AsyncIterator[Context]:
    """What the use-cases share, brought up."""
    policy = Policy(TTL, TTL, timedelta(seconds=600), 65535, timedelta(days=1))
    context = Context(Database(database_url, name="test"), policy, clock)
    await Upkeep(context, sweep_interval_s=1).bring_up()
    yield context
    await context.database.close()


@pytest.fixture
def upkeep(context: Context) -> Upkeep:
    return Upkeep(context, sweep_interval_s=1)


@pytest.fixture
def helpers(context: Context) -> Helpers:
    return Helpers(context)


@pytest.fixture
def servers(context: Context) -> Servers:
    return Servers(context)


@pytest.fixture
def pulse() -> HelperPulse:
    return HelperPulse()


@pytest.fixture
def verdicts() -> HelperVerdicts:
    return HelperVerdicts()


@pytest.fixture
def assignments(context: Context) -> Assignments:
    return Assignments(context, age_s_max=3600)


@pytest.fixture
def resolver(context: Context, pulse: HelperPulse, verdicts: HelperVerdicts, assignments: Assignments) -> Resolver:
    """With a cache that keeps for long: what must not be stale is thereby seen."""
    resolver = Resolver(context, pulse, verdicts, assignments, age_s_max=3600)
    context.on_committed.append(resolver.forget)
    return resolver


@pytest.fixture
async def registry(tmp_path: Path, database_url: str, nats_server: EmbeddedNats) -> AsyncIterator[Registry]:
    async with running(tmp_path, database_url, nats_server.url) as registry:
        yield registry


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No settings of the machine reach the tests."""
    for name in list(os.environ):
        if name.startswith("POSTMAN_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
