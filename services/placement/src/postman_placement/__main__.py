# SPDX-License-Identifier: Apache-2.0
"""`python -m postman_placement`: the only place where placement is put together. See postman_kit.command."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator

from fastapi import FastAPI

from postman_kit import telemetry
from postman_kit.app import create_app
from postman_kit.auth import key_ring_from
from postman_kit.bus import Bus
from postman_kit.command import ServiceCommand
from postman_kit.db import Database
from postman_kit.outbox import OutboxPublisher
from postman_placement import __version__, api
from postman_placement.bus import Acknowledgements, subscribe
from postman_placement.fleet import FleetSource
from postman_placement.service.apply import Applying
from postman_placement.service.context import Context
from postman_placement.service.inputs import Inputs
from postman_placement.service.placements import Placements
from postman_placement.service.solving import Solvers
from postman_placement.service.upkeep import Upkeep
from postman_placement.settings import PlacementSettings
from postman_placement.tables import SCHEMA, SCRIPTS, outbox


def build(settings: PlacementSettings) -> FastAPI:
    """The application with all its parts. Nothing is connected until it starts; nothing at start waits."""
    key_ring = key_ring_from(settings.keys_dir())
    settings.registry_api_key()  # a wrong setting is said now, and not at the first request
    database = Database(
        settings.required_database_url(),
        name="postman-placement",
        connections_max=settings.placement_database_connections_max,
    )
    bus = Bus(settings.nats_url.get_secret_value(), name="postman-placement")
    context = Context(database)
    acknowledgements = Acknowledgements()
    fleet = FleetSource(
        settings.registry_url,
        settings.health_url,
        settings.registry_api_key,
        registry_timeout_s=settings.placement_registry_timeout_s,
        health_timeout_s=settings.placement_health_timeout_s,
    )
    solvers = Solvers(at_once_max=settings.placement_solves_max, waiting_max=settings.placement_solves_waiting_max)
    applying = Applying(context, fleet)
    publisher = OutboxPublisher(database, outbox, bus)
    upkeep = Upkeep(context, applying, bus)
    context.on_committed.append(publisher.wake)
    telemetry.export_bus(bus)
    telemetry.export_outbox(publisher)
    telemetry.export_counters("postman.placement.solves", solvers.counters)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await subscribe(bus, acknowledgements)
        await bus.start()
        tasks = [asyncio.create_task(upkeep.run()), asyncio.create_task(publisher.run())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await solvers.stop()
            await fleet.close()
            await bus.stop()
            await database.close()

    app = create_app(
        "Postman placement",
        __version__,
        key_ring=key_ring,
        ready_checks={"database": upkeep.check_ready},
        lifespan=lifespan,
        body_bytes_max=api.BODY_BYTES_MAX,
    )
    placements = Placements(context, fleet, solvers, kept_max=settings.placement_kept_max)
    app.state.services = api.Services(context, Inputs(context), placements, applying, acknowledgements)
    app.include_router(api.router)
    return app


def main(arguments: list[str] | None = None) -> int:
    """The command. Returns the exit status."""
    return ServiceCommand(
        name="postman-placement",
        settings=PlacementSettings,
        build=build,
        place=lambda settings: (settings.placement_host, settings.placement_port),
        schema=SCHEMA,
        scripts=SCRIPTS,
    ).run(arguments)


if __name__ == "__main__":
    sys.exit(main())
