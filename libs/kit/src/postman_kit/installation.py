# SPDX-License-Identifier: Apache-2.0
"""Every secret of an installation of several hosts or containers, made in one folder, a subfolder for each reader.

    python -m postman_kit.installation FOLDER --nats-host nats --postgres-host postgres

FOLDER/made/       what was drawn: a password a file. The rest is written from it, again at each run.
FOLDER/keys/       API keys: viewer, agent, operator, admin. For the services, which check them.
FOLDER/nats/       server.conf
FOLDER/postgres/   superuser.password, roles.sql (for the superuser, in the database; may be run again)
FOLDER/SERVICE/    nats.url, database.url               for SERVICE registry, placement, health
FOLDER/helper/     nats.url, api.key (agent)
FOLDER/agent/      nats.url, api.key (agent)            programs that use VCL
FOLDER/operator/   nats.url (may do everything), api.key (operator)

Running it again changes nothing. A secret is replaced by removing its file in made/ or keys/ and running it again; then
restart what reads it. Each subfolder may be a volume of its own, mounted only where it is read.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from postman_contracts.permissions import USERS
from postman_kit.auth import Role, key_ring_from
from postman_kit.nats_config import ADMIN, NatsServer, nats_passwords, render_nats_config
from postman_kit.postgres_roles import ROLES, postgres_passwords, render_roles_sql
from postman_kit.secret_files import SecretError, kept_secret, private_folder, write_private
from postman_kit.settings import SettingsError

DATABASE: Final = "postman"
SUPERUSER: Final = "postman"
_KEY_READERS: Final = {"helper": Role.AGENT, "agent": Role.AGENT, "operator": Role.OPERATOR}
_FOLDERS: Final = ("made", "keys", "nats", "postgres", *USERS, "operator")


@dataclass(frozen=True, slots=True)
class Places:
    """Where the servers of the installation will be, as the others reach them."""

    nats: str
    """HOST:PORT."""
    postgres: str
    """HOST:PORT."""
    nats_server: NatsServer
    postgres_tls: bool = False


@dataclass(frozen=True, slots=True)
class Installation:
    """The secrets of one installation. `owners`: to whom a subfolder is given, as (uid, gid); else it stays ours."""

    folder: Path
    places: Places
    owners: dict[str, tuple[int, int]] = field(default_factory=dict)

    def make(self) -> None:
        """Make what does not exist and write what follows from it. SecretError, SettingsError or OSError on failure."""
        for name in _FOLDERS:
            private_folder(self.folder / name)
        key_ring_from(self.folder / "keys")
        self._write_nats()
        self._write_postgres()
        for reader, role in _KEY_READERS.items():
            write_private(self.folder / reader / "api.key", _key_of(self.folder / "keys", role.name.lower()))
        for name, (uid, gid) in self.owners.items():
            _give(self.folder / name, uid, gid)

    def _write_nats(self) -> None:
        places, passwords = self.places, nats_passwords(self.folder / "made" / "nats")
        write_private(self.folder / "nats" / "server.conf", render_nats_config(places.nats_server, passwords))
        scheme = "tls" if places.nats_server.tls_cert else "nats"
        for user, password in passwords.items():
            reader = "operator" if user == ADMIN else user
            write_private(self.folder / reader / "nats.url", f"{scheme}://{user}:{password}@{places.nats}\n")

    def _write_postgres(self) -> None:
        places, made = self.places, self.folder / "made" / "postgres"
        passwords = postgres_passwords(made)
        write_private(self.folder / "postgres" / "superuser.password", kept_secret(made / SUPERUSER) + "\n")
        write_private(self.folder / "postgres" / "roles.sql", render_roles_sql(DATABASE, passwords))
        parameters = "?ssl=require" if places.postgres_tls else ""
        for role in ROLES:
            url = f"postgresql://{role}:{passwords[role]}@{places.postgres}/{DATABASE}{parameters}\n"
            write_private(self.folder / role / "database.url", url)


def _key_of(folder: Path, role: str) -> str:
    """The key that those with this role present: that in the role's own file, else the newest of its others."""
    own = folder / role
    chosen = own if own.exists() else max(folder.glob(f"{role}.*"), key=lambda path: path.stat().st_mtime_ns)
    return chosen.read_text("utf-8").strip() + "\n"


def _give(folder: Path, uid: int, gid: int) -> None:
    for path in (folder, *folder.rglob("*")):
        os.chown(path, uid, gid, follow_symlinks=False)


def _owner(text: str) -> tuple[str, tuple[int, int]]:
    name, _, who = text.partition("=")
    uid, _, gid = who.partition(":")
    if name not in _FOLDERS or not uid.isdigit() or not (gid or uid).isdigit():
        raise argparse.ArgumentTypeError(f"'{text}' is not NAME=UID[:GID] with NAME one of {', '.join(_FOLDERS)}")
    return name, (int(uid), int(gid or uid))


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m postman_kit.installation",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--nats-host", default="nats", help="where clients reach NATS [%(default)s]")
    parser.add_argument("--nats-port", type=int, default=4222)
    parser.add_argument("--postgres-host", default="postgres", help="where services reach Postgres [%(default)s]")
    parser.add_argument("--postgres-port", type=int, default=5432)
    parser.add_argument("--nats-listen", default="0.0.0.0:4222", metavar="ADDRESS:PORT")
    parser.add_argument("--nats-monitor", default="127.0.0.1:8222", metavar="ADDRESS:PORT")
    parser.add_argument("--nats-store", default="/data/jetstream", metavar="FOLDER", help="of the NATS server")
    parser.add_argument("--nats-tls-cert", default="", metavar="FILE", help="PEM, as the NATS server sees it")
    parser.add_argument("--nats-tls-key", default="", metavar="FILE")
    parser.add_argument("--postgres-tls", action="store_true", help="services require TLS of Postgres")
    parser.add_argument(
        "--owner",
        type=_owner,
        action="append",
        default=[],
        metavar="NAME=UID[:GID]",
        help="give FOLDER/NAME to this user",
    )
    options = parser.parse_args(arguments)
    if bool(options.nats_tls_cert) != bool(options.nats_tls_key):
        parser.error("--nats-tls-cert and --nats-tls-key belong together")
    return options


def main(arguments: list[str] | None = None) -> int:
    """The command. Returns the exit status."""
    options = _options(arguments)
    server = NatsServer(
        listen=options.nats_listen,
        store_dir=options.nats_store,
        monitor=options.nats_monitor,
        tls_cert=options.nats_tls_cert,
        tls_key=options.nats_tls_key,
    )
    places = Places(
        nats=f"{options.nats_host}:{options.nats_port}",
        postgres=f"{options.postgres_host}:{options.postgres_port}",
        nats_server=server,
        postgres_tls=options.postgres_tls,
    )
    try:
        Installation(options.folder, places, dict(options.owner)).make()
    except (SecretError, SettingsError, OSError) as error:
        sys.stderr.write(f"postman installation: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
