# SPDX-License-Identifier: Apache-2.0
"""First tables: helpers, servers and their keys, secrets, counters, outbox."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

SCHEMA = "registry"
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Forward. The schema itself is made by migrate.py: Alembic's own table is in it."""
    _make_helpers()
    _make_servers()
    op.create_table(
        "secrets",
        sa.Column("name", sa.String(32), primary_key=True),
        sa.Column("value", sa.LargeBinary, nullable=False),
        schema=SCHEMA,
    )
    op.create_table(
        "counters",
        sa.Column("name", sa.String(32), primary_key=True),
        sa.Column("value", sa.BigInteger, nullable=False),
        schema=SCHEMA,
    )
    op.execute("INSERT INTO registry.counters (name, value) VALUES ('servers_version', 1)")
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
    op.execute(f"CREATE SEQUENCE {SCHEMA}.server_incarnations START 1 MAXVALUE {(1 << 32) - 1} CYCLE")


def _make_helpers() -> None:
    op.create_table(
        "helpers",
        sa.Column("helper_id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("name", sa.String(63), nullable=False, unique=True),
        sa.Column("site", sa.String(63)),
        sa.Column("incarnation", sa.BigInteger, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("is_draining_ordered", sa.Boolean, nullable=False),
        sa.Column("data_address", sa.String(45), nullable=False),
        sa.Column("client_port", sa.Integer, nullable=False),
        sa.Column("trunk_port", sa.Integer, nullable=False),
        sa.Column("workers", sa.Integer, nullable=False),
        sa.Column("version", sa.String(64), nullable=False),
        sa.Column("lease_expires_at", TIME, nullable=False),
        sa.Column("stats", JSONB, nullable=False),
        sa.CheckConstraint("helper_id BETWEEN 1 AND 65535", name="helper_id_16_bits"),
        sa.CheckConstraint("status IN ('starting', 'up', 'draining', 'down', 'gone')", name="helper_status_known"),
        schema=SCHEMA,
    )
    op.create_index("helpers_live", "helpers", ["status", "lease_expires_at"], schema=SCHEMA)


def _make_servers() -> None:
    op.create_table(
        "servers",
        sa.Column("server_id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("incarnation", sa.BigInteger, nullable=False),
        sa.Column("service", sa.String(63), nullable=False),
        sa.Column("host", sa.String(253), nullable=False),
        sa.Column("tcp_port", sa.Integer, nullable=False),
        sa.Column("data_address", sa.String(45), nullable=False),
        sa.Column("udp_port", sa.Integer, nullable=False),
        sa.Column("shards", sa.Integer, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("lease_expires_at", TIME, nullable=False),
        sa.Column("ended_at", TIME),
        sa.Column("trunk_secret", sa.LargeBinary, nullable=False),
        sa.Column("idempotency_key", sa.String(128), unique=True),
        sa.Column("request_digest", sa.LargeBinary),
        sa.CheckConstraint("server_id BETWEEN 1 AND 65535", name="server_id_16_bits"),
        sa.CheckConstraint("status IN ('up', 'down', 'gone')", name="server_status_known"),
        sa.CheckConstraint("(status = 'up') = (ended_at IS NULL)", name="server_ended_or_up"),
        schema=SCHEMA,
    )
    live = sa.text("status = 'up'")
    for columns in (["host", "tcp_port"], ["data_address", "tcp_port"], ["service"], ["lease_expires_at"]):
        name = "servers_by_" + "_".join(columns)
        op.create_index(name, "servers", columns, schema=SCHEMA, postgresql_where=live)
    op.create_index("servers_ended", "servers", ["ended_at"], schema=SCHEMA)
    op.create_table(
        "server_keys",
        sa.Column(
            "server_id",
            sa.Integer,
            sa.ForeignKey(f"{SCHEMA}.servers.server_id", ondelete="CASCADE"),
            primary_key=True,
        ),
        sa.Column("key_id", sa.Integer, primary_key=True),
        sa.Column("key", sa.LargeBinary, nullable=False),
        sa.Column("made_at", TIME, nullable=False),
        sa.Column("usable_from", TIME, nullable=False),
        schema=SCHEMA,
    )


def downgrade() -> None:
    """Back: nothing is left but the schema and Alembic's table."""
    op.execute(f"DROP SEQUENCE {SCHEMA}.server_incarnations")
    for table in ("outbox", "counters", "secrets", "server_keys", "servers", "helpers"):
        op.drop_table(table, schema=SCHEMA)
