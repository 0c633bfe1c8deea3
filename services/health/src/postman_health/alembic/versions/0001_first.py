# SPDX-License-Identifier: Apache-2.0
"""First tables: events, verdicts, outbox."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

SCHEMA = "health"
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Forward. The schema itself is made by migrate.py: Alembic's own table is in it."""
    op.create_table(
        "events",
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=True),
        sa.Column("event_id", sa.Uuid, nullable=False, unique=True),
        sa.Column("kind", sa.String(64), nullable=False),
        sa.Column("helper_id", sa.Integer),
        sa.Column("server_id", sa.Integer),
        sa.Column("at", TIME, nullable=False),
        sa.Column("recorded_at", TIME, nullable=False),
        sa.Column("trace_id", sa.String(32)),
        sa.Column("body", JSONB, nullable=False),
        schema=SCHEMA,
    )
    for name, columns in (
        ("events_by_kind", ["kind", "number"]),
        ("events_by_helper", ["helper_id", "number"]),
        ("events_by_server", ["server_id", "number"]),
        ("events_by_recorded_at", ["recorded_at"]),
    ):
        op.create_index(name, "events", columns, schema=SCHEMA)
    op.create_table(
        "verdicts",
        sa.Column("helper_id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("incarnation", sa.BigInteger, nullable=False),
        sa.Column("verdict", sa.String(16), nullable=False),
        sa.Column("reason", sa.String(200), nullable=False),
        sa.Column("since", TIME, nullable=False),
        sa.Column("serial", sa.BigInteger, nullable=False),
        sa.Column("deaths_recent", sa.Integer, nullable=False),
        sa.CheckConstraint("helper_id BETWEEN 1 AND 65535", name="verdict_helper_id_16_bits"),
        sa.CheckConstraint("verdict IN ('up', 'suspect', 'down')", name="verdict_known"),
        schema=SCHEMA,
    )
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


def downgrade() -> None:
    """Back: nothing is left but the schema and Alembic's table."""
    for table in ("outbox", "verdicts", "events"):
        op.drop_table(table, schema=SCHEMA)
