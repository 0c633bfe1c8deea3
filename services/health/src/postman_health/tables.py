# SPDX-License-Identifier: Apache-2.0
"""The tables of health, all in the Postgres schema `health`. alembic/versions makes them; keep both alike."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sqlalchemy import BigInteger, Column, DateTime, Index, Integer, MetaData, String, Table, Uuid
from sqlalchemy.dialects.postgresql import JSONB

from postman_kit.outbox import outbox_table

SCHEMA: Final = "health"
SCRIPTS: Final = Path(__file__).parent / "alembic"
"""Alembic's folder, for postman_kit.migrate."""
metadata: Final = MetaData(schema=SCHEMA)

# One row for each fact of the installation, for as long as the settings say. `number` is in the order of recording.
events: Final = Table(
    "events",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=True),
    Column("event_id", Uuid, nullable=False, unique=True),
    Column("kind", String(64), nullable=False),
    Column("helper_id", Integer),
    Column("server_id", Integer),
    Column("at", DateTime(timezone=True), nullable=False),
    Column("recorded_at", DateTime(timezone=True), nullable=False),
    Column("trace_id", String(32)),
    Column("body", JSONB, nullable=False),
    Index("events_by_kind", "kind", "number"),
    Index("events_by_helper", "helper_id", "number"),
    Index("events_by_server", "server_id", "number"),
    Index("events_by_recorded_at", "recorded_at"),
)

# The last verdict on each helper that is not gone, for our restart: what was down stays so until proof.
verdicts: Final = Table(
    "verdicts",
    metadata,
    Column("helper_id", Integer, primary_key=True, autoincrement=False),
    Column("incarnation", BigInteger, nullable=False),
    Column("verdict", String(16), nullable=False),
    Column("reason", String(200), nullable=False),
    Column("since", DateTime(timezone=True), nullable=False),
    Column("serial", BigInteger, nullable=False),
    Column("deaths_recent", Integer, nullable=False),
)

outbox: Final = outbox_table(metadata, SCHEMA)
