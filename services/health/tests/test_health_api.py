# SPDX-License-Identifier: Apache-2.0
"""REST: answers, pages, problem documents, and the live events over real HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
import uvicorn
from health_parts import Health, Site, fact_of, running, until

from postman_contracts import rest_health as rest
from postman_contracts import subjects
from postman_contracts.problems import MEDIA_TYPE, Problem, ProblemType
from postman_health.__main__ import main
from postman_kit.app import listen
from postman_kit.embedded import EmbeddedNats, EmbeddedPostgres
from postman_kit.embedded.child import choose_port
from postman_kit.embedded.pytest_fixtures import drop_database, make_database

CALLS = ("/v1/verdicts", "/v1/verdicts/1", "/v1/events", "/v1/events/live")

WRONG = (
    ("/v1/verdicts?after=65536", "after"),
    ("/v1/verdicts?limit=0", "limit"),
    ("/v1/verdicts/0", "helper_id"),
    ("/v1/verdicts/one", "helper_id"),
    ("/v1/events?after=9223372036854775808", "after"),
    ("/v1/events?after=-1", "after"),
    ("/v1/events?limit=501", "limit"),
    ("/v1/events?newest=perhaps", "newest"),
    ("/v1/events?kind=%00", "kind"),
    ("/v1/events?kind=" + "k" * 65, "kind"),
    ("/v1/events?helper_id=65536", "helper_id"),
    ("/v1/events/live?server_id=x", "server_id"),
)


async def test_nothing_is_told_without_a_key(health: Health) -> None:
    for path in CALLS:
        answer = await health.client("").get(path)
        assert (answer.status_code, answer.headers["content-type"]) == (401, MEDIA_TYPE), path


async def test_wrong_requests_name_the_field(health: Health) -> None:
    for path, field in WRONG:
        answer = await health.client().get(path)
        problem = Problem.model_validate(answer.json())
        assert (answer.status_code, problem.kind) == (422, ProblemType.INVALID_REQUEST), path
        assert problem.errors
        assert problem.errors[0].field.endswith(field)
    assert health.services.live.listeners == 0


async def test_an_unknown_helper_is_404(health: Health) -> None:
    answer = await health.client().get("/v1/verdicts/7")
    assert (answer.status_code, Problem.model_validate(answer.json()).kind) == (404, ProblemType.UNKNOWN_HELPER)


async def test_verdicts_in_pages_with_their_evidence(health: Health, site: Site) -> None:
    for helper_id in (3, 1, 2):
        await site.report(helper_id)
        await site.pushed(helper_id, "down")
    viewer, seen, after = health.client(), [], 0
    for _ in range(3):
        page = rest.VerdictPage.model_validate((await viewer.get(f"/v1/verdicts?after={after}&limit=2")).json())
        seen += [verdict.helper_id for verdict in page.items]
        if page.next is None:
            break
        after = page.next
    assert seen == [1, 2, 3]
    evidence = page.items[-1].evidence
    assert (evidence["worker_ended"], evidence["heartbeats"], evidence["silent_s"]) == (1, 0, None)
    assert (evidence["deaths_recent"], evidence["proof_s"], evidence["lease"]) == (1, 1.0, None)


async def test_events_in_pages_and_by_filter(health: Health, site: Site) -> None:
    for helper_id in (1, 2, 1):
        await site.fact(subjects.helper_fact("up"), fact_of(helper_id))
    await site.fact(subjects.server_fact("up"), b'{"event_id": "00000000-0000-4000-8000-000000000001", "server_id": 5}')
    await until(lambda: health.events(), lambda found: len(found) == 4)
    viewer = health.client()
    first = rest.EventPage.model_validate((await viewer.get("/v1/events?limit=3")).json())
    second = rest.EventPage.model_validate((await viewer.get(f"/v1/events?limit=3&after={first.next}")).json())
    assert ([len(first.items), len(second.items)], second.next) == ([3, 1], None)
    assert len(await health.events(helper_id=1)) == 2
    assert [event["body"]["server_id"] for event in await health.events(server_id=5)] == [5]
    assert [event["kind"] for event in await health.events(kind="server.up")] == ["server.up"]


async def test_the_newest_events_by_filter(health: Health, site: Site) -> None:
    for helper_id in (1, 2, 1, 2):
        await site.fact(subjects.helper_fact("up"), fact_of(helper_id))
    every = [event["number"] for event in await until(lambda: health.events(), lambda found: len(found) == 4)]
    viewer = health.client()

    async def newest(query: str) -> list[int]:
        page = rest.EventPage.model_validate((await viewer.get(f"/v1/events?newest=true&{query}")).json())
        assert page.next is None
        return [event.number for event in page.items]

    assert await newest("limit=2") == every[2:]
    assert await newest("limit=4") == every
    assert await newest("limit=1&helper_id=1") == [every[2]]
    assert await newest(f"limit=3&after={every[2]}") == [every[3]]


# --- live events, over real HTTP --------------------------------------------------------------------


@contextlib.asynccontextmanager
async def served(health: Health) -> AsyncIterator[httpx.AsyncClient]:
    """The running application on a port."""
    listener = listen("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(health.app, lifespan="off", log_config=None, timeout_graceful_shutdown=5))
    task = asyncio.create_task(server.serve(sockets=[listener]))
    key = health.client().headers["Authorization"]
    base = f"http://127.0.0.1:{listener.getsockname()[1]}"
    async with httpx.AsyncClient(base_url=base, headers={"Authorization": key}, timeout=20) as client:
        await until(lambda: server.started)
        yield client
    server.should_exit = True
    health.services.live.stop()
    await task


async def take(answer: httpx.Response, count: int) -> list[dict[str, Any]]:
    """The next events of a stream: id, event and data of each."""
    found: list[dict[str, Any]] = []
    event: dict[str, Any] = {}
    async with asyncio.timeout(20):
        async for line in answer.aiter_lines():
            name, _, value = line.partition(": ")
            if name in ("id", "event", "data"):
                event[name] = value
            elif not line and "data" in event:
                found.append(event)
                event = {}
                if len(found) == count:
                    return found
    raise AssertionError(f"the stream ended after {len(found)} events")


async def test_live_events_come_as_they_are_recorded_and_resume(health: Health, site: Site) -> None:
    await site.fact(subjects.helper_fact("up"), fact_of(1))
    await until(lambda: health.events())
    async with served(health) as client:
        async with client.stream("GET", "/v1/events/live") as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            await site.fact(subjects.helper_fact("down"), fact_of(1))
            [event] = await take(answer, 1)
            recorded = rest.Event.model_validate_json(event["data"])
            assert (event["event"], recorded.kind, int(event["id"])) == ("helper.down", "helper.down", recorded.number)
        for number in range(250):  # more than one page
            await site.fact(subjects.helper_fact("up"), fact_of(1, reason=str(number)))
        async with client.stream("GET", "/v1/events/live?after=0", headers={"Last-Event-ID": event["id"]}) as answer:
            caught_up = await take(answer, 250)
        reasons = [json.loads(each["data"])["body"]["reason"] for each in caught_up]
        assert reasons == [str(number) for number in range(250)]
        async with client.stream("GET", "/v1/events/live?after=0&kind=helper.down&helper_id=1") as answer:
            assert [each["id"] for each in await take(answer, 1)] == [event["id"]]
        assert (await client.get("/v1/events/live", headers={"Last-Event-ID": "x"})).status_code == 422
        await until(lambda: health.services.live.listeners == 0)


async def test_listeners_are_bounded_kept_alive_and_their_places_come_free(
    tmp_path: Path, database_url: str, own_nats: EmbeddedNats
) -> None:
    async with running(tmp_path, database_url, own_nats.url, health_listeners_max=2) as health:
        await health.ready()
        live = health.services.live
        live._keepalive_s = 0.05
        async with served(health) as client, contextlib.AsyncExitStack() as streams:
            answers = [await streams.enter_async_context(client.stream("GET", "/v1/events/live")) for _ in range(2)]
            refused = await client.get("/v1/events/live")
            assert (refused.status_code, int(refused.headers["retry-after"]) >= 1) == (503, True)
            assert Problem.model_validate(refused.json()).kind == ProblemType.UNAVAILABLE
            lines = answers[0].aiter_lines()
            async with asyncio.timeout(20):
                while await anext(lines) != ": keepalive":
                    pass
            await answers[0].aclose()
            await until(lambda: live.listeners == 1)
            async with client.stream("GET", "/v1/events/live") as answer:
                assert answer.status_code == 200


async def test_a_listener_that_does_not_read_holds_up_nobody(health: Health, site: Site) -> None:
    big = fact_of(1, reason="x" * 200)
    async with served(health) as client:
        _, writer = await asyncio.open_connection("127.0.0.1", client.base_url.port)
        key = client.headers["Authorization"]
        writer.write(f"GET /v1/events/live?after=0 HTTP/1.1\r\nHost: x\r\nAuthorization: {key}\r\n\r\n".encode())
        await writer.drain()
        await until(lambda: health.services.live.listeners == 1)
        async with client.stream("GET", "/v1/events/live?after=0") as answer:
            for number in range(200):
                await site.fact(subjects.helper_fact("up"), big.model_copy(update={"event_id": UUID(int=number + 1)}))
            assert len(await take(answer, 200)) == 200
        writer.close()
        await until(lambda: health.services.live.listeners == 0)


async def test_the_process_ends_promptly_though_somebody_listens(
    tmp_path: Path, database_url: str, own_nats: EmbeddedNats
) -> None:
    port = choose_port(0, "health")
    environment = os.environ | {
        "POSTMAN_DATABASE_URL": database_url,
        "POSTMAN_NATS_URL": own_nats.url,
        "POSTMAN_STATE_DIR": str(tmp_path),
        "POSTMAN_HEALTH_PORT": str(port),
    }
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "postman_health", env=environment)
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:

            async def is_ready() -> bool:
                with contextlib.suppress(httpx.TransportError):
                    return (await client.get("/readyz")).status_code == 200
                return False

            await until(is_ready, timeout_s=40)
            client.headers["Authorization"] = f"Bearer {(tmp_path / 'keys' / 'viewer').read_text().strip()}"
            async with client.stream("GET", "/v1/events/live") as answer:
                lines = answer.aiter_lines()
                assert await anext(lines) == "retry: 1000"
                process.send_signal(signal.SIGTERM)
                assert [line async for line in lines if line] == []  # it ends in order: no broken transfer
            assert await asyncio.wait_for(process.wait(), 20) == 0
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()


def test_migrate_from_the_command_line(postgres_server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch) -> None:
    name = asyncio.run(make_database(postgres_server))
    monkeypatch.setenv("POSTMAN_DATABASE_URL", postgres_server.url_of(name))
    assert main(["migrate"]) == 0
    assert main(["migrate", "--back", "base"]) == 0
    assert main(["migrate"]) == 0
    asyncio.run(drop_database(postgres_server, name))


def test_a_wrong_setting_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("POSTMAN_HEALTH_TICK_MS", "5000")
    assert main([]) == 2
    assert "POSTMAN_HEALTH_TICK_MS" in capsys.readouterr().err
