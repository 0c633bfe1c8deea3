# SPDX-License-Identifier: Apache-2.0
"""Fixtures for tests against real servers. A conftest.py imports those that it wants by name."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import asyncpg
import pytest
import pytest_asyncio

from postman_kit.embedded import EmbeddedNats, EmbeddedPostgres


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """One Postgres for the whole run."""
    with EmbeddedPostgres(tmp_path_factory.mktemp("postgres"), durable=False) as server:
        yield server


@pytest.fixture(scope="session")
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedNats]:
    """One NATS for the whole run."""
    with EmbeddedNats(tmp_path_factory.mktemp("nats")) as server:
        yield server


@pytest_asyncio.fixture
async def database_url(postgres_server: EmbeddedPostgres) -> AsyncIterator[str]:
    """An empty database of the test's own."""
    name = await make_database(postgres_server)
    yield postgres_server.url_of(name)
    await drop_database(postgres_server, name)


async def make_database(server: EmbeddedPostgres, template: str = "template0") -> str:
    """A new database, empty or a copy; returns its name."""
    name = f"test_{uuid4().hex}"
    await _execute(server, f"CREATE DATABASE {name} TEMPLATE {template}")
    return name


async def drop_database(server: EmbeddedPostgres, name: str) -> None:
    """Remove a database, whoever is connected to it."""
    await _execute(server, f"DROP DATABASE {name} WITH (FORCE)")


async def _execute(server: EmbeddedPostgres, statement: str) -> None:
    async with asyncio.timeout(20):
        connection = await asyncpg.connect(server.url_of("postgres"))
        try:
            await connection.execute(statement)
        finally:
            await connection.close()
