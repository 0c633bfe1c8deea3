# SPDX-License-Identifier: Apache-2.0
"""What the registry's tests are made of: specs, a clock that we turn, the whole service in this process."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from postman_contracts.problems import ProblemType
from postman_kit.errors import ProblemError
from postman_registry.__main__ import build
from postman_registry.domain import HelperSpec, ServerSpec
from postman_registry.service.helpers import Helpers
from postman_registry.service.servers import ServerGranted, Servers
from postman_registry.settings import RegistrySettings

TTL = timedelta(seconds=4)
NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Clock:
    """Stands until it is turned."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now

    def turn(self, by: timedelta) -> None:
        self.now += by


def helper_spec(name: str = "h1", address: str = "198.18.0.11") -> HelperSpec:
    return HelperSpec(name, None, address, 4701, 4702, 1, "1")


def server_spec(
    service: str = "echo",
    host: str = "echo.lab",
    port: int = 7,
    address: str = "198.18.0.9",
    shards: int = 1,
    site: str | None = None,
) -> ServerSpec:
    return ServerSpec(service, host, port, address, port, shards, site)


async def register_server(servers: Servers, key: str | None = None, **changes: object) -> ServerGranted:
    spec = replace(server_spec(), **changes)
    return await servers.register(spec, key, repr(spec).encode())


async def serving(helpers: Helpers, name: str = "h1") -> None:
    """A helper that has registered and serves."""
    view = await helpers.register(helper_spec(name))
    await helpers.renew(view.helper.helper_id, view.helper.incarnation, "up", None, None)


async def refused(kind: ProblemType, status: int, call: object) -> None:
    with pytest.raises(ProblemError) as caught:
        await call  # type: ignore[misc]
    assert (caught.value.problem.kind, caught.value.problem.status) == (kind, status)


# --- the whole service, over HTTP -----------------------------------------------------------------


class Registry:
    """A running registry: clients of each role."""

    def __init__(self, app: FastAPI, keys: Path) -> None:
        self._app = app
        self._keys = keys
        self._clients: list[httpx.AsyncClient] = []

    def client(self, role: str) -> httpx.AsyncClient:
        key = (self._keys / role).read_text().strip() if role else "wrong-key-of-nobody"
        client = httpx.AsyncClient(
            transport=httpx.ASGITransport(self._app, raise_app_exceptions=False),
            base_url="http://registry",
            headers={"Authorization": f"Bearer {key}"},
        )
        self._clients.append(client)
        return client

    async def wait_ready(self, is_ready: bool = True) -> None:
        client = self.client("viewer")
        await until(lambda: client.get("/readyz"), lambda answer: (answer.status_code == 200) is is_ready)

    async def close(self) -> None:
        for client in self._clients:
            await client.aclose()


async def until(ask: Callable[[], object], is_done: Callable[..., object], timeout_s: float = 15.0) -> object:
    """Ask until the answer is as wanted; returns it."""
    async with asyncio.timeout(timeout_s):
        while True:
            answer = ask()
            if asyncio.iscoroutine(answer):
                answer = await answer
            if is_done(answer):
                return answer
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def running(state: Path, database_url: str, nats_url: str, **settings: object) -> AsyncIterator[Registry]:
    """The whole service in this process."""
    values = {"registry_sweep_interval_s": 0.02, "state_dir": state} | settings
    app = build(RegistrySettings(database_url=database_url, nats_url=nats_url, **values))
    async with app.router.lifespan_context(app):
        registry = Registry(app, state / "keys")
        await registry.wait_ready()
        yield registry
        await registry.close()
