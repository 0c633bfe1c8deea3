# SPDX-License-Identifier: Apache-2.0
"""The agent against the real registry, NATS and Postgres, and while parts of them are away."""

from __future__ import annotations

import queue
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from postman_contracts.tokens import token_key, token_verify
from vcl.agent import Agent, AgentConfig, AgentError, Fact, Lookup

HELPER = {"data_address": "198.18.0.10", "client_port": 4701, "trunk_port": 4702, "workers": 1, "version": "0"}


@pytest.fixture
def host() -> str:
    """A host name of this test alone: the registry remembers the servers of the others."""
    return f"h-{secrets.token_hex(4)}.example"


@pytest.fixture
def udp_port() -> int:
    """A server's UDP port on 198.18.0.20: a second registration of a port supersedes the first."""
    return secrets.randbelow(40000) + 10000


@pytest.fixture
def agent(control_plane: Any) -> Iterator[Agent]:
    """What an application would have."""
    config = AgentConfig.from_environment(control_plane.environment())
    made = Agent(config)
    try:
        yield made
    finally:
        made.close()


def register_helper(control_plane: Any) -> dict[str, Any]:
    """A helper that registered and serves."""
    with control_plane.client("agent") as client:
        body = {"name": f"h-{secrets.token_hex(4)}", **HELPER}
        grant = client.post("/v1/helpers", json=body).raise_for_status().json()
        renewal = {"incarnation": grant["incarnation"], "state": "up"}
        client.put(f"/v1/helpers/{grant['helper_id']}/lease", json=renewal).raise_for_status()
        return grant


def end_helper(control_plane: Any, grant: dict[str, Any]) -> None:
    with control_plane.client("agent") as client:
        client.delete(f"/v1/helpers/{grant['helper_id']}", params={"incarnation": grant["incarnation"]})


def test_a_server_is_resolved_with_a_token_that_it_accepts(agent: Agent, host: str, udp_port: int) -> None:
    lease = agent.register_server("echo", host, 7000, "198.18.0.20", udp_port)
    resolution = agent.resolve(host.upper(), 7000)
    assert resolution is not None
    assert agent.last_reason == ""
    assert (resolution.server_id, resolution.service) == (lease.grant.server_id, "echo")
    assert (resolution.data_address, resolution.udp_port) == ("198.18.0.20", udp_port)
    keys = {key.key_id: key.key for key in lease.grant.keys}
    token = token_verify(resolution.token, keys, server_id=lease.grant.server_id, now_s=time.time())
    assert resolution.token_key == token_key(keys[token.key_id], resolution.token)
    assert resolution.token_expires_at > time.time()

    renewed = agent.renew_token(lease.grant.server_id)
    assert renewed is not None
    assert renewed[0] != resolution.token
    assert renewed[1] == token_key(keys[token.key_id], renewed[0])
    lease.close()


def test_a_server_in_the_place_of_another_is_found_at_once(
    agent: Agent, host: str, udp_port: int, wait_until: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vcl.agent_cache.FRESH_S", 3600.0)  # only the fact makes the first answer stale
    first = agent.register_server("echo", host, 7000, "198.18.0.20", udp_port)
    wait_until(lambda: agent.counters()["nats_connects"], what="NATS")
    assert agent.resolve(host, 7000) is not None
    second = agent.register_server("echo", host, 7000, "198.18.0.20", udp_port)

    def found() -> bool:
        resolution = agent.resolve(host, 7000)
        return resolution is not None and resolution.server_id == second.grant.server_id

    wait_until(found, what="the second server")
    first.close()
    second.close()


def test_no_server_is_a_reason_and_is_remembered(agent: Agent, host: str) -> None:
    assert agent.lookup(host, 7000) == Lookup(None, "no VCL server there")
    assert agent.lookup(host, 7000) == Lookup(None, "no VCL server there")
    assert agent.last_reason == "no VCL server there"
    assert agent.counters()["resolve_cached"] == 1


def test_threads_that_ask_at_once_share_one_call(agent: Agent, host: str, udp_port: int) -> None:
    agent.register_server("echo", host, 7000, "198.18.0.20", udp_port)
    answers: queue.Queue[Any] = queue.Queue()
    barrier = threading.Barrier(16)

    def ask() -> None:
        barrier.wait()
        answers.put(agent.resolve(host, 7000))

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    tokens = {answers.get_nowait().token for _ in threads}
    assert len(tokens) == 1


def test_a_closed_lease_is_no_server_any_more(
    agent: Agent, host: str, udp_port: int, wait_until: Callable[..., Any]
) -> None:
    lease = agent.register_server("echo", host, 7000, "198.18.0.20", udp_port)
    assert agent.resolve(host, 7000) is not None
    lease.close()
    lease.close()
    wait_until(lambda: agent.resolve(host, 7000) is None, what="the server's absence")
    assert agent.last_reason == "no VCL server there"


def test_a_wrong_key_is_a_reason(control_plane: Any, host: str) -> None:
    agent = Agent(AgentConfig(control_plane.registry_url, api_key="pmk_agent_" + "x" * 43))
    try:
        assert agent.resolve(host, 7000) is None
        assert agent.last_reason == "the registry refused the API key"
        with pytest.raises(AgentError, match="refused the API key"):
            agent.register_server("echo", host, 7000, "198.18.0.20", 7000)
    finally:
        agent.close()


@pytest.mark.slow
def test_an_outage_of_the_registry_is_bridged_by_the_cache_and_the_lease_survives(
    agent: Agent, control_plane: Any, host: str, udp_port: int, wait_until: Callable[..., Any]
) -> None:
    lost: list[str] = []
    lease = agent.register_server(
        "echo", host, 7000, "198.18.0.20", udp_port, on_lost=lambda _, reason: lost.append(reason)
    )
    known = agent.resolve(host, 7000)
    control_plane.stop_registry()
    try:
        wait_until(lambda: agent.lookup(host, 7000).reason, what="the end of the answer's freshness")
        assert agent.resolve(host, 7000) == known
        assert "registry unreachable" in agent.last_reason
        assert agent.resolve("unknown." + host, 7000) is None
        assert "registry unreachable" in agent.last_reason
        assert agent.renew_token(lease.grant.server_id) is None
        # Longer than its lifetime: the registry must take the lease back when it returns.
        errors = agent.counters()["lease_errors"]
        ends_at_s = time.monotonic() + lease.grant.lease_ttl_s
        wait_until(lambda: time.monotonic() > ends_at_s and agent.counters()["lease_errors"] > errors)
    finally:
        control_plane.start()
    renewals = agent.counters()["lease_renewals"]
    wait_until(lambda: agent.counters()["lease_renewals"] > renewals, what="a renewal after the outage")
    wait_until(lambda: agent.resolve(host, 7000) and not agent.last_reason, what="an answer of the registry")
    assert not lost
    assert not lease.lost
    lease.close()


def test_a_lease_that_the_registry_has_ended_is_lost_and_can_be_made_anew(
    agent: Agent, control_plane: Any, host: str, udp_port: int
) -> None:
    again: queue.Queue[Any] = queue.Queue()

    def on_lost(lease: Any, reason: str) -> None:
        again.put(agent.register_server("echo", host, 7000, "198.18.0.20", udp_port))

    lease = agent.register_server("echo", host, 7000, "198.18.0.20", udp_port, on_lost=on_lost)
    with control_plane.client("agent") as client:
        client.delete(f"/v1/servers/{lease.grant.server_id}", params={"incarnation": lease.grant.incarnation})
    anew = again.get(timeout=20.0)
    assert lease.lost
    assert (anew.grant.server_id, anew.grant.incarnation) != (lease.grant.server_id, lease.grant.incarnation)
    lease.close()
    anew.close()


def test_leases_end_with_the_agent(control_plane: Any, host: str, udp_port: int) -> None:
    agent = Agent(AgentConfig.from_environment(control_plane.environment()))
    lease = agent.register_server("echo", host, 7000, "198.18.0.20", udp_port)
    agent.close()
    with control_plane.client("agent") as client:
        items = client.get("/v1/servers", params={"limit": 500}).json()["items"]
    assert next(item for item in items if item["host"] == host)["state"] == "gone"
    lease.close()


def test_facts_of_helpers_and_servers_arrive(
    agent: Agent, control_plane: Any, host: str, udp_port: int, wait_until: Callable[..., Any]
) -> None:
    facts: queue.Queue[Fact] = queue.Queue()
    unsubscribe = agent.subscribe(facts.put)
    wait_until(lambda: agent.counters()["nats_connects"], what="NATS")
    helper = register_helper(control_plane)
    lease = agent.register_server("echo", host, 7000, "198.18.0.20", udp_port)
    lease.close()
    end_helper(control_plane, helper)
    wanted = {("helper_up", helper["helper_id"], None), ("helper_gone", helper["helper_id"], None)}
    wanted.add(("server_gone", None, lease.grant.server_id))
    while wanted:
        fact = facts.get(timeout=20.0)
        wanted.discard((fact.kind, fact.helper_id, fact.server_id))
    unsubscribe()
    seen = agent.counters()["facts"]
    end_helper(control_plane, register_helper(control_plane))
    wait_until(lambda: agent.counters()["facts"] >= seen + 2, what="facts nobody waits for")
    assert facts.empty()


def test_a_callback_that_fails_harms_nobody(agent: Agent, control_plane: Any, wait_until: Callable[..., Any]) -> None:
    asked: queue.Queue[Lookup] = queue.Queue()

    def fail(fact: Fact) -> None:
        asked.put(agent.lookup("h", 1))
        raise ValueError("the application's mistake")

    agent.subscribe(fail)
    wait_until(lambda: agent.counters()["nats_connects"], what="NATS")
    end_helper(control_plane, register_helper(control_plane))
    wait_until(lambda: agent.counters()["callback_errors"] >= 2)
    assert asked.get_nowait() == Lookup(None, "called on the agent's own thread")
    assert agent.resolve("nobody.example", 1) is None
    assert agent.last_reason == "no VCL server there"


def test_nats_may_go_and_come(agent: Agent, control_plane: Any, wait_until: Callable[..., Any]) -> None:
    facts: queue.Queue[Fact] = queue.Queue()
    agent.subscribe(facts.put)
    wait_until(lambda: agent.counters()["nats_connects"] == 1, what="NATS")
    control_plane.nats.stop()
    wait_until(lambda: agent.counters()["nats_errors"] >= 2, what="attempts that fail")
    control_plane.nats.start()
    wait_until(lambda: agent.counters()["nats_connects"] == 2, what="NATS again")
    helper = register_helper(control_plane)
    while facts.get(timeout=20.0).helper_id != helper["helper_id"]:
        continue
    end_helper(control_plane, helper)


@pytest.mark.parametrize(
    ("subject", "payload"),
    [
        ("postman.v1.fact.helper.down", b"{"),
        ("postman.v1.fact.helper.down", b'{"v":1,"helper_id":0}'),
        ("postman.v1.fact.helper.exploded", b"{}"),
        ("postman.v1.fact.moon.full", b"{}"),
        ("postman.v1.fact.helper.down.twice", b"\xff"),
    ],
)
def test_malformed_facts_are_counted(
    agent: Agent, control_plane: Any, wait_until: Callable[..., Any], subject: str, payload: bytes
) -> None:
    import asyncio

    import nats

    async def publish() -> None:
        client = await nats.connect(control_plane.nats_url)
        await client.publish(subject, payload)
        await client.close()

    facts: queue.Queue[Fact] = queue.Queue()
    agent.subscribe(facts.put)
    wait_until(lambda: agent.counters()["nats_connects"], what="NATS")
    asyncio.run(publish())
    wait_until(lambda: agent.counters()["facts_malformed"] == 1)
    # Facts of other tests' helpers and servers may pass, whose leases run out just now.
    assert all(fact.helper_id or fact.server_id or fact.services for fact in list(facts.queue))
