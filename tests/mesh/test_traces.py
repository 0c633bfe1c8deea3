# SPDX-License-Identifier: Apache-2.0
"""What telemetry is for: one trace tells what happened across processes. Received by a real OTLP receiver, which also
shows that the dashboards ask for metrics that exist, and that nothing secret leaves."""

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
from urllib.parse import urlsplit

import pytest
from otlp_receiver import Receiver, Span, chain
from prometheus_names import asked_for, names_of

from postman_helper.settings import HelperSettings

pytest.importorskip("vcl._core", reason="the extension module is not built")

WORKER = HelperSettings.model_fields["helper_worker"].get_default(call_default_factory=True)
DASHBOARDS = Path(__file__).resolve().parents[2] / "deploy/observability/grafana/dashboards"
WaitUntil = Callable[..., Any]
SERVER_KIND, CLIENT_KIND, PRODUCER_KIND, CONSUMER_KIND = 2, 3, 4, 5  # SpanKind of OTLP
STOP_S = 20


class Programs:
    """Programs that take part in the control plane and export."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        self._environment = environment
        self._running: list[subprocess.Popen[bytes]] = []

    def start(self, module: str, *arguments: str, **variables: str) -> subprocess.Popen[bytes]:
        """Runs it; its standard output can be read."""
        with (self.folder / f"{module}.log").open("wb") as log:
            program = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                env=self._environment | variables,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        self._running.append(program)
        return program

    def log(self, module: str) -> str:
        """What it wrote to standard error."""
        return (self.folder / f"{module}.log").read_text(errors="replace")

    def stop(self) -> None:
        """Ends all of them."""
        for program in self._running:
            program.terminate()
        for program in self._running:
            with contextlib.suppress(subprocess.TimeoutExpired):
                program.wait(STOP_S)
            program.kill()
            program.wait()
            assert program.stdout is not None
            program.stdout.close()


@pytest.fixture(scope="module")
def programs(
    traced_plane: Any, otlp_variables: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Programs]:
    """Starts programs, and ends them."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("POSTMAN_", "OTEL_"))}
    started = Programs(tmp_path_factory.mktemp("programs"), clean | traced_plane.environment() | otlp_variables)
    try:
        yield started
    finally:
        started.stop()


@pytest.fixture(scope="module")
def server_port(programs: Programs) -> int:
    """The demo's server, after the demo's client has exchanged a few messages with it over VCL."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = int(unused.getsockname()[1])
    where = ["--host", "127.0.0.1", "--port", str(port)]
    ledger = str(programs.folder / "ledger.json")
    server = programs.start("postman_cli.demo.server", *where, "--ledger", ledger)
    assert first_line(server.stdout).get("ready"), programs.log("postman_cli.demo.server")
    amount = ["--connections", "1", "--requests", "5"]
    client = programs.start("postman_cli.demo.client", *where, *amount, "--ledger", ledger)
    assert first_line(client.stdout).get("transports") == ["vcl"], programs.log("postman_cli.demo.client")
    assert client.wait(60) == 0, programs.log("postman_cli.demo.client")
    return port


@pytest.fixture(scope="module")
def helper_name(programs: Programs, traced_plane: Any) -> str:
    """A supervisor with the real worker, on a device that drops everything."""
    if not WORKER.exists():
        pytest.skip(f"{WORKER} is not built (needs DPDK)")
    name = f"traced-{os.getpid()}"
    variables = {
        "POSTMAN_STATE_DIR": str(programs.folder),
        "POSTMAN_HELPER_NAME": name,
        "POSTMAN_HELPER_SITE": "east",
        "POSTMAN_HELPER_WORKER": str(WORKER),
        "POSTMAN_HELPER_DEVICE": "net_null0,no-rx=1",
        "POSTMAN_HELPER_DATA_ADDRESS": "198.18.0.10/24",
        "POSTMAN_HELPER_GATEWAY": "198.18.0.1",
        "POSTMAN_HELPER_HOLD_US_MAX": "50",
        "POSTMAN_HELPER_MEMORY_MB": "96",
        "POSTMAN_HELPER_CPU": "0",
    }
    programs.start("postman_helper", **traced_plane.environment("helper") | variables)
    return name


def first_line(stream: IO[bytes] | None) -> dict[str, Any]:
    assert stream is not None
    line = stream.readline()
    return json.loads(line) if line else {}


def is_up(plane: Any, helper_name: str) -> bool:
    with plane.client() as client:
        items = client.get("/v1/helpers", params={"limit": 500}).raise_for_status().json()["items"]
    return any(item["name"] == helper_name and item["state"] == "up" for item in items)


def apply_a_placement(plane: Any, helper_name: str, wait_until: WaitUntil) -> None:
    """One group at one site, which can only get the helper there."""
    wait_until(lambda: is_up(plane, helper_name), what="the helper at the registry")
    topology = {"sites": [{"name": "east"}], "links": []}
    demand = {"group": "g", "service": "echo", "site": "east", "server_site": "east", "rate_pps": 1000}
    with plane.client("operator", "placement") as client:
        client.put("/v1/topology", json=topology).raise_for_status()
        client.put("/v1/demands", json={"items": [demand]}).raise_for_status()
        placement = client.post("/v1/placements", json={}, timeout=30).raise_for_status().json()
        client.post(f"/v1/placements/{placement['placement_id']}/apply").raise_for_status()


def by_name(spans: list[Span], name: str, service: str) -> list[Span]:
    return [span for span in spans if span.name == name and span.service == service]


@pytest.mark.usefixtures("server_port")
def test_one_trace_from_connect_to_the_database(otlp: Receiver, wait_until: WaitUntil) -> None:
    def asked() -> list[Span]:
        spans = otlp.spans()
        statements = [x for x in spans if x.service == "postman-registry" and "db.query.text" in x.attributes]
        return next((way for x in statements for way in [chain(spans, x)] if way[-1].name == "vcl.connect"), [])

    way = wait_until(asked, what="a statement in the trace of a connect")
    names = [(span.service, span.name) for span in way]
    assert names[-2:] == [("postman-demo-client", "vcl.resolve"), ("postman-demo-client", "vcl.connect")]
    assert not way[-1].parent_id
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


def test_one_trace_from_an_applied_placement_to_the_helper(
    helper_name: str, traced_plane: Any, otlp: Receiver, wait_until: WaitUntil
) -> None:
    apply_a_placement(traced_plane, helper_name, wait_until)

    def prepared() -> list[Span]:
        spans = otlp.spans()
        ways = [chain(spans, span) for span in by_name(spans, "helper.assignment", "postman-helper")]
        # Each process exports in its own time: the helper's span may be here before its parents.
        return next((way for way in ways if way[-1].kind == SERVER_KIND), [])

    way = wait_until(prepared, what="the helper's span with its parents")
    assert [(span.service, span.name, span.kind) for span in way][1:] == [
        ("postman-helper", "process postman.v1.fact.assignment.*", CONSUMER_KIND),
        ("postman-placement", "publish postman.v1.fact.assignment.changed", PRODUCER_KIND),
        ("postman-placement", "POST /v1/placements/{placement_id}/apply", SERVER_KIND),
    ]
    assert way[2].attributes["messaging.system"] == "nats"
    assert way[2].attributes["messaging.destination.name"] == "postman.v1.fact.assignment.changed"
    assert way[0].resource["service.instance.id"] == helper_name

    def registry_took_it() -> list[Span]:
        taken = by_name(otlp.spans(), "process postman.v1.fact.assignment.*", "postman-registry")
        return [span for span in taken if span.trace_id == way[0].trace_id]

    wait_until(registry_took_it, what="the registry's span in the same trace")


@pytest.mark.usefixtures("server_port", "helper_name")
def test_every_metric_of_the_dashboards_exists(otlp: Receiver, wait_until: WaitUntil) -> None:
    wanted = {name for path in DASHBOARDS.glob("*.json") for name in asked_for(json.loads(path.read_text()))}
    assert len(wanted) > 10

    def missing() -> set[str]:
        return wanted - {name for metric in otlp.metrics() for name in names_of(metric)}

    with contextlib.suppress(AssertionError):
        wait_until(lambda: not missing())
    assert not missing()


@pytest.mark.usefixtures("server_port")
def test_nothing_secret_is_exported(traced_plane: Any, otlp: Receiver, wait_until: WaitUntil) -> None:
    wait_until(lambda: by_name(otlp.spans(), "vcl.connect", "postman-demo-client"), what="the client's spans")
    wait_until(lambda: otlp.logs(), what="a line of a log")
    keys = [path.read_text().strip() for path in (traced_plane.folder / "keys").iterdir() if path.is_file()]
    users = ("registry", "placement", "health", "helper", "agent")
    urls = [traced_plane.nats_url, *map(traced_plane.nats.url_of, users)]
    urls += map(traced_plane.postgres.url_for, users[:3])
    passwords = {urlsplit(url).password or "" for url in urls}
    assert len(keys) >= 4
    assert all(map(len, passwords))
    with traced_plane.client("agent") as client:
        servers = client.get("/v1/servers", params={"limit": 500}).raise_for_status().json()["items"]
        found = next(server for server in servers if server["state"] == "up")
        answer = client.get("/v1/resolve", params={"service": found["service"]}).raise_for_status().json()
    encoded = [answer["token"], answer["token_key"]]
    secrets = [secret.encode() for secret in (*keys, *passwords, *encoded)] + [base64.b64decode(x) for x in encoded]
    received = b"\n".join(otlp.bodies())
    assert b"/v1/resolve" in received
    for secret in secrets:
        assert secret not in received
        assert secret.hex().encode() not in received
