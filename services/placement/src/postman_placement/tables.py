# SPDX-License-Identifier: Apache-2.0
"""The tables of placement, all in the Postgres schema `placement`. alembic/versions makes them; keep both alike."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sqlalchemy import BigInteger, Column, DateTime, Double, Integer, LargeBinary, MetaData, String, Table, Uuid
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from postman_kit.outbox import outbox_table

SCHEMA: Final = "placement"
SCRIPTS: Final = Path(__file__).parent / "alembic"
"""Alembic's folder, for postman_kit.migrate."""
metadata: Final = MetaData(schema=SCHEMA)

# Three rows: `topology` and `demands` with a digest of what they count, and `epoch`. Rows and not sequences: whoever
# changes what is counted holds the row's lock, and a version is not seen before its change.
versions: Final = Table(
    "versions",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("value", BigInteger, nullable=False),
    Column("digest", LargeBinary),
)

sites: Final = Table(
    "sites",
    metadata,
    Column("name", String(63), primary_key=True),
    Column("domain", String(63)),
    Column("helper_capacity_pps", Double, nullable=False),
    Column("helper_cost", Double, nullable=False),
    Column("helper_delay_us", Double, nullable=False),
)

# Both directions count as one: of a pair there is one row.
links: Final = Table(
    "links",
    metadata,
    Column("a", String(63), primary_key=True),
    Column("b", String(63), primary_key=True),
    Column("rtt_us", Double, nullable=False),
)

# Here a < b, so that whoever measures in the other direction finds the same row.
measurements: Final = Table(
    "measurements",
    metadata,
    Column("a", String(63), primary_key=True),
    Column("b", String(63), primary_key=True),
    Column("rtt_us", Double, nullable=False),
    Column("samples", Integer, nullable=False),
    Column("measured_at", DateTime(timezone=True), nullable=False),
)

demands: Final = Table(
    "demands",
    metadata,
    Column("service", String(63), primary_key=True),
    Column("group_name", String(63), primary_key=True),
    Column("site", String(63), nullable=False),
    Column("prefixes", ARRAY(String(49)), nullable=False),
    Column("server_site", String(63)),
    Column("rate_pps", Double, nullable=False),
    Column("weight", Double, nullable=False),
    Column("latency_us_max", Double),
)

# What was proposed or applied. `document` is the answer without its assignments, as it was made; `explained` are these,
# as JSON ready to be sent. `state`, `epoch` and `applied_at` count, not what the document says of them.
placements: Final = Table(
    "placements",
    metadata,
    Column("placement_id", Uuid, primary_key=True),
    Column("state", String(16), nullable=False),
    Column("made_at", DateTime(timezone=True), nullable=False, unique=True),
    Column("applied_at", DateTime(timezone=True)),
    Column("epoch", BigInteger, unique=True),
    Column("topology_version", BigInteger, nullable=False),
    Column("demands_version", BigInteger, nullable=False),
    Column("usable_helpers", JSONB, nullable=False),
    Column("cost", Double, nullable=False),
    Column("gap", Double, nullable=False),
    Column("assignments", Integer, nullable=False),
    Column("document", JSONB, nullable=False),
    Column("explained", LargeBinary, nullable=False),
    Column("assigned", LargeBinary, nullable=False),
    Column("idempotency_key", String(128), unique=True),
    Column("request_digest", LargeBinary, nullable=False),
)

# Of the epoch that is in force, and no other.
assignments: Final = Table(
    "assignments",
    metadata,
    Column("service", String(63), primary_key=True),
    Column("group_name", String(63), primary_key=True),
    Column("site", String(63), nullable=False),
    Column("prefixes", ARRAY(String(49)), nullable=False),
    Column("primary_helper", Integer, nullable=False),
    Column("backup_helper", Integer),
)

outbox: Final = outbox_table(metadata, SCHEMA)
