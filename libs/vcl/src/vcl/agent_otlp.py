# SPDX-License-Identifier: Apache-2.0
"""OpenTelemetry's SDK for an application that has none: a program that knows nothing of traces gets them by the
standard OTEL_* variables alone.

It starts with the library's first span, so an application that brings its own provider sets it before its first
connect(). What is buffered at the end of the process is sent for at most FLUSH_S.
"""

from __future__ import annotations

import importlib
import logging
import os
import threading
from collections.abc import Callable, Mapping
from typing import Any, Final

from vcl import exits

log = logging.getLogger("vcl.agent")

FLUSH_S: Final = 2.0
SERVICE_NAME: Final = "vcl"
"""`service.name` unless OTEL_SERVICE_NAME or OTEL_RESOURCE_ATTRIBUTES says another."""

_EXPORTERS: Final = {
    "http/protobuf": "opentelemetry.exporter.otlp.proto.http.trace_exporter",
    "grpc": "opentelemetry.exporter.otlp.proto.grpc.trace_exporter",
}


def start_if_asked(environment: Mapping[str, str]) -> bool:
    """Starts the SDK if the variables name an endpoint for traces and nobody has set a provider; whether it did."""
    module = _exporter_module(environment)
    if module is None:
        return False
    from opentelemetry import trace

    if not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        return False  # the application's own
    try:
        _start(importlib.import_module(module).OTLPSpanExporter())
    except Exception as error:  # no SDK installed, or a variable that it refuses: an application runs without traces
        log.warning("no traces are exported: %s. Install %s or correct the OTEL_* variables", error, module)
        return False
    return True


def _exporter_module(environment: Mapping[str, str]) -> str | None:
    def value(name: str) -> str:
        return environment.get(name, "").strip()

    endpoint = value("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or value("OTEL_EXPORTER_OTLP_ENDPOINT")
    exporter = value("OTEL_TRACES_EXPORTER").lower() or "otlp"
    if not endpoint or exporter != "otlp" or value("OTEL_SDK_DISABLED").lower() == "true":
        return None
    protocol = value("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or value("OTEL_EXPORTER_OTLP_PROTOCOL") or "http/protobuf"
    if protocol not in _EXPORTERS:
        log.warning("no traces are exported: protocol %r is none of %s", protocol, ", ".join(_EXPORTERS))
    return _EXPORTERS.get(protocol)


def _start(exporter: Any) -> None:
    from opentelemetry import trace
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    resource = Resource.create({"service.name": SERVICE_NAME}).merge(OTELResourceDetector().detect())
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    _Flusher(provider.shutdown)


class _Flusher:
    """Ends the provider at exit. On a thread of its own, so that a dead collector holds nothing up, and one that waits
    from the beginning, because an interpreter that ends starts no threads."""

    def __init__(self, shutdown: Callable[[], object]) -> None:
        self._shutdown = shutdown
        self._begin()
        os.register_at_fork(after_in_child=self._begin)
        exits.at_end(self._end)

    def _begin(self) -> None:
        self._asked, self._done = threading.Event(), threading.Event()
        threading.Thread(target=self._run, name="vcl-otlp-flush", daemon=True).start()

    def _run(self) -> None:
        self._asked.wait()
        try:
            self._shutdown()
        finally:
            self._done.set()

    def _end(self) -> None:
        self._asked.set()
        self._done.wait(FLUSH_S)
