# SPDX-License-Identifier: Apache-2.0
"""The Postgres roles of the services: each may do everything in its own schema and nothing in another's."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from postman_kit.secret_files import kept_secret, private_folder

ROLES: Final = ("registry", "placement", "health")
"""Each service's role; its schema has the same name."""

_ROLE: Final = """\
DO $$ BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}') THEN CREATE ROLE {role}; END IF;
END $$;
ALTER ROLE {role} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD '{password}';
GRANT CONNECT, CREATE ON DATABASE {database} TO {role};
CREATE SCHEMA IF NOT EXISTS {role} AUTHORIZATION {role};
ALTER SCHEMA {role} OWNER TO {role};
DO $$ DECLARE made text; BEGIN  -- before there were roles, services were the superuser
  FOR made IN SELECT format('%I.%I', schemaname, tablename) FROM pg_tables
    WHERE schemaname = '{role}' AND tableowner <> '{role}'
  LOOP EXECUTE 'ALTER TABLE ' || made || ' OWNER TO {role}'; END LOOP;
  FOR made IN SELECT format('%I.%I', schemaname, sequencename) FROM pg_sequences
    WHERE schemaname = '{role}' AND sequenceowner <> '{role}'
  LOOP EXECUTE 'ALTER SEQUENCE ' || made || ' OWNER TO {role}'; END LOOP;
END $$;
"""


def postgres_passwords(folder: Path) -> dict[str, str]:
    """The password of each role, from files in this folder that are made if need be."""
    private_folder(folder)
    return {role: kept_secret(folder / role) for role in ROLES}


def render_roles_sql(database: str, passwords: dict[str, str]) -> str:
    """SQL for a superuser connected to `database`; running it again repairs what differs."""
    parts = [_ROLE.format(role=role, password=passwords[role], database=database) for role in ROLES]
    return f"REVOKE ALL ON DATABASE {database} FROM PUBLIC;\n" + "".join(parts)
