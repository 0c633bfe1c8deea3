# SPDX-License-Identifier: Apache-2.0
"""Spans of the library: none unless OpenTelemetry is switched on, and then with the trace passed on to the registry.
With the standard variables alone the library starts the SDK itself."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from vcl.agent_otlp import _exporter_module

RECORD = """
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
"""
ASK = """
    import socket, sys, threading
    listener = socket.create_server(("127.0.0.1", 0))
    requests = []
    def answer():
        peer, _ = listener.accept()
        requests.append(peer.recv(65536).decode())
        peer.sendall(b"HTTP/1.1 503 Unavailable\\r\\nContent-Length: 0\\r\\n\\r\\n")
    threading.Thread(target=answer, daemon=True).start()
    from vcl.agent import Agent, AgentConfig
    agent = Agent(AgentConfig("http://127.0.0.1:%d" % listener.getsockname()[1]))
    assert agent.resolve("h", 80) is None
    agent.close()
"""


CONNECT = """
    import os, socket, threading
    registry, plain = socket.create_server(("127.0.0.1", 0)), socket.create_server(("127.0.0.1", 0))
    requests = []
    def answer():
        peer, _ = registry.accept()
        requests.append(peer.recv(65536).decode())
        peer.sendall(b"HTTP/1.1 503 Unavailable\\r\\nContent-Length: 0\\r\\n\\r\\n")
    threading.Thread(target=answer, daemon=True).start()
    os.environ["POSTMAN_REGISTRY_URL"] = "http://127.0.0.1:%d" % registry.getsockname()[1]
    import vcl
    with vcl.connect(plain.getsockname(), timeout=20) as client:
        assert client.transport == "tcp"
"""


def run(script: str, **variables: str) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "POSTMAN_"))}
    subprocess.run(
        [sys.executable, "-c", "\n".join(map(textwrap.dedent, script.split("\f")))],
        env=environment | variables,
        check=True,
        timeout=30,
    )


def test_an_application_without_opentelemetry_does_not_load_it() -> None:
    run(ASK + '\f\nassert "opentelemetry" not in sys.modules\nassert "traceparent" not in requests[0]')


def test_an_application_with_opentelemetry_gets_spans() -> None:
    pytest.importorskip("opentelemetry.sdk")
    check = """
        (span,) = exporter.get_finished_spans()
        assert span.name == "vcl.resolve"
        assert dict(span.attributes) == {"server.address": "h", "server.port": 80}
        assert "%032x" % span.context.trace_id in requests[0]
    """
    run(RECORD + "\f" + ASK + "\f" + check)


# --- the SDK, started by the variables alone ---------------------------------------------------------------


class Collector:
    """Keeps what is posted to it, and answers as a collector does; or never answers."""

    def __init__(self, *, answers: bool = True) -> None:
        collector = self
        self.bodies: list[bytes] = []
        self.done = threading.Event()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                collector.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
                if not answers:
                    collector.done.wait()
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Says nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def spans(self) -> dict[str, Any]:
        """By name; and the resource's attributes under ''."""
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

        found: dict[str, Any] = {}
        for body in self.bodies:
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                found[""] = {item.key: item.value.string_value for item in resource.resource.attributes}
                found |= {span.name: span for scope in resource.scope_spans for span in scope.spans}
        return found

    def close(self) -> None:
        self.done.set()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def collector() -> Iterator[Collector]:
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http")
    made = Collector()
    yield made
    made.close()


def test_the_variables_alone_trace_a_connect(collector: Collector) -> None:
    run(CONNECT + '\f\nassert "traceparent" in requests[0]', OTEL_EXPORTER_OTLP_ENDPOINT=collector.url)
    spans = collector.spans()
    connect, resolve = spans["vcl.connect"], spans["vcl.resolve"]
    assert resolve.trace_id == connect.trace_id
    assert resolve.parent_span_id == connect.span_id
    assert spans[""]["service.name"] == "vcl"
    attributes = {item.key: item.value for item in connect.attributes}
    assert attributes["server.address"].string_value == "127.0.0.1"
    assert attributes["vcl.transport"].string_value == "tcp"
    assert "registry unreachable" in attributes["vcl.why"].string_value


def test_the_applications_name_and_provider_come_first(collector: Collector) -> None:
    named = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{collector.url}/v1/traces", "OTEL_SERVICE_NAME": "shop"}
    run(CONNECT, **named)
    assert collector.spans()[""]["service.name"] == "shop"
    collector.bodies.clear()
    check = 'assert "vcl.connect" in {span.name for span in exporter.get_finished_spans()}'
    run(RECORD + "\f" + CONNECT + "\f\n" + check, **named)
    assert collector.bodies == []


@pytest.mark.parametrize(
    ("variables", "exporter"),
    [
        ({}, "http"),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "grpc"),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf"}, "http"),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "pigeon"}, None),
        ({"OTEL_TRACES_EXPORTER": "none"}, None),
        ({"OTEL_TRACES_EXPORTER": "console"}, None),
        ({"OTEL_SDK_DISABLED": "True"}, None),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": " "}, None),
    ],
)
def test_the_variables_say_what_exports(variables: dict[str, str], exporter: str | None) -> None:
    found = _exporter_module({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://h:4318"} | variables)
    assert found == (exporter and f"opentelemetry.exporter.otlp.proto.{exporter}.trace_exporter")


def test_a_collector_that_never_answers_holds_no_process_up() -> None:
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http")
    silent = Collector(answers=False)
    try:  # run() has a timeout
        run(CONNECT, OTEL_EXPORTER_OTLP_ENDPOINT=silent.url, OTEL_EXPORTER_OTLP_TIMEOUT="3600000")
        assert silent.bodies
    finally:
        silent.close()


def test_a_forked_child_sends_its_own_spans(collector: Collector) -> None:
    fork = """
        import sys
        if os.fork() == 0:
            vcl.connect(plain.getsockname(), timeout=20).close()
            sys.exit()
        os.wait()
    """
    run(CONNECT + "\f" + fork, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url)
    assert len(collector.bodies) == 2
