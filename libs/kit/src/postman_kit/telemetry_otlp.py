# SPDX-License-Identifier: Apache-2.0
"""Export over OTLP: imported only when something is to be exported, for it loads OpenTelemetry's SDK.

Queues are bounded and emptied by threads of the SDK, so a dead collector costs what it does not get, and nothing else.
Sampling, batches, intervals, headers and so on are the SDK's own variables.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import platform
import socket
from collections.abc import Callable, Sequence
from typing import Final
from uuid import uuid4

import structlog
from opentelemetry import metrics, trace
from opentelemetry._logs import set_logger_provider
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import ExplicitBucketHistogramAggregation, View
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.util.types import AttributeValue

from postman_kit.telemetry_choice import Signal
from postman_kit.telemetry_otlp_logs import OtlpLogHandler

_NAMESPACE: Final = "postman"
_REQUEST_S: Final = (
    *(0.0005, 0.001, 0.0025),  # the convention's buckets begin at 5 ms; most of our answers take less than one
    *(0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10),
)

Stop = Callable[[], object]
"""Sends what is buffered and ends."""

_log = structlog.get_logger(__name__)


def start(signals: Sequence[Signal], resource: Resource) -> list[Stop]:
    """Begin to export these signals. One that its variables make impossible is left out, with one line of the log."""
    # HTTP and database names as they are since the conventions became stable; the instrumentations ask this variable.
    os.environ.setdefault("OTEL_SEMCONV_STABILITY_OPT_IN", "http,database")
    starts = {"traces": _start_traces, "metrics": _start_metrics, "logs": _start_logs}
    stops = []
    for signal in signals:
        try:
            stops.append(starts[signal](resource))
        except Exception as error:  # a variable that the SDK refuses must not keep the service from its work
            _log.warning(f"{signal} are not exported. Correct the OTEL_* variables", error=repr(error))
    if stops and importlib.util.find_spec("httpx"):
        from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor

        HTTPXClientInstrumentor().instrument()
    return stops


def describe(service_name: str, service_version: str, instance_id: str) -> Resource:
    """Who exports, after the conventions; OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES have the last word."""
    ours: dict[str, AttributeValue] = {
        "service.namespace": _NAMESPACE,
        "service.name": service_name,
        "service.version": service_version,
        "service.instance.id": instance_id or str(uuid4()),
        "host.name": socket.gethostname(),
        "os.type": platform.system().lower(),
        "process.pid": os.getpid(),
        "process.runtime.name": platform.python_implementation().lower(),
        "process.runtime.version": platform.python_version(),
    }
    return Resource.create({name: value for name, value in ours.items() if value}).merge(
        OTELResourceDetector().detect()
    )


def _start_traces(resource: Resource) -> Stop:
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)  # ours to do, see Telemetry.shutdown
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    return provider.shutdown


def _start_metrics(resource: Resource) -> Stop:
    provider = MeterProvider(
        [PeriodicExportingMetricReader(OTLPMetricExporter())],
        resource=resource,
        shutdown_on_exit=False,
        views=[
            View(
                instrument_name="http.*.request.duration",
                aggregation=ExplicitBucketHistogramAggregation(boundaries=_REQUEST_S),
            )
        ],
    )
    metrics.set_meter_provider(provider)
    return provider.shutdown


def _start_logs(resource: Resource) -> Stop:
    provider = LoggerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter()))
    set_logger_provider(provider)
    logging.getLogger().addHandler(OtlpLogHandler(provider))
    return provider.shutdown
