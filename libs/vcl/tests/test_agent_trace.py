# SPDX-License-Identifier: Apache-2.0
"""Spans of the agent: none unless OpenTelemetry is switched on, and then with the trace passed on to the registry."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

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


def run(script: str) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    subprocess.run(
        [sys.executable, "-c", "\n".join(map(textwrap.dedent, script.split("\f")))],
        env=environment,
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
