# SPDX-License-Identifier: Apache-2.0
"""What telemetry is for: one trace tells what happened across processes. Received by a real OTLP receiver."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import pytest
from otlp_receiver import Receiver, Span, chain

pytest.importorskip("vcl._core", reason="the extension module is not built")

WaitUntil = Callable[..., Any]
SERVER_KIND, CLIENT_KIND, PRODUCER_KIND, CONSUMER_KIND = 2, 3, 4, 5  # SpanKind of OTLP
STOP_S = 20


class Programs:
    """Programs of one test, which take part in the control plane and export."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._folder = folder
        self._environment = environment
        self._running: list[subprocess.Popen[bytes]] = []

    def start(self, module: str, *arguments: str) -> subprocess.Popen[bytes]:
        """Runs it; its standard output can be read."""
        with (self._folder / f"{module}.log").open("wb") as log:
            program = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                env=self._environment,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        self._running.append(program)
        return program

    def log(self, module: str) -> str:
        """What it wrote to standard error."""
        return (self._folder / f"{module}.log").read_text(errors="replace")

    def stop(self) -> None:
        """Ends all of them."""
        for program in self._running:
            program.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                program.wait(STOP_S)
            program.kill()
            program.wait()
            assert program.stdout is not None
            program.stdout.close()


@pytest.fixture
def programs(traced_plane: Any, otlp_variables: dict[str, str], tmp_path: Path) -> Iterator[Programs]:
    """Starts programs, and ends them."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("POSTMAN_", "OTEL_"))}
    started = Programs(tmp_path, clean | traced_plane.environment() | otlp_variables)
    try:
        yield started
    finally:
        started.stop()


def first_line(stream: IO[bytes] | None) -> dict[str, Any]:
    assert stream is not None
    line = stream.readline()
    return json.loads(line) if line else {}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        return int(unused.getsockname()[1])


def talk(programs: Programs, folder: Path) -> dict[str, Any]:
    """The demo's server and client exchange a few messages over VCL; what the client said first."""
    where = ["--host", "127.0.0.1", "--port", str(free_port())]
    server = programs.start("postman_cli.demo.server", *where, "--ledger", str(folder / "server.json"))
    assert first_line(server.stdout).get("ready"), programs.log("postman_cli.demo.server")
    client = programs.start(
        *("postman_cli.demo.client", *where, "--ledger", str(folder / "client.json")),
        *("--connections", "1", "--requests", "5"),
    )
    ready = first_line(client.stdout)
    assert ready, programs.log("postman_cli.demo.client")
    assert client.wait(60) == 0, programs.log("postman_cli.demo.client")
    return ready


def by_name(spans: list[Span], name: str, service: str) -> list[Span]:
    return [span for span in spans if span.name == name and span.service == service]


def test_one_trace_from_connect_to_the_database(
    programs: Programs, otlp: Receiver, wait_until: WaitUntil, tmp_path: Path
) -> None:
    assert talk(programs, tmp_path)["transports"] == ["vcl"]

    def statement() -> list[Span]:
        spans = otlp.spans()
        return next(
            (
                way
                for span in spans
                if span.service == "postman-registry" and "db.query.text" in span.attributes
                for way in [chain(spans, span)]
                if way[-1].name == "vcl.connect"
            ),
            [],
        )

    way = wait_until(statement, what="a statement in the trace of a connect")
    names = [(span.service, span.name) for span in way]
    assert len({span.trace_id for span in way}) == 1
    assert way[-1].service == "postman-demo-client"
    assert not way[-1].parent_id
    assert ("postman-demo-client", "vcl.resolve") in names
    answered = next(span for span in way if span.kind == SERVER_KIND)
    assert (answered.service, answered.name) == ("postman-registry", "GET /v1/resolve")
    assert answered.attributes["http.response.status_code"] == 200
    database = way[0]
    assert database.kind == CLIENT_KIND
    assert database.attributes["db.system.name"] == "postgresql"
    assert database.attributes["db.operation.name"] == "SELECT"
    assert answered.begin_ns <= database.begin_ns <= database.end_ns
    assert answered.resource["service.namespace"] == "postman"
    assert {"service.version", "service.instance.id", "host.name"} <= answered.resource.keys()


def test_nothing_secret_is_exported(
    programs: Programs, traced_plane: Any, otlp: Receiver, wait_until: WaitUntil, tmp_path: Path
) -> None:
    talk(programs, tmp_path)
    wait_until(lambda: by_name(otlp.spans(), "vcl.connect", "postman-demo-client"), what="the client's spans")
    wait_until(lambda: otlp.logs(), what="a line of a log")
    keys = [path.read_text().strip() for path in (traced_plane.folder / "keys").iterdir() if path.is_file()]
    passwords = [url.split("://")[1].split("@")[0].partition(":")[2] for url in (traced_plane.nats_url,)]
    assert len(keys) >= 4
    assert all(passwords)
    with traced_plane.client("agent") as client:
        found = client.get("/v1/servers").raise_for_status().json()["items"][-1]
        answer = client.get("/v1/resolve", params={"service": found["service"]}).raise_for_status().json()
    encoded = [answer["token"], answer["token_key"]]
    secrets = [secret.encode() for secret in (*keys, *passwords, *encoded)] + [base64.b64decode(x) for x in encoded]
    received = b"\n".join(otlp.bodies())
    assert b"/v1/resolve" in received
    for secret in secrets:
        assert secret not in received
        assert secret.hex().encode() not in received
