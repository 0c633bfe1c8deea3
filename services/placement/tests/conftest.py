# SPDX-License-Identifier: Apache-2.0
"""Real Postgres and NATS for the run, the whole service beside a real registry, emptied for each test."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from postman_kit.db import Database
from postman_kit.embedded import EmbeddedNats, EmbeddedPostgres
from postman_kit.embedded.pytest_fixtures import drop_database, make_database, nats_server, postgres_server
from postman_kit.migrate import migrate
from postman_placement.tables import SCHEMA, SCRIPTS
from postman_registry.tables import SCHEMA as REGISTRY_SCHEMA
from postman_registry.tables import SCRIPTS as REGISTRY_SCRIPTS

sys.path.insert(0, str(Path(__file__).parent))

from placement_parts import Mesh, Placement, Registry, running_placement, running_registry  # found by the line above

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


@pytest_asyncio.fixture(loop_scope="session")
async def database_url(postgres_server: EmbeddedPostgres, template: str) -> AsyncIterator[str]:
    """A migrated database of the test's own."""
    name = await make_database(postgres_server, template)
    yield postgres_server.url_of(name)
    await drop_database(postgres_server, name)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def mesh(
    tmp_path_factory: pytest.TempPathFactory,
    postgres_server: EmbeddedPostgres,
    template: str,
    nats_server: EmbeddedNats,
) -> AsyncIterator[Mesh]:
    """Registry and placement for the whole run: to start them for each test would take longer than the tests."""
    state = tmp_path_factory.mktemp("mesh")
    url = postgres_server.url_of(await make_database(postgres_server, template))
    with pytest.MonkeyPatch.context() as environment:
        _forget_settings(environment)
        async with (
            running_registry(state, url, nats_server.url) as registry,
            running_placement(state, url, nats_server.url, registry.url) as placement,
        ):
            yield Mesh(registry, placement, url)


@pytest_asyncio.fixture(loop_scope="session")
async def clean_mesh(mesh: Mesh) -> Mesh:
    """The same with nothing in it; only epochs go on, so that what is still under way is old."""
    await mesh.clean()
    return mesh


@pytest.fixture
def registry(clean_mesh: Mesh) -> Registry:
    return clean_mesh.registry


@pytest.fixture
def placement(clean_mesh: Mesh) -> Placement:
    return clean_mesh.placement


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No settings of the machine reach the tests."""
    _forget_settings(monkeypatch)
    monkeypatch.chdir(tmp_path)


def _forget_settings(environment: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("POSTMAN_"):
            environment.delenv(name)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All tests of this folder run in one loop: the mesh's."""
    for item in items:
        if item.path.parent == Path(__file__).parent and pytest_asyncio.is_async_test(item):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)
