# SPDX-License-Identifier: Apache-2.0
"""What health's tests are made of: a clock that we turn, messages, the whole service in this process."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import nats
from fastapi import FastAPI
from nats.aio.client import Client
from pydantic import BaseModel

from postman_contracts import subjects
from postman_contracts.messages import HelperFact, HelperHeartbeat, HelperReport, HelperVerdict
from postman_health.__main__ import build
from postman_health.detector import Change, Detector, Moment
from postman_health.settings import HealthSettings

NOW = datetime(2026, 1, 1, tzinfo=UTC)
INTERVAL_S = 0.2
TICK_S = 0.05
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
TRACE_PARENT = f"00-{TRACE_ID}-b7ad6b7169203331-01"


def beat_of(helper_id: int = 1, incarnation: int = 1, interval_s: float | None = INTERVAL_S) -> HelperHeartbeat:
    return HelperHeartbeat(helper_id=helper_id, incarnation=incarnation, state="up", at=NOW, interval_s=interval_s)


def report_of(helper_id: int = 1, incarnation: int = 1, event: str = "worker-ended", detail: str = "") -> HelperReport:
    return HelperReport(helper_id=helper_id, incarnation=incarnation, event=event, at=NOW, detail=detail)


def fact_of(helper_id: int = 1, incarnation: int = 1, at: datetime = NOW, reason: str = "test") -> HelperFact:
    return HelperFact(event_id=uuid4(), at=at, helper_id=helper_id, incarnation=incarnation, reason=reason)


class Scene:
    """A detector in a time that we turn: helpers that speak each 200 ms unless told to be silent."""

    def __init__(self, *helper_ids: int) -> None:
        self.s = 1000.0
        self.at = NOW
        self.detector = Detector(self.now, down_kept_s=3600)
        self.speakers: dict[int, int] = {}
        self.changes: list[tuple[int, str]] = []
        self.changed_s: list[float] = []
        self.connected = True
        self._next_beat_s = self.s
        for helper_id in helper_ids:
            self.speakers[helper_id] = 1
        self.run(3.0)  # the grace after connecting is over
        self.changes.clear()
        self.changed_s.clear()

    @property
    def now(self) -> Moment:
        return Moment(self.s, self.at)

    def take(self, outcome: object) -> None:
        if isinstance(outcome, Change):
            self.changes.append((outcome.helper_id, outcome.verdict))
            self.changed_s.append(self.s)

    def beat(self, helper_id: int = 1, incarnation: int = 1) -> None:
        self.take(self.detector.heartbeat(beat_of(helper_id, incarnation), self.now))

    def report(self, helper_id: int = 1, incarnation: int = 1, event: str = "worker-ended") -> None:
        self.take(self.detector.report(report_of(helper_id, incarnation, event), self.now))

    def tick(self) -> None:
        for outcome in self.detector.tick(self.now, is_connected=self.connected):
            self.take(outcome)

    def jump(self, seconds: float) -> None:
        """Time in which nothing of ours runs."""
        self.s += seconds
        self.at += timedelta(seconds=seconds)

    def run(self, seconds: float) -> None:
        """Time in which all do what they should."""
        end_s = self.s + seconds
        while self.s < end_s:
            if self.s >= self._next_beat_s:
                self._next_beat_s = self.s + INTERVAL_S
                for helper_id, incarnation in self.speakers.items():
                    if self.connected:
                        self.beat(helper_id, incarnation)
            self.tick()
            self.jump(TICK_S)

    def verdict(self, helper_id: int = 1) -> str | None:
        found = self.detector.standing(helper_id, self.now)
        return found[0].verdict if found else None

    def evidence(self, helper_id: int = 1) -> dict[str, Any]:
        found = self.detector.standing(helper_id, self.now)
        assert found
        return dict(found[1])


# --- the whole service ----------------------------------------------------------------------------


class Health:
    """A running health: clients of each role."""

    def __init__(self, app: FastAPI, keys: Path) -> None:
        self.app = app
        self.services = app.state.services
        self._keys = keys
        self._clients: list[httpx.AsyncClient] = []

    def client(self, role: str = "viewer") -> httpx.AsyncClient:
        key = (self._keys / role).read_text().strip() if role else "wrong-key-of-nobody"
        client = httpx.AsyncClient(
            transport=httpx.ASGITransport(self.app, raise_app_exceptions=False),
            base_url="http://health",
            headers={"Authorization": f"Bearer {key}"},
        )
        self._clients.append(client)
        return client

    async def ready(self, is_ready: bool = True) -> None:
        client = self.client()
        await until(lambda: client.get("/readyz"), lambda answer: (answer.status_code == 200) is is_ready)

    async def verdict(self, helper_id: int) -> dict[str, Any]:
        return dict((await self.client().get(f"/v1/verdicts/{helper_id}")).json())

    async def events(self, **query: Any) -> list[dict[str, Any]]:
        answer = await self.client().get("/v1/events", params=query)
        return list(answer.json()["items"]) if answer.status_code == 200 else []

    async def close(self) -> None:
        for client in self._clients:
            await client.aclose()


async def until(ask: Callable[[], Any], is_done: Callable[..., object] = bool, timeout_s: float = 20.0) -> Any:
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
async def running(state: Path, database_url: str, nats_url: str, **settings: object) -> AsyncIterator[Health]:
    """The whole service in this process; it may not be ready yet."""
    values = {"state_dir": state} | settings
    app = build(HealthSettings(database_url=database_url, nats_url=nats_url, **values))
    async with app.router.lifespan_context(app):
        health = Health(app, state / "keys")
        yield health
        await health.close()


class Site:
    """The helpers, supervisors and registry of an installation, as health sees them: by what they say on NATS."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.pushes: list[HelperVerdict] = []
        self.headers: list[dict[str, str]] = []
        self._speaking: dict[int, asyncio.Task[None]] = {}

    async def listen(self) -> None:
        async def on_push(message: Any) -> None:
            self.pushes.append(HelperVerdict.model_validate_json(message.data))
            self.headers.append(dict(message.headers or {}))

        await self.client.subscribe(subjects.HELPER_VERDICTS_ALL, cb=on_push)
        await self.client.flush()

    async def say(self, subject: str, message: BaseModel | bytes, **headers: str) -> None:
        data = message if isinstance(message, bytes) else message.model_dump_json().encode()
        await self.client.publish(subject, data, headers=headers or None)
        await self.client.flush()

    async def fact(self, subject: str, message: BaseModel | bytes, **headers: str) -> None:
        data = message if isinstance(message, bytes) else message.model_dump_json().encode()
        await self.client.jetstream().publish(subject, data, headers=headers or None)

    async def report(self, helper_id: int = 1, incarnation: int = 1, **headers: str) -> None:
        await self.say(subjects.helper_report(helper_id), report_of(helper_id, incarnation), **headers)

    def speak(self, helper_id: int, incarnation: int = 1) -> None:
        """This helper lives from now on."""

        async def beats() -> None:
            while True:
                await self.say(subjects.helper_heartbeat(helper_id), beat_of(helper_id, incarnation))
                await asyncio.sleep(INTERVAL_S / 2)

        self.silence(helper_id)
        self._speaking[helper_id] = asyncio.create_task(beats())

    def silence(self, helper_id: int) -> None:
        task = self._speaking.pop(helper_id, None)
        if task is not None:
            task.cancel()

    async def pushed(self, helper_id: int, verdict: str) -> HelperVerdict:
        def found() -> list[HelperVerdict]:
            return [push for push in self.pushes if (push.helper_id, push.verdict) == (helper_id, verdict)]

        return (await until(found))[-1]


@contextlib.asynccontextmanager
async def site_of(nats_url: str) -> AsyncIterator[Site]:
    client = await nats.connect(nats_url)
    site = Site(client)
    await site.listen()
    try:
        yield site
    finally:
        for helper_id in list(site._speaking):
            site.silence(helper_id)
        await client.close()
