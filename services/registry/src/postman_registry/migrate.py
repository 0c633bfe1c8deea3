# SPDX-License-Identifier: Apache-2.0
"""Brings the database's tables to this release's, or to a given revision: one at a time, all or nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import structlog
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text

from postman_kit.db import Database
from postman_registry.tables import SCHEMA

_LOCK_ID: Final = 0x706D7265  # any number that no other lock of ours has
_SCRIPTS: Final = Path(__file__).parent / "alembic"

_log = structlog.get_logger(__name__)


async def migrate(database: Database, revision: str = "head", *, back: bool = False) -> None:
    """Migrate forward, or back to an earlier revision ("base": none).

    Services that start together wait for each other; the second finds nothing to do.
    """
    async with database.transaction() as connection:
        await connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK_ID})"))
        await connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"))
        await connection.run_sync(_run, revision, back)
    _log.info("database migrated", schema=SCHEMA, revision=revision)


def _run(connection: Connection, revision: str, back: bool) -> None:
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS))
    config.attributes["connection"] = connection
    (command.downgrade if back else command.upgrade)(config, revision)
