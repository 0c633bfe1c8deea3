# SPDX-License-Identifier: Apache-2.0
"""Brings a service's tables to this release's, or to a given revision: one at a time, all or nothing."""

from __future__ import annotations

import zlib
from pathlib import Path

import structlog
from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection, text

from postman_kit.db import Database

_log = structlog.get_logger(__name__)


class MigrationError(Exception):
    """The tables cannot be brought to that revision: why, and what to do."""


async def migrate(
    database: Database, *, schema: str, scripts: Path, revision: str = "head", back: bool = False
) -> None:
    """Migrate forward, or back to an earlier revision ("base": none). `scripts` is the service's alembic folder.

    Services that start together wait for each other; the second finds nothing to do. MigrationError if there is no way
    to that revision, or from the one that the tables have.
    """
    lock_id = zlib.crc32(f"{schema}.migrate".encode())
    async with database.transaction() as connection:
        await connection.execute(text(f"SELECT pg_advisory_xact_lock({lock_id})"))
        await connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {schema}"))
        try:
            await connection.run_sync(_run, scripts, revision, back)
        except CommandError as error:
            raise MigrationError(
                f"schema {schema}: {error}. Name a revision of this release; tables of a newer one are brought back by "
                "that one's own 'migrate --back'"
            ) from None
    _log.info("database migrated", schema=schema, revision=revision)


def _run(connection: Connection, scripts: Path, revision: str, back: bool) -> None:
    config = Config()
    config.set_main_option("script_location", str(scripts))
    config.attributes["connection"] = connection
    (command.downgrade if back else command.upgrade)(config, revision)
