# SPDX-License-Identifier: Apache-2.0
"""What placement's tests are made of: the service and a real registry in this process, helpers and servers in it."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI
from sqlalchemy import text

from postman_contracts import rest, rest_placement
from postman_contracts.problems import MEDIA_TYPE, Problem, ProblemType
from postman_kit.app import listen
from postman_kit.db import Database
from postman_placement.__main__ import build as build_placement
from postman_placement.settings import PlacementSettings
from postman_registry.__main__ import build as build_registry
from postman_registry.settings import RegistrySettings

# A triangle of sites, each a failure domain; clients at c, servers at s; h1 and h2 have helpers.
TOPOLOGY: dict[str, Any] = {
    "sites": [
        {"name": "c"},
        {"name": "s"},
        {"name": "h1", "helper_capacity_pps": 1000},
        {"name": "h2", "helper_capacity_pps": 1000},
    ],
    "links": [
        {"a": "c", "b": "h1", "rtt_us": 100},
        {"a": "h1", "b": "s", "rtt_us": 100},
        {"a": "c", "b": "h2", "rtt_us": 300},
        {"a": "h2", "b": "s", "rtt_us": 300},
    ],
}
DEMAND: dict[str, Any] = {"group": "g", "service": "echo", "site": "c", "server_site": "s", "rate_pps": 100}
MEASUREMENT = {"a": "h1", "b": "c", "rtt_us": 50, "samples": 3, "at": "2026-01-01T00:00:00Z"}
DEMANDS: dict[str, Any] = {"items": [DEMAND]}

_NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # nothing here speaks it, and to load the system's is slow


async def until(ask: Callable[[], Any], is_done: Callable[..., object], timeout_s: float = 15.0) -> Any:
    """Ask until the answer is as wanted; returns it."""
    async with asyncio.timeout(timeout_s):
        while True:
            answer = ask()
            if asyncio.iscoroutine(answer):
                answer = await answer
            if is_done(answer):
                return answer
            await asyncio.sleep(0.01)


def problem(answer: httpx.Response, kind: ProblemType, status: int) -> Problem:
    """The document of a refusal; it must be this one."""
    assert answer.headers["content-type"] == MEDIA_TYPE, answer.text
    document = Problem.model_validate(answer.json())
    assert (document.kind, document.status, answer.status_code) == (kind, status, status), answer.text
    assert document.detail
    return document


def placement_of(answer: httpx.Response) -> rest_placement.Placement:
    assert answer.status_code in (200, 201), answer.text
    return rest_placement.Placement.model_validate(answer.json())


class Part:
    """A service in this process: its address, and clients of each role."""

    def __init__(self, url: str, keys: Path, app: FastAPI) -> None:
        self.url = url
        self.app = app
        self._keys = keys
        self._clients: dict[str, httpx.AsyncClient] = {}

    def key(self, role: str) -> str:
        """The API key of a role."""
        return (self._keys / role).read_text().strip()

    def client(self, role: str) -> httpx.AsyncClient:
        """A client with the key of a role; with a wrong one if that is empty."""
        if role not in self._clients:
            key = self.key(role) if role else "wrong-key-of-nobody"
            self._clients[role] = httpx.AsyncClient(
                base_url=self.url,
                headers={"Authorization": f"Bearer {key}"},
                trust_env=False,
                timeout=60.0,
                verify=_NO_TLS,
            )
        return self._clients[role]

    async def wait_ready(self, is_ready: bool = True) -> None:
        client = self.client("viewer")
        await until(lambda: client.get("/readyz"), lambda answer: (answer.status_code == 200) is is_ready)

    async def close(self) -> None:
        for client in self._clients.values():
            await client.aclose()


class Registry(Part):
    """A registry that helpers and servers can be put into."""

    async def helper(self, name: str, site: str | None, state: str = "up") -> int:
        """A helper that serves; returns its id."""
        agent = self.client("agent")
        body = {"name": name, "site": site, "data_address": "198.18.0.10", "workers": 1, "version": "1"}
        grant = rest.HelperGrant.model_validate((await agent.post("/v1/helpers", json=body)).json())
        renewal = {"incarnation": grant.incarnation, "state": state}
        answer = await agent.put(f"/v1/helpers/{grant.helper_id}/lease", json=renewal)
        assert answer.status_code == 200, answer.text
        return grant.helper_id

    async def end_helper(self, helper_id: int) -> None:
        """A helper ends in order."""
        answer = await self.client("agent").delete(f"/v1/helpers/{helper_id}", params={"incarnation": 1})
        assert answer.status_code == 204, answer.text

    async def server(self, service: str, site: str | None, port: int = 7) -> None:
        """A server of a service."""
        body = {
            "service": service,
            "host": f"{service}.lab",
            "tcp_port": port,
            "udp_port": port,
            "data_address": "198.18.0.9",
            "site": site,
        }
        answer = await self.client("agent").post("/v1/servers", json=body)
        assert answer.status_code == 201, answer.text


class Placement(Part):
    """Placement, with shorthands for what most tests do."""

    async def put_inputs(self, topology: dict[str, Any] = TOPOLOGY, demands: dict[str, Any] = DEMANDS) -> None:
        operator = self.client("operator")
        for path, body in (("/v1/topology", topology), ("/v1/demands", demands)):
            answer = await operator.put(path, json=body)
            assert answer.status_code == 200, answer.text

    async def make(self, **request: Any) -> rest_placement.Placement:
        return placement_of(await self.client("operator").post("/v1/placements", json=request))

    async def apply(self, placement_id: object) -> rest_placement.Placement:
        return placement_of(await self.client("operator").post(f"/v1/placements/{placement_id}/apply"))

    async def get(self, placement_id: object) -> rest_placement.Placement:
        return placement_of(await self.client("viewer").get(f"/v1/placements/{placement_id}"))


_CLEAN = (
    "TRUNCATE registry.helpers, registry.servers, registry.server_keys",
    "TRUNCATE placement.sites, placement.links, placement.measurements, placement.demands, placement.placements, "
    "placement.assignments, placement.outbox",
    "UPDATE placement.versions SET value = 0, digest = NULL WHERE name <> 'epoch'",
)


@dataclass
class Mesh:
    """A registry and placement in one database."""

    registry: Registry
    placement: Placement
    database_url: str

    async def clean(self) -> None:
        """Nothing is left of earlier tests but the number of their last epoch."""
        database = Database(self.database_url, name="test-clean")
        async with database.transaction() as connection:
            for statement in _CLEAN:
                await connection.execute(text(statement))
        await database.close()
        self.placement.app.state.services.acknowledgements._beats.clear()


@contextlib.asynccontextmanager
async def served(app: FastAPI) -> AsyncIterator[str]:
    """The application behind a port; yields its URL."""
    listener = listen("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=2))
    task = asyncio.create_task(server._serve([listener]))
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await task


@contextlib.asynccontextmanager
async def running_registry(state: Path, database_url: str, nats_url: str, **settings: Any) -> AsyncIterator[Registry]:
    """A whole registry. Leases are long: nobody renews them here."""
    values = {"registry_helper_lease_ttl_s": 600, "registry_server_lease_ttl_s": 600, "state_dir": state} | settings
    app = build_registry(RegistrySettings(database_url=database_url, nats_url=nats_url, **values))
    async with served(app) as url:
        registry = Registry(url, state / "keys", app)
        await registry.wait_ready()
        yield registry
        await registry.close()


@contextlib.asynccontextmanager
async def running_placement(
    state: Path, database_url: str, nats_url: str, registry_url: str, **settings: Any
) -> AsyncIterator[Placement]:
    """The whole service. Health does not answer, unless a test has another URL for it."""
    values: dict[str, Any] = {"state_dir": state, "placement_solves_max": 1, "health_url": "http://127.0.0.1:9"}
    values |= settings
    app = build_placement(
        PlacementSettings(database_url=database_url, nats_url=nats_url, registry_url=registry_url, **values)
    )
    async with served(app) as url:
        placement = Placement(url, state / "keys", app)
        await placement.wait_ready()
        yield placement
        await placement.close()
