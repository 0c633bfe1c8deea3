# SPDX-License-Identifier: Apache-2.0
"""The REST contract over the whole service: every call, every role, malformed requests, facts on the bus."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import httpx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from registry_parts import Registry, until

from postman_contracts import messages, rest, subjects
from postman_contracts.problems import MEDIA_TYPE, Problem, ProblemType
from postman_contracts.tokens import reset_key, token_verify, trunk_keys
from postman_kit.bus import Bus
from postman_kit.embedded import EmbeddedNats

HELPER = {"name": "h1", "data_address": "198.18.0.10", "workers": 1, "version": "0.1.0"}
SERVER = {"service": "echo", "host": "Echo.lab", "tcp_port": 7, "data_address": "198.18.0.9", "udp_port": 7}

CALLS = [
    ("POST", "/v1/helpers", HELPER, "agent"),
    ("PUT", "/v1/helpers/1/lease", {"incarnation": 1, "state": "up"}, "agent"),
    ("DELETE", "/v1/helpers/1?incarnation=1", None, "agent"),
    ("POST", "/v1/helpers/1/drain", None, "operator"),
    ("POST", "/v1/helpers/1/undrain", None, "operator"),
    ("GET", "/v1/helpers", None, "viewer"),
    ("GET", "/v1/helpers/1", None, "viewer"),
    ("POST", "/v1/servers", SERVER, "agent"),
    ("PUT", "/v1/servers/1/lease", {"incarnation": 1}, "agent"),
    ("DELETE", "/v1/servers/1?incarnation=1", None, "agent"),
    ("GET", "/v1/servers", None, "viewer"),
    ("GET", "/v1/resolve?service=echo", None, "agent"),
    ("POST", "/v1/tokens", {"server_id": 1}, "agent"),
]
ROLES = ["viewer", "agent", "operator", "admin"]


def problem(answer: httpx.Response, kind: ProblemType, status: int) -> None:
    assert answer.headers["content-type"] == MEDIA_TYPE, answer.text
    document = Problem.model_validate(answer.json())
    assert (document.kind, document.status, answer.status_code) == (kind, status, status)
    assert document.detail


async def serving(agent: httpx.AsyncClient, name: str = "h1") -> rest.HelperGrant:
    """A helper that has registered and serves."""
    answer = await agent.post("/v1/helpers", json=HELPER | {"name": name})
    grant = rest.HelperGrant.model_validate(answer.json())
    renewal = {"incarnation": grant.incarnation, "state": "up"}
    assert (await agent.put(f"/v1/helpers/{grant.helper_id}/lease", json=renewal)).status_code == 200
    return grant


async def register(agent: httpx.AsyncClient) -> tuple[rest.HelperGrant, rest.ServerGrant]:
    grant = await serving(agent)
    server = await agent.post("/v1/servers", json=SERVER)
    assert server.status_code == 201
    return grant, rest.ServerGrant.model_validate(server.json())


async def test_c9_a_successor_gets_reset_keys_and_no_other_secret(registry: Registry) -> None:
    agent = registry.client("agent")
    _, first = await register(agent)
    answer = await agent.post("/v1/servers", json=SERVER)
    second = rest.ServerGrant.model_validate(answer.json())
    assert second.predecessors == [
        rest.ServerPredecessor(server_id=first.server_id, reset_key=reset_key(first.trunk_secret))
    ]
    assert base64.b64encode(first.trunk_secret).decode() not in answer.text


async def test_a_helper_a_server_and_a_client(registry: Registry) -> None:
    agent = registry.client("agent")
    helper, server = await register(agent)
    assert (helper.helper_id, helper.incarnation, helper.cid_key) == (1, 1, server.cid_key)

    renewal = {"incarnation": 1, "state": "up", "stats": {"load": 0.25, "rx": 1 << 63}}
    lease = rest.HelperLease.model_validate((await agent.put("/v1/helpers/1/lease", json=renewal)).json())
    assert lease.servers
    trunk, keys = lease.servers[0], trunk_keys(server.trunk_secret, 1, 1)
    assert (trunk.server_id, trunk.udp_port, trunk.data_address) == (server.server_id, 7, "198.18.0.9")
    assert (trunk.trunk_key_to_server, trunk.trunk_key_to_helper) == (keys.to_server, keys.to_helper)

    answer = await agent.get("/v1/resolve", params={"host": "ECHO.LAB.", "port": 7})
    resolution = rest.Resolution.model_validate(answer.json())
    assert (resolution.server_id, resolution.shard, resolution.service) == (server.server_id, 0, "echo")
    assert resolution.helpers == [rest.HelperChoice(helper_id=1, data_address="198.18.0.10", client_port=4701)]
    k_srv = {key.key_id: key.key for key in server.keys}
    now_s = resolution.token_expires_at.timestamp() - 1
    assert token_verify(resolution.token, k_srv, server_id=server.server_id, now_s=now_s)

    answer = await agent.post("/v1/tokens", json={"server_id": server.server_id})
    assert rest.TokenGrant.model_validate(answer.json()).token != resolution.token

    for path, incarnation in (("/v1/helpers/1", 1), (f"/v1/servers/{server.server_id}", server.incarnation)):
        for _ in range(2):
            assert (await agent.delete(path, params={"incarnation": incarnation})).status_code == 204
    problem(await agent.get("/v1/resolve?service=echo"), ProblemType.NO_VCL_SERVER, 404)


async def test_listings_are_paged_and_hold_no_keys(registry: Registry) -> None:
    agent, viewer = registry.client("agent"), registry.client("viewer")
    for number in range(5):
        await serving(agent, f"h{number}")
        await agent.post("/v1/servers", json=SERVER | {"udp_port": 100 + number})
    for path, page in (("/v1/helpers", rest.HelperPage), ("/v1/servers", rest.ServerPage)):
        items: list[Any] = []
        after: int | None = 0
        while after is not None:
            answer = await viewer.get(path, params={"after": after, "limit": 2})
            assert "key" not in answer.text
            assert "secret" not in answer.text
            found = page.model_validate(answer.json())
            items += found.items
            after = found.next
        assert len(items) == 5
    helper = rest.Helper.model_validate((await viewer.get("/v1/helpers/3")).json())
    assert (helper.name, helper.state) == ("h2", "up")
    problem(await viewer.get("/v1/helpers/999"), ProblemType.UNKNOWN_HELPER, 404)


async def test_roles(registry: Registry) -> None:
    clients = {role: registry.client(role) for role in ["", *ROLES]}
    for method, path, body, needed in CALLS:
        problem(await clients[""].request(method, path, json=body), ProblemType.UNAUTHORISED, 401)
        for role in ROLES:
            answer = await clients[role].request(method, path, json=body)
            if ROLES.index(role) < ROLES.index(needed):
                problem(answer, ProblemType.FORBIDDEN, 403)
            else:
                assert answer.status_code in (200, 201, 202, 204, 404, 409), (method, path, answer.text)


WRONG: list[tuple[str, str, Any]] = [
    ("POST", "/v1/helpers", HELPER | {"data_address": "::"}),
    ("POST", "/v1/helpers", HELPER | {"client_port": 0}),
    ("POST", "/v1/helpers", HELPER | {"version": "1\ud800"}),
    ("POST", "/v1/helpers", HELPER | {"name": "a\0"}),
    ("POST", "/v1/helpers", HELPER | {"unknown": 1}),
    ("POST", "/v1/helpers", {}),
    ("PUT", "/v1/helpers/0/lease", {"incarnation": 1, "state": "up"}),
    ("PUT", "/v1/helpers/65536/lease", {"incarnation": 1, "state": "up"}),
    ("PUT", "/v1/helpers/x/lease", {"incarnation": 1, "state": "up"}),
    ("PUT", "/v1/helpers/1/lease", {"incarnation": 0, "state": "up"}),
    ("PUT", "/v1/helpers/1/lease", {"incarnation": 1, "state": "down"}),
    ("PUT", "/v1/helpers/1/lease", {"incarnation": 1, "state": "up", "stats": {"a b": 1}}),
    ("PUT", "/v1/helpers/1/lease", {"incarnation": 1, "state": "up", "servers_version": -1}),
    ("DELETE", "/v1/helpers/1", None),
    ("DELETE", "/v1/helpers/1?incarnation=4294967296", None),
    ("GET", "/v1/helpers?limit=0", None),
    ("GET", "/v1/helpers?after=99999999999999999999", None),
    ("POST", "/v1/servers", SERVER | {"shards": 300}),
    ("POST", "/v1/servers", SERVER | {"udp_port": 65535, "shards": 2}),
    ("POST", "/v1/servers", SERVER | {"host": ""}),
    ("GET", "/v1/resolve", None),
    ("GET", "/v1/resolve?host=a", None),
    ("GET", "/v1/resolve?host=a&port=7&service=b", None),
    ("GET", "/v1/resolve?host=a%00&port=7", None),
    ("GET", "/v1/resolve?service=echo&agent=%20", None),
    ("GET", "/v1/resolve?service=echo&group=%20", None),
    ("GET", "/v1/resolve?service=echo&site=a%00", None),
    ("POST", "/v1/servers", SERVER | {"site": ""}),
    ("POST", "/v1/tokens", {"server_id": 0}),
]


async def test_wrong_requests_are_422_and_name_the_field(registry: Registry) -> None:
    admin = registry.client("admin")
    for method, path, body in WRONG:
        content = None if body is None else json.dumps(body)
        answer = await admin.request(method, path, content=content, headers={"content-type": "application/json"})
        assert answer.status_code == 422, (method, path, body, answer.text)
        problem(answer, ProblemType.INVALID_REQUEST, 422)
        assert answer.json()["errors"], (method, path, body)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
mutations = st.dictionaries(st.sampled_from([*HELPER, *SERVER, "incarnation", "state", "stats", "x"]), json_values)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
async def test_whatever_is_sent_it_is_never_a_500(registry: Registry, data: st.DataObject) -> None:
    method, path, body, _ = data.draw(st.sampled_from([call for call in CALLS if call[2] is not None]))
    sent = data.draw(st.just((body or {}) | data.draw(mutations)) | json_values)
    raw = json.dumps(sent).encode() if data.draw(st.booleans()) else data.draw(st.binary(max_size=200))
    headers = {"content-type": "application/json"}
    answer = await registry.client("admin").request(method, path, content=raw, headers=headers)
    assert answer.status_code < 500, (method, path, raw)
    if answer.status_code >= 400:
        assert Problem.model_validate(answer.json()).detail


async def test_idempotency_keys(registry: Registry) -> None:
    agent, headers = registry.client("agent"), {"Idempotency-Key": "0123456789abcdef"}
    first = await agent.post("/v1/servers", json=SERVER, headers=headers)
    assert (await agent.post("/v1/servers", json=SERVER, headers=headers)).json() == first.json()
    other = await agent.post("/v1/servers", json=SERVER | {"tcp_port": 8}, headers=headers)
    problem(other, ProblemType.IDEMPOTENCY_KEY_REUSED, 422)
    short = await agent.post("/v1/servers", json=SERVER, headers={"Idempotency-Key": "short"})
    problem(short, ProblemType.INVALID_REQUEST, 422)


async def test_facts_and_orders_reach_the_bus(registry: Registry, nats_server: EmbeddedNats) -> None:
    bus, heard, orders = Bus(nats_server.url, name="listener"), [], []

    async def on_helper(subject: str, fact: messages.HelperFact) -> None:
        heard.append((subjects.fact_kind(subject), fact.helper_id, fact.incarnation))

    async def on_server(subject: str, fact: messages.ServerFact) -> None:
        heard.append((subjects.fact_kind(subject), fact.server_id, fact.incarnation))

    async def on_order(_: str, order: messages.HelperOrder) -> None:
        orders.append(order.order)

    await bus.subscribe(subjects.HELPER_FACTS_ALL, messages.HelperFact, on_helper)
    await bus.subscribe(subjects.SERVER_FACTS_ALL, messages.ServerFact, on_server)
    await bus.subscribe(subjects.helper_order(1), messages.HelperOrder, on_order)
    await bus.start()
    assert await bus.wait_connected(10)
    _, server = await register(registry.client("agent"))
    assert (await registry.client("operator").post("/v1/helpers/1/drain")).status_code == 202
    wanted = [
        (("helper", "up"), 1, 1),
        (("server", "up"), server.server_id, server.incarnation),
        (("helper", "draining"), 1, 1),
    ]
    await until(lambda: sorted(heard), lambda found: found == sorted(wanted))
    assert (await registry.client("operator").post("/v1/helpers/1/undrain")).json() == {"desired_state": "up"}
    await until(lambda: orders, lambda found: found == ["drain", "undrain"])
    await bus.stop()


async def test_heartbeats_order_the_helpers(registry: Registry, nats_server: EmbeddedNats) -> None:
    agent, bus = registry.client("agent"), Bus(nats_server.url, name="helper")
    await bus.start()
    assert await bus.wait_connected(10)
    await register(agent)
    await serving(agent, "h2")

    async def first_helper(busy: int) -> int:
        for helper_id in (1, 2):
            beat = messages.HelperHeartbeat(
                helper_id=helper_id,
                incarnation=1,
                state="up",
                at="2026-01-01T00:00:00Z",  # type: ignore[arg-type]
                stats={"load": 0.9 if helper_id == busy else 0.0},
            )
            await bus.publish(subjects.helper_heartbeat(helper_id), beat)
        answer = await agent.get("/v1/resolve?service=echo")
        return rest.Resolution.model_validate(answer.json()).helpers[0].helper_id

    await until(lambda: first_helper(busy=1), lambda first: first == 2)
    await until(lambda: first_helper(busy=2), lambda first: first == 1)
    await bus.stop()


async def test_clients_are_told_apart_by_agent(registry: Registry) -> None:
    agent = registry.client("agent")
    await register(agent)
    for number in range(2, 5):
        await serving(agent, f"h{number}")

    async def first(name: str) -> int:
        answer = await agent.get("/v1/resolve", params={"service": "echo", "agent": name})
        return rest.Resolution.model_validate(answer.json()).helpers[0].helper_id

    firsts = await asyncio.gather(*(first(f"agent-{number}") for number in range(40)))
    assert len(set(firsts)) == 4


async def test_the_openapi_document_names_every_call(registry: Registry) -> None:
    paths = (await registry.client("viewer").get("/openapi.json")).json()["paths"]
    listed = {(method.upper(), path) for path, calls in paths.items() for method in calls}
    plain = {(method, path.split("?")[0].replace("/1", "/{helper_id}")) for method, path, _, _ in CALLS}
    plain = {(method, path.replace("servers/{helper_id}", "servers/{server_id}")) for method, path in plain}
    assert plain <= listed
