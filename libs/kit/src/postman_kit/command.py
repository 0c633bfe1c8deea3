# SPDX-License-Identifier: Apache-2.0
"""The command line that every service has: serve, or bring the database forward or back.

postman-NAME                            serve
postman-NAME migrate [REVISION]         bring the database forward (default: to this release)
postman-NAME migrate --back REVISION    bring it back ("base": remove all tables)
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from fastapi import FastAPI

from postman_kit import telemetry
from postman_kit.app import ServeError, listen, serve
from postman_kit.db import Database
from postman_kit.migrate import MigrationError, migrate
from postman_kit.settings import PostmanSettings, SettingsError

S = TypeVar("S", bound=PostmanSettings)


@dataclass(frozen=True, slots=True)
class ServiceCommand(Generic[S]):
    """What tells one service's command from another's."""

    name: str
    """`postman-registry`, ...: what the command, the spans and the database's sessions are called."""
    settings: type[S]
    build: Callable[[S], FastAPI]
    place: Callable[[S], tuple[str, int]]
    """Host and port to listen on."""
    schema: str
    scripts: Path
    """The alembic folder."""

    def run(self, arguments: list[str] | None = None) -> int:
        """Does what the arguments (of the process, if None) ask for. Returns the exit status."""
        parser = argparse.ArgumentParser(prog=self.name, description=f"Postman's {self.name.removeprefix('postman-')}")
        commands = parser.add_subparsers(dest="command")
        commands.add_parser("serve", help="serve (the default)")
        migrating = commands.add_parser("migrate", help="bring the database forward or back")
        migrating.add_argument("revision", nargs="?", default="head")
        migrating.add_argument("--back", action="store_true", help="go back to an earlier revision")
        options = parser.parse_args(arguments)
        try:
            settings = self.settings.load()
            if options.command == "migrate":
                asyncio.run(self._migrate(settings, options.revision, options.back))
            else:
                self._serve(settings)
        except (SettingsError, ServeError, MigrationError) as error:
            sys.stderr.write(f"{self.name}: {error}\n")
            return 2
        except KeyboardInterrupt:
            return 130
        return 0

    def _serve(self, settings: S) -> None:
        exported = telemetry.setup(self.name, self._version())
        app = self.build(settings)
        exported.instrument(app)
        try:
            serve(app, listen(*self.place(settings)), settings.tls_files())
        finally:
            exported.shutdown()

    async def _migrate(self, settings: S, revision: str, back: bool) -> None:
        exported = telemetry.setup(self.name, self._version())
        database = Database(settings.required_database_url(), name=f"{self.name}-migrate", connections_max=2)
        try:
            await database.wait_ready()
            await migrate(database, schema=self.schema, scripts=self.scripts, revision=revision, back=back)
        finally:
            await database.close()
            exported.shutdown()

    def _version(self) -> str:
        """The service's, which its package says."""
        package = sys.modules[self.settings.__module__.partition(".")[0]]
        return str(getattr(package, "__version__", ""))
