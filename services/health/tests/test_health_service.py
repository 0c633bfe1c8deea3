# SPDX-License-Identifier: Apache-2.0
"""Verdicts with a real Postgres and a real NATS: pushed, written, told as facts, known after a restart."""

from __future__ import annotations

import asyncio
from pathlib import Path
from uuid import uuid4

import pytest
from health_parts import NOW, TRACE_ID, TRACE_PARENT, Health, Moment, Site, beat_of, fact_of, report_of, running, until

from postman_contracts import subjects
from postman_contracts.messages import HelperVerdict
from postman_health import store
from postman_health.detector import Change, Forgotten
from postman_health.service import recorder as recording
from postman_health.service.recorder import Recorder
from postman_health.service.watch import Watch
from postman_kit.db import Database
from postman_kit.embedded import EmbeddedNats


async def test_a_report_is_pushed_written_and_told_in_one_trace(health: Health, site: Site) -> None:
    site.speak(1)
    await site.pushed(1, "up")
    site.silence(1)
    await site.report(1, traceparent=TRACE_PARENT)
    push = await site.pushed(1, "down")
    assert push.reason == "its worker ended"
    said = await health.verdict(1)
    assert (said["verdict"], said["evidence"]["worker_ended"]) == ("down", 1)
    found = await until(lambda: health.events(kind="verdict.down"))
    assert (found[0]["body"]["previous"], found[0]["trace_id"]) == ("up", TRACE_ID)
    assert TRACE_ID in site.headers[[push.verdict for push in site.pushes].index("down")]["traceparent"]


async def test_the_push_is_said_before_the_handler_returns_and_waits_for_no_database() -> None:
    pushes: list[HelperVerdict] = []

    async def push(verdict: HelperVerdict) -> None:
        pushes.append(verdict)

    database = Database("postgresql://nobody@127.0.0.1:1/none", name="test")
    recorder = Recorder(database, lambda: None)
    watch = Watch(push, recorder, is_connected=lambda: True, tick_s=0.05, down_kept_s=60)
    await watch.heartbeat(beat_of(1))
    await watch.report(report_of(1))
    assert [verdict.verdict for verdict in pushes] == ["up", "down"]
    assert pushes[0].serial < pushes[1].serial


async def test_a_helper_that_begins_anew_proves_itself(health: Health, site: Site) -> None:
    site.speak(1)
    await site.pushed(1, "up")
    site.speak(1, 2)
    await until(lambda: health.verdict(1), lambda said: said["incarnation"] == 2)
    await site.report(1, 1)  # late: its successor lives
    await site.report(1, 2)
    down = await site.pushed(1, "down")
    assert down.incarnation == 2
    site.speak(1, 3)
    await until(lambda: sum(push.verdict == "down" for push in site.pushes) >= 2)  # said again, meanwhile
    up = await until(lambda: [push for push in site.pushes if (push.verdict, push.incarnation) == ("up", 3)])
    assert up[0].serial == max(push.serial for push in site.pushes)
    assert "without a gap" in up[0].reason


async def test_silence_beside_others_is_suspected_then_believed(health: Health, site: Site) -> None:
    for helper_id in (1, 2):
        site.speak(helper_id)
        await site.pushed(helper_id, "up")
    site.silence(1)
    await site.pushed(1, "down")
    own = [push.verdict for push in site.pushes if push.helper_id == 1]
    assert own[:2] == ["up", "suspect"]
    assert own[-1] == "down"
    assert not [push for push in site.pushes if push.helper_id == 2 and push.verdict != "up"]


async def test_a_clean_end_is_forgotten_everywhere(
    tmp_path: Path, database_url: str, own_nats: EmbeddedNats, site: Site
) -> None:
    async with running(tmp_path, database_url, own_nats.url) as health:
        await health.ready()
        site.speak(1)
        await site.pushed(1, "up")
        site.silence(1)
        await site.fact(subjects.helper_fact("gone"), fact_of(1))
        await until(lambda: health.verdict(1), lambda answer: answer.get("status") == 404)
        await until(lambda: health.events(kind="helper.gone"))
    async with running(tmp_path, database_url, own_nats.url) as health:
        await health.ready()
        assert (await health.verdict(1))["status"] == 404


async def test_after_a_restart_down_holds_until_proof(
    tmp_path: Path, database_url: str, own_nats: EmbeddedNats, site: Site
) -> None:
    async with running(tmp_path, database_url, own_nats.url) as health:
        await health.ready()
        await site.report(1)
        await until(lambda: health.events(kind="verdict.down"))
        await site.fact(subjects.helper_fact("down"), fact_of(1))
        await until(lambda: health.events(kind="helper.down"))
    highest = max(push.serial for push in site.pushes)
    site.pushes.clear()
    async with running(tmp_path, database_url, own_nats.url) as health:
        await health.ready()
        again = await site.pushed(1, "down")  # nobody asked: the old verdict is said again
        assert again.serial > highest
        said = await health.verdict(1)
        assert (said["reason"], said["evidence"]["deaths_recent"]) == ("its worker ended", 1)
        assert said["evidence"]["lease"] == "down"
        site.speak(1, 2)
        up = await site.pushed(1, "up")
        assert "without a gap" in up.reason
    assert [push.verdict for push in site.pushes][-1] == "up"


async def test_foreign_and_malformed_messages_change_nothing(health: Health, site: Site) -> None:
    await site.say(subjects.helper_heartbeat(2), beat_of(1))
    await site.say(subjects.helper_report(2), report_of(1))
    hostile = [b"", b"{", b"[]", b"\xff\xfe", b"[" * 60_000, b'{"helper_id": 0}', b'{"v": 2}', b"null", b"1e999"]
    for data in hostile:
        await site.say(subjects.helper_heartbeat(1), data)
        await site.say(subjects.helper_report(1), data)
    site.speak(3)
    await site.pushed(3, "up")
    assert (await health.client().get("/v1/verdicts")).json()["items"][0]["helper_id"] == 3
    await until(lambda: health.services.watch.counters["foreign"] == 2)
    assert {push.helper_id for push in site.pushes} == {3}


@pytest.mark.parametrize("detail", ["\x00\x1b[2J\n", "퟿\U0010ffff", "%s{}'\";--", "x" * 200])
async def test_a_supervisor_may_say_anything(health: Health, site: Site, detail: str) -> None:
    await site.say(subjects.helper_report(1), report_of(1, detail=detail))
    await site.pushed(1, "down")
    found = await until(lambda: health.events(kind="verdict.down"))
    assert found[0]["body"]["reason"] == (await health.verdict(1))["reason"]


async def test_what_waits_for_the_database_is_bounded(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "WAITING_MAX", 250)
    database = Database(database_url, name="test")
    recorder = Recorder(database, lambda: None)
    for number in range(260):
        recorder.add(Forgotten(number + 1))
    assert recorder.counters["dropped"] == 10
    await recorder.write_all()
    assert recorder.counters["written"] == 250
    await database.close()


async def test_a_verdict_is_written_once_though_its_commit_was_not_heard_of(database_url: str) -> None:
    database = Database(database_url, name="test")
    recorder = Recorder(database, lambda: None)
    change = Change(1, 1, None, "down", "why", NOW, 5, 1, {})
    recorder.add(change)
    waiting = recorder._waiting[0]
    await recorder.write_all()
    recorder._waiting.append(waiting)
    await recorder.write_all()
    async with database.transaction() as connection:
        rows = (await connection.exec_driver_sql("SELECT event_id FROM health.outbox")).all()
        kept = await store.load(connection)
    assert rows == [(waiting.event_id,)]
    assert [(standing.verdict, standing.serial) for standing in kept] == [("down", 5)]
    await database.close()


async def test_events_delivered_twice_are_recorded_once(health: Health, site: Site) -> None:
    fact = fact_of(7, reason="once")
    for _ in range(3):  # without a message id the stream keeps each
        await site.fact(subjects.helper_fact("up"), fact)
    await site.fact(subjects.helper_fact("draining"), fact_of(7))
    await until(lambda: health.events(kind="helper.draining"))
    assert [event["event_id"] for event in await health.events(kind="helper.up")] == [str(fact.event_id)]
    assert health.services.history.counters["repeated"] == 2


async def test_facts_of_kinds_that_nobody_knows_are_kept(health: Health, site: Site) -> None:
    event_id = uuid4()
    body = f'{{"event_id": "{event_id}", "at": "tomorrow", "deep": {{"x": [1, 2.5, null, "é"]}}, "helper_id": true}}'
    await site.fact("postman.v1.fact.moon.full", body.encode(), traceparent=TRACE_PARENT)
    found = (await until(lambda: health.events(kind="moon.full")))[0]
    assert found["body"]["at"] == "tomorrow"
    assert found["body"]["deep"] == {"x": [1, 2.5, None, "é"]}
    assert (found["trace_id"], found["at"]) == (TRACE_ID, found["recorded_at"])


HOSTILE = {
    "no object": b"[1]",
    "no id": b'{"at": "2026-01-01T00:00:00Z"}',
    "no uuid": b'{"event_id": "7"}',
    "nul": b'{"event_id": "00000000-0000-4000-8000-000000000001", "x": "a\\u0000b"}',
    "nul in a key": b'{"event_id": "00000000-0000-4000-8000-000000000001", "a\\u0000b": 1}',
    "nan": b'{"event_id": "00000000-0000-4000-8000-000000000001", "x": NaN}',
    "infinity": b'{"event_id": "00000000-0000-4000-8000-000000000001", "x": 1e999}',
    "half a surrogate pair": b'{"event_id": "00000000-0000-4000-8000-000000000001", "x": "\\ud800"}',
    "deep": b'{"event_id": "00000000-0000-4000-8000-000000000001", "x": ' + b"[" * 5000 + b"]" * 5000 + b"}",
    "huge number": b'{"event_id": "00000000-0000-4000-8000-000000000001", "x": ' + b"9" * 50_000 + b"}",
    "time before time": b'{"event_id": "00000000-0000-4000-8000-000000000002", "at": "0001-01-01T00:00:00+14:00"}',
    "a helper's fact without a helper": b'{"event_id": "00000000-0000-4000-8000-000000000003"}',
}


async def test_no_fact_holds_up_those_behind_it(health: Health, site: Site) -> None:
    for data in HOSTILE.values():
        await site.fact(subjects.helper_fact("up"), data)
        await site.fact("postman.v1.fact.odd", data)
    for subject in ("postman.v1.fact.sp@ce", "postman.v1.fact." + "x" * 100, "postman.v1.fact.ünicode"):
        await site.fact(subject, fact_of())
    await site.fact(subjects.server_fact("up"), fact_of(9))
    found = await until(lambda: health.events(kind="server.up"))
    assert found[0]["body"]["helper_id"] == 9
    kept = {event["event_id"][-1] for event in await health.events(kind="odd")}
    assert kept <= {"1", "2", "3"}
    assert {"2", "3"} <= kept
    assert await health.events(kind="helper.up") == []


async def test_a_backslash_before_u0000_is_no_nul(health: Health, site: Site) -> None:
    await site.fact("postman.v1.fact.odd", f'{{"event_id": "{uuid4()}", "x": "\\\\u0000"}}'.encode())
    found = await until(lambda: health.events(kind="odd"))
    assert found[0]["body"]["x"] == r"\u0000"


async def test_a_tick_that_fails_is_not_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    database = Database("postgresql://nobody@127.0.0.1:1/none", name="test")
    calls = 0

    async def push(_: HelperVerdict) -> None:
        raise RuntimeError("told to")

    def clock() -> Moment:
        nonlocal calls
        calls += 1
        return Moment(float(calls), NOW)

    watch = Watch(
        push, Recorder(database, lambda: None), is_connected=lambda: True, tick_s=0, down_kept_s=60, clock=clock
    )
    with pytest.raises(RuntimeError):
        await watch.report(report_of(1))
    task = asyncio.create_task(watch.run())
    await until(lambda: calls > 5)
    task.cancel()
