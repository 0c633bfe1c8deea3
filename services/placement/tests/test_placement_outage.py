# SPDX-License-Identifier: Apache-2.0
"""What placement does while the registry, NATS or Postgres is away, and after; the process itself and its settings."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from placement_parts import (
    Registry,
    problem,
    running_placement,
    running_registry,
    until,
)

from postman_contracts import subjects
from postman_contracts.messages import AssignmentsChanged
from postman_contracts.problems import ProblemType
from postman_kit.bus import Bus
from postman_kit.embedded import EmbeddedNats, EmbeddedPostgres
from postman_kit.embedded.child import choose_port
from postman_kit.embedded.pytest_fixtures import drop_database, make_database
from postman_kit.facts import FACTS
from postman_placement.__main__ import main
from postman_placement.settings import PlacementSettings

NOWHERE = "http://127.0.0.1:9"


async def test_without_the_registry_nothing_is_solved_or_applied_and_all_else_works(
    tmp_path: Path, database_url: str, nats_server: EmbeddedNats
) -> None:
    async with running_registry(tmp_path, database_url, nats_server.url) as registry:
        await registry.helper("one", "h1")
        url = registry.url
        async with running_placement(tmp_path, database_url, nats_server.url, url) as placement:
            await placement.put_inputs()
            applied, waits = await placement.make(), await placement.make()
            epoch = (await placement.apply(applied.placement_id)).epoch
    async with running_placement(tmp_path, database_url, nats_server.url, NOWHERE) as placement:
        operator = placement.client("operator")
        for path in ("/v1/placements", f"/v1/placements/{waits.placement_id}/apply"):
            answer = await operator.post(path, json={} if path == "/v1/placements" else None)
            problem(answer, ProblemType.UNAVAILABLE, 503)
            assert int(answer.headers["retry-after"]) >= 1
        assert (await placement.apply(applied.placement_id)).epoch == epoch
        assert (await placement.get(waits.placement_id)).state == "proposed"
        assert (await operator.get("/v1/assignments")).json()["epoch"] == epoch
        assert (await operator.get("/readyz")).status_code == 200
        await placement.put_inputs()


async def test_without_nats_an_epoch_is_in_force_and_its_message_waits(
    tmp_path: Path, database_url: str, registry: Registry
) -> None:
    own_nats = EmbeddedNats(tmp_path / "nats")
    own_nats.start()
    url = own_nats.url
    own_nats.stop()
    await registry.helper("one", "h1")
    async with running_placement(
        tmp_path, database_url, url, registry.url, api_key=registry.key("viewer")
    ) as placement:
        await placement.put_inputs()
        made = await placement.make()
        epoch = (await placement.apply(made.placement_id)).epoch
        assert (await placement.client("viewer").get("/readyz")).status_code == 200
        with own_nats:
            assert await stored_epochs(own_nats.url) == [epoch]
        shutil.rmtree(tmp_path / "nats/jetstream")
        with own_nats:  # it has lost its files: the epoch is said again unasked, for whoever begins now
            assert await stored_epochs(own_nats.url) == [epoch]


async def stored_epochs(url: str) -> list[int]:
    """What the stream has, as soon as it has anything."""
    heard: list[int] = []

    async def on_part(_: str, part: AssignmentsChanged) -> None:
        heard.append(part.epoch)

    bus = Bus(url, name="listener")
    await bus.subscribe_durable(FACTS, subjects.ASSIGNMENT_FACTS_ALL, AssignmentsChanged, on_part, durable="listener")
    await bus.start()
    try:
        return await until(lambda: heard, len)
    finally:
        await bus.stop()


async def test_a_killed_postgres_is_503_until_it_is_back_and_nothing_is_lost(
    tmp_path: Path, nats_server: EmbeddedNats
) -> None:
    with EmbeddedPostgres(tmp_path / "pg") as postgres:
        async with (
            running_registry(tmp_path, postgres.url, nats_server.url) as registry,
            running_placement(tmp_path, postgres.url, nats_server.url, registry.url) as placement,
        ):
            await registry.helper("one", "h1")
            await placement.put_inputs()
            applied, waits = await placement.make(), await placement.make()
            await placement.apply(applied.placement_id)
            assert postgres.pid
            os.kill(postgres.pid, signal.SIGKILL)
            await placement.wait_ready(is_ready=False)
            operator = placement.client("operator")
            for answer in (
                await operator.get("/v1/assignments"),
                await operator.post("/v1/placements", json={}),
                await operator.post(f"/v1/placements/{waits.placement_id}/apply"),
                await operator.put("/v1/demands", json={"items": []}),
            ):
                problem(answer, ProblemType.UNAVAILABLE, 503)
                assert int(answer.headers["retry-after"]) >= 1
            assert (await operator.get("/healthz")).status_code == 200
            postgres.start()
            await registry.wait_ready()
            await placement.wait_ready()
            kept = await placement.get(applied.placement_id)
            assert kept.state == "applied"
            assert kept.epoch is not None
            assert (await placement.get(waits.placement_id)).state == "proposed"
            later = await placement.apply(waits.placement_id)
            assert later.epoch is not None
            assert later.epoch > kept.epoch


# --- the process ------------------------------------------------------------------------------------


async def test_the_process_starts_before_postgres_and_stops_in_order(tmp_path: Path) -> None:
    postgres = EmbeddedPostgres(tmp_path / "pg", durable=False)
    postgres.start()
    url = postgres.url
    postgres.stop()
    port = choose_port(0, "placement")
    environment = os.environ | {
        "POSTMAN_STATE_DIR": str(tmp_path / "state"),
        "POSTMAN_PLACEMENT_PORT": str(port),
        "POSTMAN_NATS_URL": "nats://127.0.0.1:9",
        "POSTMAN_DATABASE_URL": url,
    }
    process = await asyncio.to_thread(subprocess.Popen, [sys.executable, "-m", "postman_placement"], env=environment)
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:

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
            assert await status("/v1/topology") == 503
            with postgres:
                await until(lambda: status("/readyz"), lambda found: found == 200)
                assert await status("/v1/topology") == 200
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
        ({"POSTMAN_DATABASE_URL": "postgresql://h/d", "POSTMAN_PLACEMENT_PORT": "x"}, "POSTMAN_PLACEMENT_PORT"),
        ({"POSTMAN_DATABASE_URL": "postgresql://h/d", "POSTMAN_REGISTRY_URL": "h"}, "POSTMAN_REGISTRY_URL"),
        ({"POSTMAN_DATABASE_URL": "postgresql://h/d", "POSTMAN_API_KEY_FILE": "missing"}, "POSTMAN_API_KEY_FILE"),
        ({"POSTMAN_DATABASE_URL": "postgresql://h/d", "POSTMAN_PLACEMENT_SOLVES_MAX": "0"}, "SOLVES_MAX"),
    ],
)
def test_wrong_settings_are_said_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], settings: dict[str, str], said: str
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    assert main([]) == 2
    assert said in capsys.readouterr().err


def test_the_registry_is_asked_with_the_key_set_or_the_viewers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys/viewer").write_text("key-of-the-viewer\n")
    (tmp_path / "other").write_text("key-of-a-file\n")
    monkeypatch.setenv("POSTMAN_STATE_DIR", str(tmp_path))
    assert PlacementSettings.load().registry_api_key() == "key-of-the-viewer"
    monkeypatch.setenv("POSTMAN_API_KEY_FILE", str(tmp_path / "other"))
    assert PlacementSettings.load().registry_api_key() == "key-of-a-file"
    monkeypatch.setenv("POSTMAN_API_KEY", "key-of-the-environment")
    assert PlacementSettings.load().registry_api_key() == "key-of-the-environment"


def test_a_port_in_use_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("POSTMAN_DATABASE_URL", "postgresql://127.0.0.1:1/d")
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        monkeypatch.setenv("POSTMAN_PLACEMENT_PORT", str(port))
        assert main([]) == 2
    assert f"port {port} on 127.0.0.1 is in use" in capsys.readouterr().err


def test_migrate_from_the_command_line(postgres_server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch) -> None:
    name = asyncio.run(make_database(postgres_server))
    monkeypatch.setenv("POSTMAN_DATABASE_URL", postgres_server.url_of(name))
    for arguments in (["migrate"], ["migrate", "--back", "base"], ["migrate", "head"]):
        assert main(arguments) == 0
    asyncio.run(drop_database(postgres_server, name))
