# SPDX-License-Identifier: Apache-2.0
"""What health does while NATS or Postgres is away or slow, and after: pushes go on, no false verdict, nothing lost."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest
from health_parts import Site, fact_of, report_of, running, site_of, until
from structlog.testing import capture_logs

from postman_contracts import subjects
from postman_kit.bus import Bus
from postman_kit.embedded import EmbeddedNats, EmbeddedPostgres
from postman_kit.embedded.pytest_fixtures import drop_database, make_database
from postman_kit.facts import FACTS


@pytest.fixture(scope="module")
def mortal_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres(tmp_path_factory.mktemp("mortal")) as server:
        yield server


@pytest.fixture
async def postgres(mortal_server: EmbeddedPostgres) -> EmbeddedPostgres:
    """A Postgres that may be stopped and killed."""
    mortal_server.start()
    return mortal_server


@pytest.fixture
async def mortal_url(postgres: EmbeddedPostgres) -> str:
    """A database of the test's own in it."""
    return postgres.url_of(await make_database(postgres))


async def test_without_postgres_verdicts_are_given_and_written_later(
    tmp_path: Path, own_nats: EmbeddedNats, site: Site, postgres: EmbeddedPostgres, mortal_url: str
) -> None:
    async with running(tmp_path, mortal_url, own_nats.url) as health:
        await health.ready()
        for helper_id in (1, 2):
            site.speak(helper_id)
            await site.pushed(helper_id, "up")
        await until(lambda: health.events(kind="verdict.up"), lambda found: len(found) == 2)
        assert postgres.pid
        os.kill(postgres.pid, signal.SIGKILL)
        await health.ready(False)
        await site.report(1)
        site.silence(1)
        await site.pushed(1, "down")
        await until(lambda: sum(push.verdict == "down" for push in site.pushes) >= 2)
        await site.fact(subjects.server_fact("up"), fact_of(9))
        viewer = health.client()
        assert (await viewer.get("/v1/verdicts/1")).json()["verdict"] == "down"
        answer = await viewer.get("/v1/events")
        assert (answer.status_code, int(answer.headers["retry-after"]) >= 1) == (503, True)
        assert (await viewer.get("/v1/events/live")).status_code == 503
        postgres.start()
        await health.ready()
        await until(lambda: health.events(kind="server.up"))
        assert len(await until(lambda: health.events(kind="verdict.down"))) == 1
        assert health.services.watch.detector.counters["late"] <= 2  # what was under way


async def test_a_slow_postgres_delays_no_push(
    tmp_path: Path, own_nats: EmbeddedNats, site: Site, postgres: EmbeddedPostgres, mortal_url: str
) -> None:
    async with running(tmp_path, mortal_url, own_nats.url) as health:
        await health.ready()
        assert postgres.pid
        backends = _children(postgres.pid)
        for pid in backends:
            os.kill(pid, signal.SIGSTOP)
        try:
            for helper_id in range(1, 6):
                site.speak(helper_id)
                await site.pushed(helper_id, "up")
                await site.report(helper_id)
                await site.pushed(helper_id, "down")
            recorded = health.services.history.counters["recorded"]
        finally:
            for pid in backends:
                os.kill(pid, signal.SIGCONT)
        assert recorded == 0
        await until(lambda: health.events(kind="verdict.down"), lambda found: len(found) == 5)


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


async def test_started_without_postgres_it_watches_and_takes_up_what_was_known(
    tmp_path: Path, own_nats: EmbeddedNats, site: Site, postgres: EmbeddedPostgres, mortal_url: str
) -> None:
    async with running(tmp_path, mortal_url, own_nats.url) as health:
        await health.ready()
        for incarnation in range(1, 7):  # the proof will take 32 s
            await site.report(1, incarnation)
        await until(lambda: health.events(kind="verdict.down"))
        await until(lambda: health.verdict(1), lambda said: said["evidence"]["deaths_recent"] == 6)
    postgres.stop()
    async with running(tmp_path, mortal_url, own_nats.url) as health:
        site.pushes.clear()
        site.speak(1, 7)
        up = await site.pushed(1, "up")
        assert up.reason == "first heartbeat"
        postgres.start()
        await health.ready()
        said = await health.verdict(1)
        assert (said["verdict"], said["reason"]) == ("down", "its worker ended")
        assert said["evidence"]["state"] == "proving"
        await site.pushed(1, "down")


async def test_a_database_that_was_emptied_is_made_anew(
    tmp_path: Path, own_nats: EmbeddedNats, site: Site, postgres: EmbeddedPostgres
) -> None:
    name = await make_database(postgres)
    # Captured: to paint the expected tracebacks would take seconds of the event loop.
    with capture_logs():
        await _emptied(tmp_path, postgres, name, own_nats, site)


async def _emptied(tmp_path: Path, postgres: EmbeddedPostgres, name: str, own_nats: EmbeddedNats, site: Site) -> None:
    async with running(tmp_path, postgres.url_of(name), own_nats.url) as health:
        await health.ready()
        await drop_database(postgres, name)
        await health.ready(False)
        await site.report(1)
        await site.pushed(1, "down")
        connection = await asyncpg.connect(postgres.url_of("postgres"))
        await connection.execute(f"CREATE DATABASE {name}")
        await connection.close()
        await until(lambda: health.services.history.counters["recorded"])
        assert [event["kind"] for event in await health.events()] == ["verdict.down"]


async def test_while_nats_is_away_nobody_is_dead_and_after_it_nothing_is_lost(
    tmp_path: Path, database_url: str, own_nats: EmbeddedNats
) -> None:
    async with running(tmp_path, database_url, own_nats.url) as health:
        await health.ready()
        async with site_of(own_nats.url) as site:
            for helper_id in (1, 2):
                site.speak(helper_id)
                await site.pushed(helper_id, "up")
            await until(lambda: health.events(kind="verdict.up"), lambda found: len(found) == 2)
        assert own_nats.pid
        os.kill(own_nats.pid, signal.SIGKILL)
        await until(lambda: own_nats.pid is None)
        await health.services.watch.report(report_of(1))  # a verdict while nobody can hear it
        own_nats.start()
        async with site_of(own_nats.url) as site:
            for helper_id in (1, 2):
                site.speak(helper_id, 2 if helper_id == 1 else 1)
            await site.pushed(1, "up")
            found = await until(lambda: health.events(), lambda found: len(found) >= 4)
            assert [event["kind"] for event in found] == ["verdict.up", "verdict.up", "verdict.down", "verdict.up"]
            assert {push.verdict for push in site.pushes if push.helper_id == 2} <= {"up"}
        assert health.services.watch.counters["suspect"] == 0


async def test_what_happened_while_health_was_down_is_in_the_history(
    tmp_path: Path, database_url: str, own_nats: EmbeddedNats
) -> None:
    bus = Bus(own_nats.url, name="registry")
    await bus.ensure_stream(FACTS)
    await bus.start()
    assert await bus.wait_connected(10)
    wanted = []
    for round_ in range(3):
        for _ in range(20):
            fact = fact_of(7)
            wanted.append(str(fact.event_id))
            await bus.publish_durable(
                subjects.helper_fact("up"), fact.model_dump_json().encode(), message_id=uuid4().hex
            )
        async with running(tmp_path, database_url, own_nats.url) as health:
            await health.ready()
            if round_ == 1:  # ends in the middle
                continue
            found = await until(lambda: health.events(limit=500), lambda found: len(found) == len(wanted))
            assert [event["event_id"] for event in found] == wanted
            numbers = [event["number"] for event in found]
            assert numbers == sorted(set(numbers))
    await bus.stop()
