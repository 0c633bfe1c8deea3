# SPDX-License-Identifier: Apache-2.0
"""What clients are told: which server, which helpers in which order, and a token that the server accepts."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from registry_parts import TTL, Clock, Registry, refused, register_server, serving

from postman_contracts import messages
from postman_contracts.problems import ProblemType
from postman_contracts.tokens import client_id_of, service_id_of, token_key, token_verify
from postman_registry.bus import HelperPulse
from postman_registry.service.helpers import Helpers
from postman_registry.service.resolve import Resolver
from postman_registry.service.servers import Servers

SECOND = timedelta(seconds=1)


async def test_resolve_by_name_by_address_and_by_service(
    servers: Servers, helpers: Helpers, resolver: Resolver
) -> None:
    await serving(helpers)
    server = (await register_server(servers, shards=3)).server
    for resolved in (
        await resolver.by_host("echo.lab", 7, "c"),
        await resolver.by_host("198.18.0.9", 7, "c"),
        await resolver.by_service("echo", "c"),
    ):
        assert (resolved.server, [offered.helper.helper_id for offered in resolved.helpers]) == (server, [1])
        assert 0 <= resolved.shard < 3
    for nothing in (resolver.by_host("echo.lab", 8, "c"), resolver.by_host("x", 7, "c"), resolver.by_service("x", "c")):
        await refused(ProblemType.NO_VCL_SERVER, 404, nothing)


async def test_a_server_is_offered_helpers_of_its_ip_version(
    servers: Servers, helpers: Helpers, resolver: Resolver
) -> None:
    await serving(helpers)
    await register_server(servers, data_address="fd00::9")
    resolved = await resolver.by_service("echo", "c")
    assert resolved.helpers == []


async def test_the_token_is_what_the_server_checks(servers: Servers, resolver: Resolver, clock: Clock) -> None:
    granted = await register_server(servers)
    resolved = await resolver.by_service("echo", "client 1")
    keys = {key.key_id: key.key for key in granted.keys}
    server_id = granted.server.server_id
    token = token_verify(resolved.granted.token, keys, server_id=server_id, now_s=clock.now.timestamp())
    assert (token.client_id, token.service_id) == (client_id_of("client 1"), service_id_of("echo"))
    assert resolved.granted.token_key == token_key(granted.keys[0].key, resolved.granted.token)
    assert resolved.granted.expires_at == clock.now + timedelta(seconds=600)
    again = await resolver.renew_token(server_id, "client 1")
    assert again.token != resolved.granted.token


async def test_expired_leases_are_not_offered_even_from_the_cache(
    servers: Servers, helpers: Helpers, resolver: Resolver, clock: Clock
) -> None:
    await serving(helpers)
    server = (await register_server(servers)).server
    assert (await resolver.by_service("echo", "c")).helpers
    clock.turn(TTL - SECOND)
    await servers.renew(server.server_id, server.incarnation)
    resolver.forget()
    assert (await resolver.by_service("echo", "c")).helpers
    clock.turn(SECOND)
    assert (await resolver.by_service("echo", "c")).helpers == []
    clock.turn(TTL)
    await refused(ProblemType.NO_VCL_SERVER, 404, resolver.by_service("echo", "c"))
    await refused(ProblemType.NO_VCL_SERVER, 404, resolver.renew_token(server.server_id, "c"))


@pytest.mark.parametrize("end", ["drain", "leave", "report"])
async def test_helpers_that_drain_or_left_are_not_offered(
    servers: Servers, helpers: Helpers, resolver: Resolver, end: str
) -> None:
    await serving(helpers, "a")
    await serving(helpers, "b")
    await register_server(servers)
    assert len((await resolver.by_service("echo", "c")).helpers) == 2
    calls: dict[str, Callable[[], object]] = {
        "drain": lambda: helpers.order_drain(1),
        "leave": lambda: helpers.leave(1, 1),
        "report": lambda: helpers.renew(1, 1, "draining", None, None),
    }
    await calls[end]()  # type: ignore[misc]
    assert [offered.helper.helper_id for offered in (await resolver.by_service("echo", "c")).helpers] == [2]


@pytest.mark.parametrize(
    ("registered", "asked"),
    [("db.example.", "DB.example"), ("db.example", "db.example."), ("FE80:0::0001", "fe80::1"), ("::1", "0:0::1")],
)
async def test_one_host_has_many_spellings(registry: Registry, registered: str, asked: str) -> None:
    body = {"service": "s", "host": registered, "tcp_port": 80, "data_address": "198.18.0.9", "udp_port": 5000}
    agent = registry.client("agent")
    assert (await agent.post("/v1/servers", json=body)).status_code == 201
    found = await agent.get("/v1/resolve", params={"host": asked, "port": 80})
    assert found.status_code == 200, found.text


async def test_a_helper_that_begins_anew_is_heard_again() -> None:
    now_s = 0.0
    pulse = HelperPulse(clock=lambda: now_s)

    async def beat(incarnation: int) -> None:
        at = datetime.now(UTC)
        message = messages.HelperHeartbeat(helper_id=1, incarnation=incarnation, state="up", at=at)
        await pulse.on_heartbeat("", message)

    await beat(9)
    await beat(1)
    assert pulse.latest(1, 1) is None
    now_s = 60.0
    await beat(1)
    assert pulse.latest(1, 1) is not None


async def test_heartbeats_are_fresher_than_leases(
    servers: Servers, helpers: Helpers, resolver: Resolver, pulse: HelperPulse
) -> None:
    async def beat(helper_id: int, incarnation: int, state: str, load: float) -> None:
        at = datetime.now(UTC)
        stats = {"load": load}
        message = messages.HelperHeartbeat(
            helper_id=helper_id, incarnation=incarnation, state=state, at=at, stats=stats
        )
        await pulse.on_heartbeat("", message)

    async def order() -> list[int]:
        return [offered.helper.helper_id for offered in (await resolver.by_service("echo", "c")).helpers]

    for name in "ab":
        await serving(helpers, name)
    await register_server(servers)
    await beat(1, 1, "up", 0.9)
    assert await order() == [2, 1]
    await beat(2, 1, "up", 1.0)
    await beat(1, 1, "up", 0.1)
    assert await order() == [1, 2]
    await beat(1, 1, "draining", 0.1)
    assert await order() == [2]
    await serving(helpers, "a")
    assert set(await order()) == {1, 2}, "a heartbeat of an earlier incarnation says nothing of this one"


async def test_several_servers_of_a_service_share_its_clients(servers: Servers, resolver: Resolver) -> None:
    for number in range(3):
        await register_server(servers, data_address=f"198.18.0.{number + 1}")
    answers = {f"c{n}": (await resolver.by_service("echo", f"c{n}")).server.server_id for n in range(60)}
    assert len(set(answers.values())) == 3
    for client, server_id in answers.items():
        assert (await resolver.by_service("echo", client)).server.server_id == server_id
