# SPDX-License-Identifier: Apache-2.0
"""What the registry does while NATS or Postgres is away, and after; leases in real time; the process itself."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import httpx
import nats
import pytest
from registry_parts import running, until

from postman_contracts import rest, subjects
from postman_contracts.problems import MEDIA_TYPE, Problem, ProblemType
from postman_kit.embedded import EmbeddedNats, EmbeddedPostgres
from postman_kit.embedded.child import choose_port
from postman_kit.embedded.pytest_fixtures import drop_database, make_database
from postman_registry.__main__ import main

HELPER = {"name": "h1", "data_address": "198.18.0.10", "workers": 1, "version": "0.1.0"}
RENEWAL = {"incarnation": 1, "state": "up"}
SERVER = {"service": "echo", "host": "echo.lab", "tcp_port": 7, "data_address": "198.18.0.9", "udp_port": 7}


async def test_leases_run_out_in_real_time(tmp_path: Path, database_url: str, nats_server: EmbeddedNats) -> None:
    ttls = {"registry_helper_lease_ttl_s": 0.3, "registry_server_lease_ttl_s": 0.3}
    async with running(tmp_path, database_url, nats_server.url, **ttls) as registry:
        agent = registry.client("agent")
        await agent.post("/v1/helpers", json=HELPER)
        await agent.post("/v1/servers", json=SERVER)

        async def states() -> list[str]:
            pages = [(await agent.get(f"/v1/{kind}")).json() for kind in ("helpers", "servers")]
            return [item["state"] for page in pages for item in page["items"]]

        await until(states, lambda found: found == ["down", "down"])
        assert (await agent.get("/v1/resolve?service=echo")).status_code == 404


async def test_without_nats_everything_works_and_facts_wait(tmp_path: Path, database_url: str) -> None:
    own_nats = EmbeddedNats(tmp_path / "nats")
    own_nats.start()
    url = own_nats.url
    own_nats.stop()
    async with running(tmp_path, database_url, url) as registry:
        agent, operator = registry.client("agent"), registry.client("operator")
        assert (await agent.post("/v1/helpers", json=HELPER)).status_code == 201
        assert (await agent.put("/v1/helpers/1/lease", json=RENEWAL)).status_code == 200
        assert (await agent.post("/v1/servers", json=SERVER)).status_code == 201
        assert (await agent.get("/v1/resolve?service=echo")).status_code == 200
        assert (await operator.post("/v1/helpers/1/drain")).status_code == 202
        assert (await agent.get("/readyz")).status_code == 200
        with own_nats:
            await until(lambda: stored_subjects(own_nats.url), lambda found: len(found) == 3)
            assert await stored_subjects(own_nats.url) == [
                subjects.helper_fact("up"),
                subjects.server_fact("up"),
                subjects.helper_fact("draining"),
            ]


async def stored_subjects(url: str) -> list[str]:
    client = await nats.connect(url)
    try:
        jetstream = client.jetstream()
        state = (await jetstream.stream_info(subjects.FACTS_STREAM)).state
        kept = [await jetstream.get_msg(subjects.FACTS_STREAM, seq) for seq in range(1, state.last_seq + 1)]
        return [message.subject or "" for message in kept]
    except nats.js.errors.NotFoundError:
        return []
    finally:
        await client.close()


async def test_a_killed_postgres_is_503_until_it_is_back(tmp_path: Path, nats_server: EmbeddedNats) -> None:
    with EmbeddedPostgres(tmp_path / "pg") as postgres:
        ttls = {"registry_helper_lease_ttl_s": 3, "registry_server_lease_ttl_s": 600}
        async with running(tmp_path, postgres.url, nats_server.url, **ttls) as registry:
            agent = registry.client("agent")
            grant = rest.HelperGrant.model_validate((await agent.post("/v1/helpers", json=HELPER)).json())
            assert (await agent.post("/v1/servers", json=SERVER)).status_code == 201
            assert (await agent.put("/v1/helpers/1/lease", json=RENEWAL)).status_code == 200
            expires_at = rest.Helper.model_validate((await agent.get("/v1/helpers/1")).json()).lease_expires_at
            assert postgres.pid
            os.kill(postgres.pid, signal.SIGKILL)
            await registry.wait_ready(is_ready=False)
            for answer in (
                await agent.post("/v1/helpers", json=HELPER | {"name": "h2"}),
                await until(lambda: agent.get("/v1/resolve?service=echo"), lambda found: found.status_code != 200),
            ):
                assert isinstance(answer, httpx.Response)
                assert (answer.status_code, answer.headers["content-type"]) == (503, MEDIA_TYPE)
                assert Problem.model_validate(answer.json()).kind == ProblemType.UNAVAILABLE
                assert int(answer.headers["retry-after"]) >= 1
            assert (await agent.get("/healthz")).status_code == 200
            await until(lambda: datetime.now(UTC), lambda now: now > expires_at)  # nobody could renew meanwhile
            postgres.start()
            await registry.wait_ready()
            resolved = rest.Resolution.model_validate((await agent.get("/v1/resolve?service=echo")).json())
            assert [helper.helper_id for helper in resolved.helpers] == [grant.helper_id]
            again = rest.HelperGrant.model_validate((await agent.post("/v1/helpers", json=HELPER)).json())
            assert (again.helper_id, again.incarnation) == (grant.helper_id, grant.incarnation + 1)
            assert again.cid_key == grant.cid_key


async def test_a_database_that_stands_still_costs_nobody_its_lease(tmp_path: Path, nats_server: EmbeddedNats) -> None:
    with EmbeddedPostgres(tmp_path / "pg", durable=False) as postgres:
        async with running(tmp_path, postgres.url, nats_server.url, registry_helper_lease_ttl_s=2) as registry:
            agent = registry.client("agent")
            assert (await agent.post("/v1/helpers", json=HELPER)).status_code == 201
            assert (await agent.put("/v1/helpers/1/lease", json=RENEWAL)).status_code == 200
            expires_at = rest.Helper.model_validate((await agent.get("/v1/helpers/1")).json()).lease_expires_at
            assert postgres.pid
            backends = _children(postgres.pid)
            for pid in backends:
                os.kill(pid, signal.SIGSTOP)
            await until(lambda: datetime.now(UTC), lambda now: now > expires_at)
            for pid in backends:
                os.kill(pid, signal.SIGCONT)

            async def later() -> rest.Helper:
                return rest.Helper.model_validate((await agent.get("/v1/helpers/1")).json())

            helper = await until(later, lambda found: found.lease_expires_at > expires_at or found.state == "down")
            assert isinstance(helper, rest.Helper)
            assert helper.state == "up"


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return os.environ | {
        "POSTMAN_STATE_DIR": str(tmp_path / "state"),
        "POSTMAN_NATS_URL": "nats://127.0.0.1:1",
        "POSTMAN_REGISTRY_PORT": str(choose_port(0, "registry")),
    }


def start_process(environment: dict[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "postman_registry"], env=environment)


async def test_the_process_starts_before_postgres_and_stops_in_order(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    postgres = EmbeddedPostgres(tmp_path / "pg", durable=False)
    postgres.start()
    url = postgres.url
    postgres.stop()
    base_url = f"http://127.0.0.1:{environment['POSTMAN_REGISTRY_PORT']}"
    process = start_process(environment | {"POSTMAN_DATABASE_URL": url})
    try:
        async with httpx.AsyncClient(base_url=base_url, trust_env=False) as client:

            async def status(path: str) -> int:
                try:
                    return (await client.get(path, headers=headers)).status_code
                except httpx.TransportError:
                    return 0

            headers: dict[str, str] = {}
            await until(lambda: status("/healthz"), lambda found: found == 200)
            key = (tmp_path / "state/keys/viewer").read_text().strip()
            headers["Authorization"] = f"Bearer {key}"
            assert await status("/readyz") == 503
            assert await status("/v1/helpers") == 503
            with postgres:
                await until(lambda: status("/readyz"), lambda found: found == 200)
                assert await status("/v1/helpers") == 200
                process.send_signal(signal.SIGTERM)
                assert await asyncio.to_thread(process.wait, 15) == 0
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "POSTMAN_DATABASE_URL"),
        ({"POSTMAN_DATABASE_URL": "mysql://x"}, "postgresql://"),
        ({"POSTMAN_DATABASE_URL": "postgresql://u:p@h:port/d"}, "postgresql://"),
        ({"POSTMAN_DATABASE_URL": "postgresql://u:p@h/d?sslmode=require"}, "?ssl=require"),
        ({"POSTMAN_DATABASE_URL": "postgresql://h/d", "POSTMAN_NATS_URL": "nats://h:port"}, "POSTMAN_NATS_URL"),
        ({"POSTMAN_DATABASE_URL": "postgresql://h/d", "POSTMAN_REGISTRY_PORT": "x"}, "POSTMAN_REGISTRY_PORT"),
        ({"POSTMAN_DATABASE_URL": "postgresql://h/d", "POSTMAN_CONFIG": "missing.toml"}, "missing.toml"),
    ],
)
def test_wrong_settings_are_said_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], settings: dict[str, str], said: str
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    assert main([]) == 2
    assert said in capsys.readouterr().err


def test_a_port_in_use_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("POSTMAN_DATABASE_URL", "postgresql://127.0.0.1:1/d")
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        monkeypatch.setenv("POSTMAN_REGISTRY_PORT", str(port))
        assert main([]) == 2
    assert f"port {port} on 127.0.0.1 is in use" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["nowhere"], ["--back", "9999"]])
def test_a_revision_that_is_none_is_said_plainly(
    arguments: list[str],
    postgres_server: EmbeddedPostgres,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    name = asyncio.run(make_database(postgres_server))
    monkeypatch.setenv("POSTMAN_DATABASE_URL", postgres_server.url_of(name))
    assert main(["migrate"]) == 0
    assert main(["migrate", *arguments]) == 2
    said = capsys.readouterr().err
    assert f"'{arguments[-1]}'" in said
    assert "Name a revision of this release" in said
    asyncio.run(drop_database(postgres_server, name))


def test_migrate_from_the_command_line(postgres_server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch) -> None:
    name = asyncio.run(make_database(postgres_server))
    monkeypatch.setenv("POSTMAN_DATABASE_URL", postgres_server.url_of(name))
    for arguments in (["migrate"], ["migrate", "--back", "base"], ["migrate", "head"]):
        assert main(arguments) == 0
    asyncio.run(drop_database(postgres_server, name))
