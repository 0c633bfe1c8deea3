# SPDX-License-Identifier: Apache-2.0
"""Alembic's entry: migrates over the connection, and in the transaction, that migrate.py hands in."""

from alembic import context

from postman_placement.tables import SCHEMA, metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table_schema=SCHEMA,
    include_schemas=True,
)
with context.begin_transaction():
    context.run_migrations()
