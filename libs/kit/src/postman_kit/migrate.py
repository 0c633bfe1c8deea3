# SPDX-License-Identifier: Apache-2.0
"""Brings a service's tables to this release's, or to a given revision: one at a time, all or nothing."""

from __future__ import annotations

import zlib
from pathlib import Path

import structlog
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text

from postman_kit.db import Database

_log = structlog.get_logger(__name__)


async def migrate(
    database: Database, *, schema: str, scripts: Path, revision: str = "head", back: bool = False
) -> None:
    """Migrate forward, or back to an earlier revision ("base": none). `scripts` is the service's alembic folder.

    Services that start together wait for each other; the second finds nothing to do.
    """
    lock_id = zlib.crc32(f"{schema}.migrate".encode())
    async with database.transaction() as connection:
        await connection.execute(text(f"SELECT pg_advisory_xact_lock({lock_id})"))
        await connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {schema}"))
        await connection.run_sync(_run, scripts, revision, back)
    _log.info("database migrated", schema=schema, revision=revision)


def _run(connection: Connection, scripts: Path, revision: str, back: bool) -> None:
    config = Config()
    config.set_main_option("script_location", str(scripts))
    config.attributes["connection"] = connection
    (command.downgrade if back else command.upgrade)(config, revision)
