# SPDX-License-Identifier: Apache-2.0
"""Real Postgres and NATS for the run, a migrated database for each test, the whole service beside a real registry."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from postman_kit.db import Database
from postman_kit.embedded import EmbeddedNats, EmbeddedPostgres
from postman_kit.embedded.pytest_fixtures import drop_database, make_database, nats_server, postgres_server
from postman_kit.migrate import migrate
from postman_placement.tables import SCHEMA, SCRIPTS
from postman_registry.tables import SCHEMA as REGISTRY_SCHEMA
from postman_registry.tables import SCRIPTS as REGISTRY_SCRIPTS

sys.path.insert(0, str(Path(__file__).parent))

from placement_parts import Placement, Registry, running_placement, running_registry  # found by the line above

__all__ = ["nats_server", "postgres_server"]


@pytest.fixture(scope="session")
def template(postgres_server: EmbeddedPostgres) -> str:
    """The name of a migrated database, to be copied: registry and placement, each in its schema."""

    async def make() -> str:
        name = await make_database(postgres_server)
        database = Database(postgres_server.url_of(name), name="template")
        await migrate(database, schema=SCHEMA, scripts=SCRIPTS)
        await migrate(database, schema=REGISTRY_SCHEMA, scripts=REGISTRY_SCRIPTS)
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
async def registry(tmp_path: Path, database_url: str, nats_server: EmbeddedNats) -> AsyncIterator[Registry]:
    async with running_registry(tmp_path, database_url, nats_server.url) as registry:
        yield registry


@pytest.fixture
async def placement(
    tmp_path: Path, database_url: str, nats_server: EmbeddedNats, registry: Registry
) -> AsyncIterator[Placement]:
    async with running_placement(tmp_path, database_url, nats_server.url, registry.url) as placement:
        yield placement


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No settings of the machine reach the tests."""
    for name in list(os.environ):
        if name.startswith("POSTMAN_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
