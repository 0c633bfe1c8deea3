# SPDX-License-Identifier: Apache-2.0
"""First tables: versions, topology, measurements, demands, placements, assignments, outbox."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

SCHEMA = "placement"
NAME = sa.String(63)
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Forward. The schema itself is made by migrate.py: Alembic's own table is in it."""
    op.create_table(
        "versions",
        sa.Column("name", sa.String(32), primary_key=True),
        sa.Column("value", sa.BigInteger, nullable=False),
        sa.Column("digest", sa.LargeBinary),
        schema=SCHEMA,
    )
    op.execute("INSERT INTO placement.versions (name, value) VALUES ('topology', 0), ('demands', 0), ('epoch', 0)")
    _make_topology()
    _make_demands()
    _make_placements()
    op.create_table(
        "outbox",
        sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=True),
        sa.Column("event_id", sa.Uuid, nullable=False, unique=True),
        sa.Column("subject", sa.String(200), nullable=False),
        sa.Column("payload", sa.LargeBinary, nullable=False),
        sa.Column("trace_parent", sa.String(64)),
        sa.Column("created_at", TIME, nullable=False),
        schema=SCHEMA,
    )


def _make_topology() -> None:
    op.create_table(
        "sites",
        sa.Column("name", NAME, primary_key=True),
        sa.Column("domain", NAME),
        sa.Column("helper_capacity_pps", sa.Double, nullable=False),
        sa.Column("helper_cost", sa.Double, nullable=False),
        sa.Column("helper_delay_us", sa.Double, nullable=False),
        schema=SCHEMA,
    )
    op.create_table(
        "links",
        sa.Column("a", NAME, primary_key=True),
        sa.Column("b", NAME, primary_key=True),
        sa.Column("rtt_us", sa.Double, nullable=False),
        sa.CheckConstraint("a <> b", name="link_of_two_sites"),
        schema=SCHEMA,
    )
    op.create_table(
        "measurements",
        sa.Column("a", NAME, primary_key=True),
        sa.Column("b", NAME, primary_key=True),
        sa.Column("rtt_us", sa.Double, nullable=False),
        sa.Column("samples", sa.Integer, nullable=False),
        sa.Column("measured_at", TIME, nullable=False),
        sa.CheckConstraint("a <> b", name="measurement_of_two_sites"),
        schema=SCHEMA,
    )


def _make_demands() -> None:
    op.create_table(
        "demands",
        sa.Column("service", NAME, primary_key=True),
        sa.Column("group_name", NAME, primary_key=True),
        sa.Column("site", NAME, nullable=False),
        sa.Column("prefixes", ARRAY(sa.String(49)), nullable=False),
        sa.Column("server_site", NAME),
        sa.Column("rate_pps", sa.Double, nullable=False),
        sa.Column("weight", sa.Double, nullable=False),
        sa.Column("latency_us_max", sa.Double),
        schema=SCHEMA,
    )


def _make_placements() -> None:
    op.create_table(
        "placements",
        sa.Column("placement_id", sa.Uuid, primary_key=True),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("made_at", TIME, nullable=False, unique=True),
        sa.Column("applied_at", TIME),
        sa.Column("epoch", sa.BigInteger, unique=True),
        sa.Column("topology_version", sa.BigInteger, nullable=False),
        sa.Column("demands_version", sa.BigInteger, nullable=False),
        sa.Column("usable_helpers", JSONB, nullable=False),
        sa.Column("cost", sa.Double, nullable=False),
        sa.Column("gap", sa.Double, nullable=False),
        sa.Column("assignments", sa.Integer, nullable=False),
        sa.Column("document", JSONB, nullable=False),
        sa.Column("explained", sa.LargeBinary, nullable=False),
        sa.Column("assigned", sa.LargeBinary, nullable=False),
        sa.Column("idempotency_key", sa.String(128), unique=True),
        sa.Column("request_digest", sa.LargeBinary, nullable=False),
        sa.CheckConstraint("state IN ('proposed', 'applied', 'superseded')", name="placement_state_known"),
        sa.CheckConstraint("(state = 'proposed') = (epoch IS NULL)", name="placement_epoch_once_applied"),
        schema=SCHEMA,
    )
    # At most one is in force, whatever happens.
    op.create_index(
        "placements_applied",
        "placements",
        ["state"],
        unique=True,
        schema=SCHEMA,
        postgresql_where=sa.text("state = 'applied'"),
    )
    op.create_table(
        "assignments",
        sa.Column("service", NAME, primary_key=True),
        sa.Column("group_name", NAME, primary_key=True),
        sa.Column("site", NAME, nullable=False),
        sa.Column("prefixes", ARRAY(sa.String(49)), nullable=False),
        sa.Column("primary_helper", sa.Integer, nullable=False),
        sa.Column("backup_helper", sa.Integer),
        schema=SCHEMA,
    )


def downgrade() -> None:
    """Back: nothing is left but the schema and Alembic's table."""
    tables = ("outbox", "assignments", "placements", "demands", "measurements", "links", "sites", "versions")
    for table in tables:
        op.drop_table(table, schema=SCHEMA)
