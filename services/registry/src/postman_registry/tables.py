# SPDX-License-Identifier: Apache-2.0
"""The tables of the registry, all in the Postgres schema `registry`. alembic/versions makes them; keep both alike."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    Sequence,
    String,
    Table,
    Uuid,
)
from sqlalchemy.dialects.postgresql import JSONB

from postman_kit.outbox import outbox_table

SCHEMA: Final = "registry"
SCRIPTS: Final = Path(__file__).parent / "alembic"
"""Alembic's folder, for postman_kit.migrate."""
metadata: Final = MetaData(schema=SCHEMA)

# One row for each name that ever was, at most 65,535: the id of a name is stable.
helpers: Final = Table(
    "helpers",
    metadata,
    Column("helper_id", Integer, primary_key=True, autoincrement=False),
    Column("name", String(63), nullable=False, unique=True),
    Column("site", String(63)),
    Column("incarnation", BigInteger, nullable=False),
    Column("status", String(16), nullable=False),
    Column("is_draining_ordered", Boolean, nullable=False),
    Column("data_address", String(45), nullable=False),
    Column("client_port", Integer, nullable=False),
    Column("trunk_port", Integer, nullable=False),
    Column("workers", Integer, nullable=False),
    Column("version", String(64), nullable=False),
    Column("lease_expires_at", DateTime(timezone=True), nullable=False),
    Column("stats", JSONB, nullable=False),
)

# Live servers, and those that ended within the last hour: so long their ids rest.
servers: Final = Table(
    "servers",
    metadata,
    Column("server_id", Integer, primary_key=True, autoincrement=False),
    Column("incarnation", BigInteger, nullable=False),
    Column("service", String(63), nullable=False),
    Column("host", String(253), nullable=False),
    Column("tcp_port", Integer, nullable=False),
    Column("data_address", String(45), nullable=False),
    Column("udp_port", Integer, nullable=False),
    Column("shards", Integer, nullable=False),
    Column("site", String(63)),
    Column("status", String(16), nullable=False),
    Column("lease_expires_at", DateTime(timezone=True), nullable=False),
    Column("ended_at", DateTime(timezone=True)),
    Column("trunk_secret", LargeBinary, nullable=False),
    Column("idempotency_key", String(128), unique=True),
    Column("request_digest", LargeBinary),
)

server_keys: Final = Table(
    "server_keys",
    metadata,
    Column("server_id", Integer, ForeignKey(servers.c.server_id, ondelete="CASCADE"), primary_key=True),
    Column("key_id", Integer, primary_key=True),
    Column("key", LargeBinary, nullable=False),
    Column("made_at", DateTime(timezone=True), nullable=False),
    Column("usable_from", DateTime(timezone=True), nullable=False),
)

secrets: Final = Table(
    "secrets",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("value", LargeBinary, nullable=False),
)

# Two rows: `servers_version` and `assignment_epoch`, the epoch in force (0: none yet). Rows and not sequences: a number
# must not be seen before the change that it counts.
counters: Final = Table(
    "counters",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("value", BigInteger, nullable=False),
)

# Epochs of placement's assignments: the one in force, and later ones whose parts are still coming.
assignment_epochs: Final = Table(
    "assignment_epochs",
    metadata,
    Column("epoch", BigInteger, primary_key=True, autoincrement=False),
    Column("placement_id", Uuid, nullable=False),
    Column("parts", Integer, nullable=False),
    Column("parts_missing", Integer, nullable=False),
)

assignment_parts: Final = Table(
    "assignment_parts",
    metadata,
    Column("epoch", BigInteger, ForeignKey(assignment_epochs.c.epoch, ondelete="CASCADE"), primary_key=True),
    Column("part", Integer, primary_key=True),
)

assignments: Final = Table(
    "assignments",
    metadata,
    Column("epoch", BigInteger, ForeignKey(assignment_epochs.c.epoch, ondelete="CASCADE"), primary_key=True),
    Column("service", String(63), primary_key=True),
    Column("group_name", String(63), primary_key=True),
    Column("site", String(63), nullable=False),
    Column("prefixes", JSONB, nullable=False),
    Column("primary_helper", Integer, nullable=False),
    Column("backup_helper", Integer),
)

outbox: Final = outbox_table(metadata, SCHEMA)

server_incarnations: Final = Sequence("server_incarnations", schema=SCHEMA, start=1, maxvalue=(1 << 32) - 1, cycle=True)
