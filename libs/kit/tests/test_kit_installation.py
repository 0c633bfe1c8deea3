# SPDX-License-Identifier: Apache-2.0
"""An installation's secrets: made once, for their readers only; what Postgres and NATS make of them."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import nats
import pytest

from postman_kit.db import Database
from postman_kit.embedded import EmbeddedPostgres
from postman_kit.embedded.child import Child, choose_port
from postman_kit.embedded.nats import server_program
from postman_kit.installation import main
from postman_kit.migrate import migrate
from postman_kit.postgres_roles import ROLES
from postman_kit.secret_files import SecretError, kept_secret, write_private


def content(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_everything_is_made_once_and_private(tmp_path: Path) -> None:
    folder = tmp_path / "installation"
    assert main([str(folder), "--nats-host", "mq", "--postgres-host", "db", "--postgres-port", "5433"]) == 0
    made = content(folder)
    assert {"nats/server.conf", "postgres/roles.sql", "helper/api.key", "keys/admin"} <= set(made)
    for path in folder.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    assert made["agent/api.key"] == made["keys/agent"]
    assert re.fullmatch(r"nats://health:[\w-]{32}@mq:4222\n", made["health/nats.url"])
    assert re.fullmatch(r"postgresql://health:[\w-]{32}@db:5433/postman\n", made["health/database.url"])
    secrets = [text.strip() for name, text in made.items() if name.startswith(("made/", "keys/"))]
    assert len(set(secrets)) == len(secrets)
    assert main([str(folder), "--nats-host", "mq", "--postgres-host", "db", "--postgres-port", "5433"]) == 0
    assert content(folder) == made


def test_a_removed_secret_is_replaced_where_it_is_read(tmp_path: Path) -> None:
    assert main([str(tmp_path)]) == 0
    before = content(tmp_path)
    (tmp_path / "made/nats/agent").unlink()
    (tmp_path / "keys/operator").unlink()
    assert main([str(tmp_path)]) == 0
    after = content(tmp_path)
    assert {name for name in after if after[name] != before[name]} == {
        *("made/nats/agent", "agent/nats.url", "nats/server.conf", "keys/operator", "operator/api.key")
    }


def test_a_key_may_be_replaced_by_one_beside_it(tmp_path: Path) -> None:
    assert main([str(tmp_path)]) == 0
    (tmp_path / "keys/agent.new").write_text("another-key-of-agents")
    assert main([str(tmp_path)]) == 0
    assert (tmp_path / "agent/api.key").read_text() == (tmp_path / "keys/agent").read_text()
    (tmp_path / "keys/agent").unlink()
    assert main([str(tmp_path)]) == 0
    assert (tmp_path / "agent/api.key").read_text() == "another-key-of-agents\n"
    assert (tmp_path / "helper/api.key").read_text() == "another-key-of-agents\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_folder_is_given_to_its_reader(tmp_path: Path) -> None:
    for _ in range(2):
        assert main([str(tmp_path), "--owner", "registry=10000:10001", "--owner", "nats=7"]) == 0
        owners = {
            name: ((tmp_path / name).stat().st_uid, (tmp_path / name).stat().st_gid)
            for name in ("registry", "registry/nats.url", "nats/server.conf", "placement")
        }
        assert owners == {
            "registry": (10000, 10001),
            "registry/nats.url": (10000, 10001),
            "nats/server.conf": (7, 7),
            "placement": (0, 0),
        }


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--owner", "nobody=1"], "NAME=UID"),
        (["--owner", "nats=root"], "NAME=UID"),
        (["--nats-tls-cert", "x"], "--nats-tls-key"),
    ],
)
def test_wrong_words_are_refused(
    tmp_path: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([str(tmp_path / "x"), *words])
    assert said in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_a_folder_that_cannot_be_is_said_plainly(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["/dev/null/x"]) == 1
    assert "/dev/null/x" in capsys.readouterr().err


def test_an_empty_secret_is_no_secret(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("\n")
    with pytest.raises(SecretError, match="is empty"):
        kept_secret(tmp_path / "secret")


@pytest.mark.parametrize("chosen", ["p@ss", "it's", "a b", "a\nb", "gr\u00fcn"])
def test_a_chosen_secret_must_fit_into_urls_and_sql(tmp_path: Path, chosen: str) -> None:
    (tmp_path / "secret").write_text(chosen, "utf-8")
    with pytest.raises(SecretError, match="other characters") as raised:
        kept_secret(tmp_path / "secret")
    assert chosen not in str(raised.value)


def test_of_many_that_make_a_secret_at_once_all_get_the_same(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib; from postman_kit.secret_files import kept_secret; "
        "print(kept_secret(pathlib.Path(sys.argv[1])))"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "secret")]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    said = {process.communicate()[0] for process in started}
    assert len(said) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]


def test_a_file_that_others_could_read_is_made_private(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("same\n")
    (tmp_path / "x").chmod(0o644)
    write_private(tmp_path / "x", "same\n")
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o600


async def test_nats_lets_in_those_who_have_their_url(tmp_path: Path) -> None:
    port, folder = choose_port(0, "nats"), tmp_path / "installation"
    place = ["--nats-host", "127.0.0.1", "--nats-port", str(port), "--nats-listen", f"127.0.0.1:{port}"]
    monitor = ["--nats-monitor", f"127.0.0.1:{choose_port(0, 'monitor')}", "--nats-store", str(tmp_path / "store")]
    assert main([str(folder), *place, *monitor]) == 0
    server = Child("nats", tmp_path / "log", signal.SIGTERM)
    server.start([str(server_program()), "-c", str(folder / "nats/server.conf")])
    try:
        server.wait_until(lambda: "Server is ready" in server.log_tail(), 20)
        for reader in ("registry", "helper", "agent", "operator"):
            client = await nats.connect((folder / reader / "nats.url").read_text().strip())
            await client.close()
    finally:
        server.stop()


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """One of this module's own: tests make tables in its common database."""
    with EmbeddedPostgres(tmp_path_factory.mktemp("roles"), durable=False) as server:
        yield server


def with_password_of(other: str, url: str) -> str:
    return url.replace(f":{urlsplit(url).password}@", f":{urlsplit(other).password}@")


async def run(url: str, *statements: str) -> object:
    connection = await asyncpg.connect(url)
    try:
        for statement in statements:
            found = await connection.fetchval(statement)
        return found
    finally:
        await connection.close()


async def test_each_role_has_its_own_schema_and_no_other(postgres: EmbeddedPostgres) -> None:
    for role in ROLES:
        await run(postgres.url_for(role), f"CREATE TABLE {role}.own (x int)", f"TABLE {role}.own")
    for role in ROLES:
        forbidden = [f"{verb} {other}.own" for other in ROLES if other != role for verb in ("TABLE", "DROP TABLE")]
        for statement in (*forbidden, "CREATE TABLE public.x (y int)", "CREATE ROLE x", "SELECT pg_read_file('x')"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await run(postgres.url_for(role), statement)


async def test_a_role_needs_its_own_password(postgres: EmbeddedPostgres) -> None:
    with pytest.raises(asyncpg.InvalidPasswordError):
        await run(with_password_of(postgres.url_for("health"), postgres.url_for("placement")))


async def test_a_role_migrates_forward_and_back(postgres: EmbeddedPostgres) -> None:
    from postman_registry.tables import SCHEMA, SCRIPTS

    database = Database(postgres.url_for("registry"), name="test", connections_max=2)
    for back in (False, True, False):
        await migrate(database, schema=SCHEMA, scripts=SCRIPTS, revision="base" if back else "head", back=back)
    await database.close()


def test_tables_of_the_superuser_become_the_services_and_a_new_password_counts(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path / "pg", durable=False) as server:
        old = server.url_for("health")
        asyncio.run(run(server.url, "CREATE TABLE health.old (id serial)", "INSERT INTO health.old DEFAULT VALUES"))
    (tmp_path / "pg/passwords/health").unlink()
    with EmbeddedPostgres(tmp_path / "pg", durable=False) as server:
        assert asyncio.run(run(server.url_for("health"), "INSERT INTO health.old DEFAULT VALUES RETURNING id")) == 2
        asyncio.run(run(server.url_for("health"), "DROP TABLE health.old"))
        with pytest.raises(asyncpg.InvalidPasswordError):
            asyncio.run(run(with_password_of(old, server.url_for("health")), "SELECT 1"))
