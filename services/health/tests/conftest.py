# SPDX-License-Identifier: Apache-2.0
"""Real Postgres and NATS for the run, a migrated database for each test, a NATS of its own for who counts facts."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from postman_health.tables import SCHEMA, SCRIPTS
from postman_kit.db import Database
from postman_kit.embedded import EmbeddedNats, EmbeddedPostgres
from postman_kit.embedded.pytest_fixtures import drop_database, make_database, postgres_server
from postman_kit.migrate import migrate

sys.path.insert(0, str(Path(__file__).parent))

from health_parts import Health, Site, running, site_of  # found by the line above

__all__ = ["postgres_server"]


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
def own_nats(tmp_path: Path) -> Iterator[EmbeddedNats]:
    """A NATS of the test's own: the stream begins empty, and it may be stopped. It starts within 50 ms."""
    with EmbeddedNats(tmp_path / "nats") as server:
        yield server


@pytest.fixture
async def site(own_nats: EmbeddedNats) -> AsyncIterator[Site]:
    async with site_of(own_nats.url) as site:
        yield site


@pytest.fixture
async def health(tmp_path: Path, database_url: str, own_nats: EmbeddedNats) -> AsyncIterator[Health]:
    """The whole service, ready."""
    async with running(tmp_path, database_url, own_nats.url) as health:
        await health.ready()
        yield health


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No settings of the machine reach the tests."""
    for name in list(os.environ):
        if name.startswith("POSTMAN_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
