# SPDX-License-Identifier: Apache-2.0
"""Telemetry: off by default and then free; on by the standard variables, all three signals reach a collector."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

_OFF = """
import sys
from postman_kit import telemetry
exported = telemetry.setup("test")
assert not exported.is_on
from fastapi import FastAPI
from postman_kit.bus import Bus
from postman_kit.db import Database
app, bus = FastAPI(), Bus("nats://127.0.0.1:1", name="test")
exported.instrument(app)
telemetry.export_bus(bus)
database = Database("postgresql://a:b@127.0.0.1:1/c", name="test")
assert not list(database._engine.sync_engine.dispatch.before_cursor_execute), "statements are hooked"
loaded = [name for name in sys.modules if name.startswith(("opentelemetry.sdk", "opentelemetry.instrumentation"))]
assert not loaded, loaded
"""
_ON = """
import logging
from collections import Counter
from opentelemetry import trace
from postman_kit import telemetry
telemetry.export_counters("postman.test", Counter(done=3))
exported = telemetry.setup("a-service")
assert exported.is_on
with trace.get_tracer("t").start_as_current_span("a-span"):
    logging.getLogger("t").warning("a-line")
exported.shutdown()
"""

_SILENT = """
import logging, threading
from postman_kit import telemetry
exported = telemetry.setup("a-service")
logging.getLogger("t").warning("a-line")
telemetry.FLUSH_S_MAX = 0.0
exported.shutdown()
assert [thread for thread in threading.enumerate() if thread.name == "telemetry-flush"], "nothing was left to wait for"
"""


class Collector(BaseHTTPRequestHandler):
    """Keeps what is sent, by path."""

    bodies: dict[str, bytes]

    def do_POST(self) -> None:  # the base class's name
        self.bodies[self.path] = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def collector() -> Iterator[tuple[str, dict[str, bytes]]]:
    bodies: dict[str, bytes] = {}
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Collector,), {"bodies": bodies}))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", bodies
    server.shutdown()
    thread.join()
    server.server_close()


def run(program: str, **variables: str) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    environment |= variables | {"NO_PROXY": "127.0.0.1", "OTEL_EXPORTER_OTLP_COMPRESSION": "none"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_off_by_default_and_when_disabled() -> None:
    run(_OFF)
    run(_OFF, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:1", OTEL_SDK_DISABLED="true")


def test_all_three_signals_reach_a_collector(collector: tuple[str, dict[str, bytes]]) -> None:
    url, bodies = collector
    run(_ON, OTEL_EXPORTER_OTLP_ENDPOINT=url)
    assert set(bodies) == {"/v1/traces", "/v1/metrics", "/v1/logs"}
    assert b"a-span" in bodies["/v1/traces"]
    assert b"postman.test" in bodies["/v1/metrics"]
    assert b"a-line" in bodies["/v1/logs"]
    assert all(b"a-service" in body for body in bodies.values())


def test_one_signal_alone(collector: tuple[str, dict[str, bytes]]) -> None:
    url, bodies = collector
    run(_ON, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=f"{url}/v1/traces")
    assert set(bodies) == {"/v1/traces"}


def test_a_silent_collector_does_not_hold_up_our_end() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        run(_SILENT, OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{silent.getsockname()[1]}")
