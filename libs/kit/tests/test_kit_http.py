# SPDX-License-Identifier: Apache-2.0
"""The HTTP side: problem documents for every error, roles, body limit, readiness, a port that is taken."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import Depends, FastAPI
from pydantic import BaseModel, Field

from postman_contracts.problems import MEDIA_TYPE, Problem, ProblemType
from postman_kit.app import ServeError, create_app, listen
from postman_kit.auth import KeyFolder, KeyRing, Role, key_ring_from, require
from postman_kit.db import DatabaseUnavailable
from postman_kit.errors import BODY_BYTES_MAX
from postman_kit.settings import SettingsError

KEYS = {role: f"key-of-{role.name.lower()}-1234567890" for role in Role}


class Body(BaseModel, extra="forbid"):
    port: int = Field(ge=1, le=65535)
    text: str = ""


@contextlib.asynccontextmanager
async def no_lifespan(_: FastAPI) -> AsyncIterator[None]:
    yield


class Readiness:
    def __init__(self) -> None:
        self.error: Exception | None = None

    async def check(self) -> None:
        if self.error:
            raise self.error


@pytest.fixture
def readiness() -> Readiness:
    return Readiness()


@pytest.fixture
async def client(readiness: Readiness) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(
        "test",
        "1",
        key_ring=KeyRing([(key, role) for role, key in KEYS.items()]),
        ready_checks={"thing": readiness.check},
        lifespan=no_lifespan,
    )

    @app.post("/body")
    async def body(_: Body) -> str:
        return "ok"

    @app.get("/fail")
    async def fail() -> None:
        raise RuntimeError("internal detail")

    @app.get("/away")
    async def away() -> None:
        raise DatabaseUnavailable("internal detail")

    for role in Role:
        app.get(f"/{role.name.lower()}", dependencies=[Depends(require(role))])(_ok)

    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


async def _ok() -> str:
    return "ok"


def problem(answer: httpx.Response, kind: ProblemType) -> Problem:
    assert answer.headers["content-type"] == MEDIA_TYPE
    document = Problem.model_validate(answer.json())
    assert (document.kind, document.status) == (kind, answer.status_code)
    assert "internal detail" not in answer.text
    return document


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"x"',
        b'{"port": 0}',
        b'{"port": 1e400}',
        b'{"port": ' + b"9" * 5000 + b"}",
        b'{"port": 1, "\\ud800": 1}',
        b'{"port": 1, "' + b"x" * 60000 + b'": 1}',
        b'{"port": NaN}',
        b"\xff\xfe",
        b"[" * 20000,
    ],
)
async def test_malformed_bodies_are_4xx_problems(client: httpx.AsyncClient, body: bytes) -> None:
    answer = await client.post("/body", content=body, headers={"content-type": "application/json"})
    assert 400 <= answer.status_code < 500
    assert answer.headers["content-type"] == MEDIA_TYPE
    assert Problem.model_validate(answer.json()).detail


async def test_a_wrong_field_is_named(client: httpx.AsyncClient) -> None:
    document = problem(await client.post("/body", json={"port": 70000}), ProblemType.INVALID_REQUEST)
    assert document.errors
    assert document.errors[0].field == "port"
    assert "port" in document.detail


async def test_unexpected_errors_say_nothing_internal(client: httpx.AsyncClient) -> None:
    problem(await client.get("/fail"), ProblemType.INTERNAL)


async def test_an_absent_database_is_503_with_retry_after(client: httpx.AsyncClient) -> None:
    answer = await client.get("/away")
    problem(answer, ProblemType.UNAVAILABLE)
    assert int(answer.headers["retry-after"]) >= 1


async def test_unknown_paths_and_methods_are_problems(client: httpx.AsyncClient) -> None:
    problem(await client.get("/nothing"), ProblemType.NOT_FOUND)
    problem(await client.get("/body"), ProblemType.METHOD_NOT_ALLOWED)


async def test_large_bodies_are_refused_declared_or_streamed(client: httpx.AsyncClient) -> None:
    async def stream() -> AsyncIterator[bytes]:
        for _ in range(BODY_BYTES_MAX // 1024 + 1):
            yield b" " * 1024

    problem(await client.post("/body", content=b" " * (BODY_BYTES_MAX + 1)), ProblemType.BODY_TOO_LARGE)
    problem(await client.post("/body", content=stream()), ProblemType.BODY_TOO_LARGE)
    fits = b'{"port": 1}' + b" " * (BODY_BYTES_MAX - 11)
    answer = await client.post("/body", content=fits, headers={"content-type": "application/json"})
    assert answer.status_code == 200


@pytest.mark.parametrize("needed", Role)
@pytest.mark.parametrize("has", Role)
async def test_a_role_may_what_those_below_may(client: httpx.AsyncClient, needed: Role, has: Role) -> None:
    answer = await client.get(f"/{needed.name.lower()}", headers={"Authorization": f"Bearer {KEYS[has]}"})
    if has >= needed:
        assert answer.status_code == 200
    else:
        problem(answer, ProblemType.FORBIDDEN)


@pytest.mark.parametrize("value", ["", "Bearer", "Bearer wrong", "Basic dTpw", "Bearer " + KEYS[Role.ADMIN][:-1]])
async def test_no_valid_key_is_401(client: httpx.AsyncClient, value: str) -> None:
    answer = await client.get("/viewer", headers={"Authorization": value})
    problem(answer, ProblemType.UNAUTHORISED)
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_health_and_readiness(client: httpx.AsyncClient, readiness: Readiness) -> None:
    assert (await client.get("/readyz")).status_code == 200
    readiness.error = RuntimeError("internal detail")
    answer = await client.get("/readyz")
    assert (answer.status_code, answer.json()["checks"]) == (503, {"thing": False})
    assert "internal detail" not in answer.text
    assert (await client.get("/healthz")).status_code == 200


def test_keys_are_made_once_and_private(tmp_path: Path) -> None:
    ring = key_ring_from(tmp_path / "keys")
    for role in Role:
        path = tmp_path / "keys" / role.name.lower()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert ring.role_of(path.read_text().strip()) is role
    before = {path.name: path.read_text() for path in (tmp_path / "keys").iterdir()}
    key_ring_from(tmp_path / "keys")
    assert before == {path.name: path.read_text() for path in (tmp_path / "keys").iterdir()}


def test_a_role_may_have_several_keys(tmp_path: Path) -> None:
    (tmp_path / "agent.next").write_text("another-key-of-agents\n")
    ring = key_ring_from(tmp_path)
    assert ring.role_of("another-key-of-agents") is Role.AGENT
    assert not (tmp_path / "agent").exists()


@pytest.mark.parametrize(("name", "text"), [("agent", ""), ("agent", "short"), ("root", "x" * 40), ("agent", "é" * 40)])
def test_unusable_key_files_are_refused_by_name(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(SettingsError, match=name):
        key_ring_from(tmp_path)


def test_keys_are_replaced_without_a_restart(tmp_path: Path) -> None:
    now_s = 0.0
    old = key_ring_from(tmp_path) and (tmp_path / "agent").read_text().strip()
    ring = KeyFolder(tmp_path, lambda: now_s)
    (tmp_path / "agent.next").write_text("another-key-of-agents\n")
    assert ring.role_of("another-key-of-agents") is None  # it looks once a second at most
    now_s = 1.0
    assert ring.role_of("another-key-of-agents") is Role.AGENT
    assert ring.role_of(old) is Role.AGENT
    (tmp_path / "agent").unlink()
    (tmp_path / "operator.bad").write_text("short")  # must not keep the removed one valid
    now_s = 2.0
    assert ring.role_of(old) is None
    assert ring.role_of("another-key-of-agents") is Role.AGENT
    tmp_path.rename(tmp_path.with_name("away"))
    now_s = 3.0
    assert ring.role_of("another-key-of-agents") is Role.AGENT  # nobody is locked out by a folder that is away
    tmp_path.with_name("away").rename(tmp_path)


def test_a_key_file_is_read_again_whatever_of_it_changed(tmp_path: Path) -> None:
    now_s = 0.0
    path = tmp_path / "agent"
    path.write_text("a-key-of-agents-only\n")
    ring = KeyFolder(tmp_path, lambda: now_s)
    before = path.stat()
    path.write_text("the-key-after-it-all\n")  # as long as the other
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # all that chmod changes is the time of the change
    now_s = 1.0
    assert ring.role_of("the-key-after-it-all") is Role.AGENT


def test_a_port_in_use_is_said_plainly() -> None:
    with listen("127.0.0.1", 0) as first, pytest.raises(ServeError, match=r"in use.*another port"):
        listen("127.0.0.1", first.getsockname()[1])


def test_serve_ends_a_running_request_before_it_stops(tmp_path: Path) -> None:
    program = tmp_path / "service.py"
    program.write_text(_SLOW_SERVICE)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    process = subprocess.Popen([sys.executable, str(program), str(port)])
    try:
        _wait_listening(port)
        with socket.create_connection(("127.0.0.1", port), 10) as connection:
            connection.sendall(b"GET /slow HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert (tmp_path / "begun") == _wait_for(tmp_path / "begun")
            process.send_signal(signal.SIGTERM)
            (tmp_path / "stopping").touch()
            answer = b"".join(iter(lambda: connection.recv(4096), b""))
        assert b"200 OK" in answer
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()


def _wait_listening(port: int) -> None:
    deadline = time.monotonic() + 15
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _wait_for(path: Path) -> Path:
    deadline = time.monotonic() + 10
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return path


_SLOW_SERVICE: Any = """
import asyncio, contextlib, sys
from pathlib import Path
from postman_kit.app import create_app, listen, serve
from postman_kit.auth import KeyRing

here = Path(__file__).parent

@contextlib.asynccontextmanager
async def lifespan(_):
    yield

app = create_app("slow", "1", key_ring=KeyRing([]), ready_checks={}, lifespan=lifespan)

@app.get("/slow")
async def slow():
    (here / "begun").touch()
    while not (here / "stopping").exists():
        await asyncio.sleep(0.01)
    return "done"

serve(app, listen("127.0.0.1", int(sys.argv[1])))
"""
