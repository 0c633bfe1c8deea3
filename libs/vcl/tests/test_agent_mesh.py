# SPDX-License-Identifier: Apache-2.0
"""The agent in the mesh: verdicts of health as facts, and placements that change whom a session prefers."""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import secrets
import socket
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import nats
import pytest

from postman_contracts import subjects
from postman_contracts.messages import HelperHeartbeat, HelperVerdict
from vcl.agent import Agent, AgentConfig, Fact

WaitUntil = Callable[..., Any]
HELPER_ID = 65_000  # registered by nobody: health says nothing of it by itself
OTHER_ID = 65_001


# --- verdicts --------------------------------------------------------------------------------------------


@pytest.fixture
def agent(control_plane: Any, wait_until: WaitUntil) -> Iterator[Agent]:
    """An agent that listens."""
    made = Agent(AgentConfig.from_environment(control_plane.environment()))
    try:
        made.subscribe(lambda fact: None)
        wait_until(lambda: made.counters()["nats_connects"], what="NATS")
        yield made
    finally:
        made.close()


@pytest.fixture
def facts(agent: Agent) -> Iterator[queue.Queue[Fact]]:
    """Those about the two helpers of these tests."""
    found: queue.Queue[Fact] = queue.Queue()
    end = agent.subscribe(lambda fact: found.put(fact) if fact.helper_id in (HELPER_ID, OTHER_ID) else None)
    yield found
    end()


def publish(control_plane: Any, *messages: tuple[str, bytes], headers: dict[str, str] | None = None) -> None:
    async def send() -> None:
        client = await nats.connect(control_plane.nats_url)
        for subject, payload in messages:
            await client.publish(subject, payload, headers=headers)
        await client.close()

    asyncio.run(send())


def verdict(serial: int, what: Any, helper_id: int = HELPER_ID, lasts_s: float = 60.0) -> tuple[str, bytes]:
    message = HelperVerdict(
        helper_id=helper_id,
        incarnation=1,
        serial=serial,
        verdict=what,
        at=datetime.now(UTC),
        reason="a test",
        lasts_s=lasts_s,
    )
    return subjects.helper_verdict(helper_id), message.model_dump_json().encode()


def test_a_verdict_is_told_once_and_old_ones_are_not(
    control_plane: Any, agent: Agent, facts: queue.Queue[Fact], wait_until: WaitUntil
) -> None:
    told = [verdict(10, "suspect"), verdict(10, "suspect"), verdict(12, "down"), verdict(11, "up"), verdict(13, "down")]
    publish(control_plane, *told, verdict(1, "down", OTHER_ID), verdict(14, "up"))
    seen = [facts.get(timeout=20.0) for _ in range(4)]
    assert [(fact.kind, fact.helper_id) for fact in seen] == [
        ("helper_suspect", HELPER_ID),
        ("helper_down", HELPER_ID),
        ("helper_down", OTHER_ID),
        ("helper_up", HELPER_ID),
    ]
    assert facts.empty()
    assert agent.counters()["verdicts_repeated"] >= 3


def test_a_verdict_brings_its_trace(control_plane: Any, facts: queue.Queue[Fact]) -> None:
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    publish(control_plane, verdict(10, "down"), headers={"traceparent": parent})
    assert facts.get(timeout=20.0).traceparent == parent


def test_malformed_verdicts_are_counted_and_their_history_is_left_alone(
    control_plane: Any, agent: Agent, facts: queue.Queue[Fact], wait_until: WaitUntil
) -> None:
    subject, good = verdict(10, "down")
    publish(
        control_plane,
        (subject, b"{"),
        (subject, b"\xff"),
        (subject, good.replace(b"down", b"sideways")),
        (subject, good.replace(b'"serial":10', b'"serial":-1')),
        (subjects.verdict_fact("down"), b"whatever: it is not for us"),
        verdict(11, "up"),
    )
    assert facts.get(timeout=20.0).kind == "helper_up"
    assert facts.empty()
    counters = agent.counters()
    assert (counters["verdicts_malformed"], counters["facts_malformed"]) == (4, 0)


# --- placements --------------------------------------------------------------------------------------------


class SilentHelpers:
    """Helpers that registered and send heartbeats, and whose data ports answer nobody: sessions stay on the direct path
    and know them as candidates."""

    def __init__(self, control_plane: Any, sites: tuple[str, ...]) -> None:
        self._plane = control_plane
        self._ports = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in sites]
        self._stop = threading.Event()
        self.ids: dict[str, int] = {}
        self._grants: list[dict[str, Any]] = []
        with control_plane.client("agent") as client:
            for site, port in zip(sites, self._ports, strict=True):
                port.bind(("127.0.0.1", 0))
                body = {"name": f"s-{secrets.token_hex(4)}", "site": site, "data_address": "127.0.0.1", "workers": 1}
                body |= {"client_port": port.getsockname()[1], "trunk_port": port.getsockname()[1], "version": "0"}
                grant = client.post("/v1/helpers", json=body).raise_for_status().json()
                self._grants.append(grant)
                self.ids[site] = grant["helper_id"]
        self._thread = threading.Thread(target=lambda: asyncio.run(self._live()))
        self._thread.start()

    async def _live(self) -> None:
        url = self._plane.environment("helper")["POSTMAN_NATS_URL"]
        bus = await nats.connect(url, inbox_prefix="_INBOX_helper", reconnect_time_wait=0.2)
        headers = {"Authorization": f"Bearer {self._plane.key('agent')}"}
        async with httpx.AsyncClient(base_url=self._plane.registry_url, headers=headers, trust_env=False) as rest:
            while not self._stop.is_set():
                for grant in self._grants:
                    helper_id, incarnation = grant["helper_id"], grant["incarnation"]
                    with contextlib.suppress(httpx.HTTPError):
                        renewal = {"incarnation": incarnation, "state": "up"}
                        await rest.put(f"/v1/helpers/{helper_id}/lease", json=renewal)
                    beat = HelperHeartbeat(
                        helper_id=helper_id, incarnation=incarnation, state="up", at=datetime.now(UTC), interval_s=1.0
                    )
                    with contextlib.suppress(nats.errors.Error, OSError):
                        await bus.publish(subjects.helper_heartbeat(helper_id), beat.model_dump_json().encode())
                await asyncio.sleep(0.2)
        await bus.close()

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        with self._plane.client("agent") as client:
            for grant in self._grants:
                client.delete(f"/v1/helpers/{grant['helper_id']}", params={"incarnation": grant["incarnation"]})
        for port in self._ports:
            port.close()


@pytest.fixture
def sites() -> tuple[str, str]:
    """Two sites of this test alone."""
    mark = secrets.token_hex(3)
    return f"near-{mark}", f"far-{mark}"


@pytest.fixture
def helpers(control_plane: Any, sites: tuple[str, str]) -> Iterator[SilentHelpers]:
    """One at each site."""
    made = SilentHelpers(control_plane, sites)
    yield made
    made.close()


@pytest.fixture
def service(control_plane: Any, sites: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """This process takes part, as one of group `g` at the first site, and serves."""
    pytest.importorskip("vcl._core", reason="the extension module is not built")
    from vcl.client import close_client

    for name in [name for name in os.environ if name.startswith("POSTMAN_")]:
        monkeypatch.delenv(name)
    name = f"echo-{secrets.token_hex(4)}"
    more = {"POSTMAN_SERVICE": name, "POSTMAN_GROUP": f"g-{name}", "POSTMAN_SITE": sites[0]}
    for variable, value in (control_plane.environment() | more).items():
        monkeypatch.setenv(variable, value)
    Agent.shared().close()
    yield name
    close_client()
    Agent.shared().close()


@pytest.fixture
def place(control_plane: Any, sites: tuple[str, str], service: str, wait_until: WaitUntil) -> Callable[[str], int]:
    """Has the clients of this test counted as being at a site: the helper there becomes their primary. The epoch."""

    def asked(client: httpx.Client, method: str, path: str, body: Any = None) -> Any:
        def answer() -> httpx.Response | None:
            response = client.request(method, path, json=body, timeout=30)
            return None if response.status_code == 503 else response  # busy: the same may be asked again

        return wait_until(answer, what=path).raise_for_status().json()

    def apply(at: str) -> int:
        demand = {"group": f"g-{service}", "service": service, "site": at, "server_site": at, "rate_pps": 1000}
        link = {"a": sites[0], "b": sites[1], "rtt_us": 20_000}
        with control_plane.client("operator", "placement") as client:
            asked(client, "PUT", "/v1/topology", {"sites": [{"name": site} for site in sites], "links": [link]})
            asked(client, "PUT", "/v1/demands", {"items": [demand]})
            made = asked(client, "POST", "/v1/placements", {})
            return int(asked(client, "POST", f"/v1/placements/{made['placement_id']}/apply")["epoch"])

    return apply


def is_up(control_plane: Any, helpers: SilentHelpers) -> bool:
    with control_plane.client("viewer") as client:
        items = client.get("/v1/helpers", params={"limit": 500}).raise_for_status().json()["items"]
    return set(helpers.ids.values()) <= {item["helper_id"] for item in items if item["state"] == "up"}


def ranks_of_session(helpers: SilentHelpers) -> list[int | None]:
    """Of the helper at each site, as the session of this process has them now."""
    from vcl.client import client_sessions

    sessions = client_sessions()
    assert sessions is not None
    (live,) = sessions._live.values()
    ranks = {path.helper_id: path.rank for path in live.peer.paths}
    return [ranks.get(helper_id) for helper_id in helpers.ids.values()]


def test_an_applied_placement_changes_the_ranks_of_a_session_that_is_open(
    control_plane: Any,
    helpers: SilentHelpers,
    sites: tuple[str, str],
    service: str,
    place: Callable[[str], int],
    wait_until: WaitUntil,
) -> None:
    import vcl

    wait_until(lambda: is_up(control_plane, helpers), what="the helpers at the registry")
    with vcl.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(20)
        with control_plane.client("viewer") as client:
            items = client.get("/v1/servers", params={"limit": 500}).raise_for_status().json()["items"]
        assert [item["site"] for item in items if item["service"] == service] == [sites[0]]
        with vcl.connect(listener.getsockname()[:2], timeout=20) as client_end:
            assert client_end.transport == "vcl", client_end.why
            server_end, _ = listener.accept()
            assert ranks_of_session(helpers) == [0, 0]
            first = place(sites[1])
            wait_until(lambda: ranks_of_session(helpers) == [1, 0], what="the ranks of the first placement")
            second = place(sites[0])
            assert second > first
            wait_until(lambda: ranks_of_session(helpers) == [0, 1], what="the ranks of the second placement")
            control_plane.nats.stop()
            third = place(sites[1])
            assert third > second
            control_plane.nats.start()  # what was missed meanwhile is asked of the registry
            wait_until(lambda: ranks_of_session(helpers) == [1, 0], what="the ranks of the third placement")
            client_end.sendall(b"still here")
            server_end.settimeout(20)
            assert server_end.recv(20) == b"still here"
            server_end.close()
    assert Agent.shared().counters()["facts_malformed"] == 0
