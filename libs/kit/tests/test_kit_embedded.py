# SPDX-License-Identifier: Apache-2.0
"""Embedded servers: secrets, exclusive state, leftovers of killed owners, death with the owner, clear refusals."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import asyncpg
import pytest

from postman_kit.embedded import EmbeddedError, EmbeddedNats, EmbeddedPostgres
from postman_kit.embedded.child import is_alive

Server = EmbeddedPostgres | EmbeddedNats
MAKERS: list[Callable[[Path], Server]] = [lambda path: EmbeddedPostgres(path, durable=False), EmbeddedNats]
both = pytest.mark.parametrize("make", MAKERS, ids=["postgres", "nats"])


def wait_dead(pid: int) -> None:
    deadline = time.monotonic() + 15
    while is_alive(pid):
        assert time.monotonic() < deadline, f"process {pid} still lives"
        time.sleep(0.02)


def run_sql(url: str, statement: str) -> object:
    async def run() -> object:
        connection = await asyncpg.connect(url)
        try:
            return await connection.fetchval(statement)
        finally:
            await connection.close()

    return asyncio.run(run())


def test_postgres_keeps_its_data_and_its_port(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path / "pg", durable=False) as server:
        url = server.url
        run_sql(url, "CREATE TABLE kept AS SELECT 42 AS value")
        assert server.pid
        assert Path(f"/proc/{server.pid}/comm").read_text().strip() == "postgres"
    assert server.pid is None
    with server:
        assert server.url == url
        assert run_sql(server.url, "SELECT value FROM kept") == 42


def test_postgres_wants_the_password(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path / "pg", durable=False) as server, pytest.raises(asyncpg.InvalidPasswordError):
        run_sql(server.url.replace((tmp_path / "pg/password").read_text().strip(), "wrong"), "SELECT 1")


@pytest.mark.parametrize(
    ("make", "secrets"),
    [(MAKERS[0], ["password", "passwords/health"]), (MAKERS[1], ["passwords/postman", "passwords/agent"])],
    ids=["postgres", "nats"],
)
def test_secrets_are_private_and_stay(tmp_path: Path, make: Callable[[Path], Server], secrets: list[str]) -> None:
    files = [tmp_path / "state" / secret for secret in secrets]
    with make(tmp_path / "state"):
        passwords = [file.read_text() for file in files]
    for file in files:
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    with make(tmp_path / "state"):
        assert [file.read_text() for file in files] == passwords
    assert len(set(passwords)) == len(passwords)


@both
def test_one_owner_at_a_time(tmp_path: Path, make: Callable[[Path], Server]) -> None:
    with make(tmp_path / "state"), pytest.raises(EmbeddedError, match=f"in use by process {os.getpid()}"):
        make(tmp_path / "state").start()


@both
def test_a_killed_server_starts_again(tmp_path: Path, make: Callable[[Path], Server]) -> None:
    with make(tmp_path / "state") as server:
        url, killed = server.url, server.pid
        assert killed
        os.kill(killed, signal.SIGKILL)
        wait_dead(killed)
        while server.pid is not None:  # the kernel tells a parent a moment later
            time.sleep(0.02)
        server.start()
        assert server.pid not in (None, killed)
        assert server.url == url


@pytest.mark.parametrize("kind", ["EmbeddedPostgres", "EmbeddedNats"])
def test_it_dies_with_a_killed_owner_and_starts_again(tmp_path: Path, kind: str) -> None:
    program = (
        f"import sys, json, signal; from pathlib import Path; from postman_kit.embedded import {kind} as S\n"
        "s = S(Path(sys.argv[1])); s.start(); print(s.pid, flush=True); signal.pause()"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path / "state")], stdout=subprocess.PIPE) as owner:
        assert owner.stdout
        pid = int(owner.stdout.readline())
        assert is_alive(pid)
        owner.kill()
    makers: dict[str, Callable[[Path], Server]] = {"EmbeddedPostgres": EmbeddedPostgres, "EmbeddedNats": EmbeddedNats}
    with makers[kind](tmp_path / "state") as server:  # at once: the old one may still be ending
        assert server.pid != pid
        assert not is_alive(pid)


def test_a_pid_file_whose_process_is_somebody_else(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path / "pg", durable=False):
        pass
    lines = [os.getpid(), tmp_path / "pg/data", int(time.time()), 1, "", "127.0.0.1", "", "ready   "]
    (tmp_path / "pg/data/postmaster.pid").write_text("\n".join(map(str, lines)) + "\n")
    with EmbeddedPostgres(tmp_path / "pg", durable=False) as server:
        assert run_sql(server.url, "SELECT 1") == 1
    assert is_alive(os.getpid())


def test_an_interrupted_initdb_is_begun_anew(tmp_path: Path) -> None:
    (tmp_path / "pg/data.new").mkdir(parents=True)
    (tmp_path / "pg/data.new/PG_VERSION").write_text("half")
    with EmbeddedPostgres(tmp_path / "pg", durable=False) as server:
        assert run_sql(server.url, "SELECT 1") == 1


def test_data_of_another_version_is_refused_untouched(tmp_path: Path) -> None:
    (tmp_path / "pg/data").mkdir(parents=True)
    (tmp_path / "pg/data/PG_VERSION").write_text("9\n")
    with pytest.raises(EmbeddedError, match="made by PostgreSQL 9"):
        EmbeddedPostgres(tmp_path / "pg").start()
    assert (tmp_path / "pg/data/PG_VERSION").read_text() == "9\n"


@pytest.mark.parametrize("kind", [EmbeddedPostgres, EmbeddedNats])
def test_a_port_in_use_is_said_plainly(tmp_path: Path, kind: Callable[..., Server]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(EmbeddedError, match=f"port {port}.*choose another"):
            kind(tmp_path / "state", port=port).start()


def test_nats_answers_with_jetstream_to_the_password_only(tmp_path: Path) -> None:
    with EmbeddedNats(tmp_path / "nats") as server:
        host, _, port = server.url.rpartition("@")[2].partition(":")
        with socket.create_connection((host, int(port)), 5) as connection, connection.makefile("rb") as lines:
            greeting = json.loads(lines.readline().removeprefix(b"INFO "))
            assert greeting["jetstream"]
            assert greeting["auth_required"]
            connection.sendall(b'CONNECT {"verbose":true}\r\n')
            assert b"Authorization Violation" in lines.readline()


def test_starting_from_another_thread_is_refused(tmp_path: Path) -> None:
    caught: list[BaseException] = []

    def start() -> None:
        try:
            EmbeddedNats(tmp_path / "nats").start()
        except RuntimeError as error:
            caught.append(error)

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    assert "main thread" in str(caught[0])
