# SPDX-License-Identifier: Apache-2.0
"""`python -m postman_health`: the only place where health is put together. See postman_kit.command."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial

from fastapi import FastAPI

from postman_health import __version__, api
from postman_health.bus import push, subscribe
from postman_health.service.history import History
from postman_health.service.live import Live
from postman_health.service.recorder import Recorder
from postman_health.service.upkeep import Upkeep
from postman_health.service.watch import Watch
from postman_health.settings import HealthSettings
from postman_health.tables import SCHEMA, SCRIPTS, outbox
from postman_kit import telemetry
from postman_kit.app import create_app
from postman_kit.auth import key_ring_from
from postman_kit.bus import Bus
from postman_kit.command import ServiceCommand
from postman_kit.db import Database
from postman_kit.outbox import OutboxPublisher


def build(settings: HealthSettings) -> FastAPI:
    """The application with all its parts. Nothing is connected until it starts; nothing at start waits."""
    key_ring = key_ring_from(settings.keys_dir())
    database = Database(
        settings.required_database_url(),
        name="postman-health",
        connections_max=settings.health_database_connections_max,
    )
    bus = Bus(settings.nats_url.get_secret_value(), name="postman-health")
    publisher = OutboxPublisher(database, outbox, bus)
    recorder = Recorder(database, publisher.wake)
    watch = Watch(
        partial(push, bus),
        recorder,
        is_connected=lambda: bus.is_connected,
        tick_s=settings.health_tick_ms / 1000,
        down_kept_s=settings.health_down_kept_s,
    )
    history = History(database, partial(watch.fact, is_ordered=True))
    live = Live(history, listeners_max=settings.health_listeners_max)
    history.on_recorded.append(live.wake)
    upkeep = Upkeep(database, watch, recorder, events_kept=timedelta(days=settings.health_events_kept_days))
    services = api.Services(watch, history, live, upkeep)
    _export(services, bus, publisher, recorder)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await subscribe(bus, watch, history)
        await bus.start()
        tasks = [asyncio.create_task(part.run()) for part in (watch, upkeep, publisher)]
        try:
            yield
        finally:
            live.stop()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await bus.stop()
            await database.close()

    app = create_app(
        "Postman health",
        __version__,
        key_ring=key_ring,
        ready_checks={"database": upkeep.check_ready},
        lifespan=lifespan,
    )
    app.state.services = services
    app.state.on_stop.append(live.stop)
    app.include_router(api.router)
    return app


def _export(services: api.Services, bus: Bus, publisher: OutboxPublisher, recorder: Recorder) -> None:
    watch, detector = services.watch, services.watch.detector
    telemetry.export_bus(bus)
    telemetry.export_outbox(publisher)
    for name, counters in (
        ("postman.health.messages", detector.counters),
        ("postman.health.verdicts", watch.counters),
        ("postman.health.records", recorder.counters),
        ("postman.health.events", services.history.counters),
        ("postman.health.upkeep", services.upkeep.counters),
    ):
        telemetry.export_counters(name, counters)
    telemetry.export_gauge(
        "postman.health.helpers",
        "{helper}",
        "Helpers by verdict",
        lambda: [(count, {"postman.verdict": verdict}) for verdict, count in detector.by_verdict()],
    )
    telemetry.export_gauge(
        "postman.health.listeners",
        "{listener}",
        "Listeners to live events",
        lambda: [(services.live.listeners, {})],
    )
    telemetry.export_total(
        "postman.health.stalls",
        "{stall}",
        "Times that health itself stood still and judged no silence",
        lambda: [(detector.stalls, {})],
    )


def main(arguments: list[str] | None = None) -> int:
    """The command. Returns the exit status."""
    return ServiceCommand(
        name="postman-health",
        settings=HealthSettings,
        build=build,
        place=lambda settings: (settings.health_host, settings.health_port),
        schema=SCHEMA,
        scripts=SCRIPTS,
    ).run(arguments)


if __name__ == "__main__":
    sys.exit(main())
