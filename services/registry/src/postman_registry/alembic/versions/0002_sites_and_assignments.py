# SPDX-License-Identifier: Apache-2.0
"""Sites of servers; placement's assignments, by epochs that come in parts."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

SCHEMA = "registry"


def upgrade() -> None:
    """Forward. No epoch is in force: placement publishes its own when it starts."""
    op.add_column("servers", sa.Column("site", sa.String(63)), schema=SCHEMA)
    op.execute("INSERT INTO registry.counters (name, value) VALUES ('assignment_epoch', 0)")
    op.create_table(
        "assignment_epochs",
        sa.Column("epoch", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("placement_id", sa.Uuid, nullable=False),
        sa.Column("parts", sa.Integer, nullable=False),
        sa.Column("parts_missing", sa.Integer, nullable=False),
        sa.CheckConstraint("parts_missing BETWEEN 0 AND parts", name="assignment_epoch_parts_missing"),
        schema=SCHEMA,
    )
    op.create_table(
        "assignment_parts",
        _epoch_column(),
        sa.Column("part", sa.Integer, primary_key=True),
        schema=SCHEMA,
    )
    op.create_table(
        "assignments",
        _epoch_column(),
        sa.Column("service", sa.String(63), primary_key=True),
        sa.Column("group_name", sa.String(63), primary_key=True),
        sa.Column("site", sa.String(63), nullable=False),
        sa.Column("prefixes", JSONB, nullable=False),
        sa.Column("primary_helper", sa.Integer, nullable=False),
        sa.Column("backup_helper", sa.Integer),
        schema=SCHEMA,
    )


def _epoch_column() -> "sa.Column[int]":
    key = sa.ForeignKey(f"{SCHEMA}.assignment_epochs.epoch", ondelete="CASCADE")
    return sa.Column("epoch", sa.BigInteger, key, primary_key=True)


def downgrade() -> None:
    """Back: sites of servers and all assignments are lost, nothing else is."""
    for table in ("assignments", "assignment_parts", "assignment_epochs"):
        op.drop_table(table, schema=SCHEMA)
    op.execute("DELETE FROM registry.counters WHERE name = 'assignment_epoch'")
    op.drop_column("servers", "site", schema=SCHEMA)
