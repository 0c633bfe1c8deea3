# SPDX-License-Identifier: Apache-2.0
"""`python -m postman_registry`: the only place where the registry is put together. See postman_kit.command."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from datetime import timedelta

from fastapi import FastAPI

from postman_kit import telemetry
from postman_kit.app import create_app
from postman_kit.auth import key_ring_from
from postman_kit.bus import Bus
from postman_kit.command import ServiceCommand
from postman_kit.db import Database
from postman_kit.outbox import OutboxPublisher
from postman_registry import __version__, api
from postman_registry.bus import HelperPulse, subscribe
from postman_registry.service.assignments import Assignments
from postman_registry.service.context import Context, Policy
from postman_registry.service.helpers import Helpers
from postman_registry.service.resolve import Resolver
from postman_registry.service.servers import Servers
from postman_registry.service.upkeep import Upkeep
from postman_registry.settings import RegistrySettings
from postman_registry.tables import SCHEMA, SCRIPTS, outbox
from postman_registry.verdicts import HelperVerdicts


def policy_from(settings: RegistrySettings) -> Policy:
    """The times that decide, from the settings."""
    return Policy(
        helper_lease_ttl=timedelta(seconds=settings.registry_helper_lease_ttl_s),
        server_lease_ttl=timedelta(seconds=settings.registry_server_lease_ttl_s),
        token_lifetime=timedelta(seconds=settings.registry_token_lifetime_s),
        token_conns_max=settings.registry_token_conns_max,
        key_rotation=timedelta(seconds=settings.registry_key_rotation_s),
    )


def build(settings: RegistrySettings) -> FastAPI:
    """The application with all its parts. Nothing is connected until it starts; nothing at start waits."""
    database = Database(
        settings.required_database_url(),
        name="postman-registry",
        connections_max=settings.registry_database_connections_max,
    )
    bus = Bus(settings.nats_url.get_secret_value(), name="postman-registry")
    context = Context(database, policy_from(settings))
    pulse = HelperPulse()
    verdicts = HelperVerdicts()
    answer_age_s_max = settings.registry_resolve_age_ms_max / 1000
    assignments = Assignments(context, age_s_max=answer_age_s_max)
    resolver = Resolver(context, pulse, verdicts, assignments, age_s_max=answer_age_s_max)
    publisher = OutboxPublisher(database, outbox, bus)
    upkeep = Upkeep(context, sweep_interval_s=settings.registry_sweep_interval_s)
    context.on_committed += [resolver.forget, publisher.wake]
    telemetry.export_bus(bus)
    telemetry.export_outbox(publisher)
    for name, counters in (
        ("postman.registry.resolves", resolver.counters),
        ("postman.registry.assignments", assignments.counters),
        ("postman.registry.expiries", upkeep.counters),
    ):
        telemetry.export_counters(name, counters)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await subscribe(bus, pulse, verdicts, assignments)
        await bus.start()
        tasks = [asyncio.create_task(upkeep.run()), asyncio.create_task(publisher.run())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await bus.stop()
            await database.close()

    app = create_app(
        "Postman registry",
        __version__,
        key_ring=key_ring_from(settings.keys_dir()),
        ready_checks={"database": upkeep.check_ready},
        lifespan=lifespan,
    )
    app.state.services = api.Services(context, Helpers(context), Servers(context), resolver, bus)
    app.include_router(api.router)
    return app


def main(arguments: list[str] | None = None) -> int:
    """The command. Returns the exit status."""
    return ServiceCommand(
        name="postman-registry",
        settings=RegistrySettings,
        build=build,
        place=lambda settings: (settings.registry_host, settings.registry_port),
        schema=SCHEMA,
        scripts=SCRIPTS,
    ).run(arguments)


if __name__ == "__main__":
    sys.exit(main())
