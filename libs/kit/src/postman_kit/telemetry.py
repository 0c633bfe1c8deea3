# SPDX-License-Identifier: Apache-2.0
"""Logs to stderr always; OpenTelemetry traces, metrics and logs when its standard variables name an endpoint.

Without `OTEL_EXPORTER_OTLP_ENDPOINT` (or `_TRACES_`, `_METRICS_`, `_LOGS_ENDPOINT`), or with `OTEL_SDK_DISABLED=true`,
the SDK is not even imported and the API's spans are no-ops. All else (headers, sampling) is read by the SDK itself.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Final

import structlog

from postman_kit.db import is_reported

if TYPE_CHECKING:
    from fastapi import FastAPI
    from opentelemetry import metrics

_ENDPOINT: Final = "OTEL_EXPORTER_OTLP_ENDPOINT"
_SIGNALS: Final = ("TRACES", "METRICS", "LOGS")
FLUSH_S_MAX: Final = 2.0
_LEVEL_VARIABLE: Final = "POSTMAN_LOG_LEVEL"

_log = structlog.get_logger(__name__)


class Telemetry:
    """What `setup` started; `shutdown` sends what is still buffered."""

    def __init__(self, shutdowns: list[Callable[[], object]]) -> None:
        self._shutdowns = shutdowns

    @property
    def is_on(self) -> bool:
        """Whether anything is exported."""
        return bool(self._shutdowns)

    def instrument(self, app: FastAPI) -> None:
        """Make a span for each request of this application, if traces are exported."""
        if self.is_on:
            from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor

            FastAPIInstrumentor.instrument_app(app, excluded_urls="healthz,readyz")

    def shutdown(self) -> None:
        """Flush and stop, all at once and in bounded time: a dead collector must not hold up our end."""
        flushes = [threading.Thread(target=stop, name="telemetry-flush", daemon=True) for stop in self._shutdowns]
        deadline = time.monotonic() + FLUSH_S_MAX
        for flush in flushes:
            flush.start()
        for flush in flushes:
            flush.join(max(0.0, deadline - time.monotonic()))


def setup(service_name: str) -> Telemetry:
    """Set up logs and, where the environment asks for them, the three signals."""
    _setup_logs()
    if os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return Telemetry([])
    wanted = [
        signal
        for signal in _SIGNALS
        if os.environ.get(_ENDPOINT) or os.environ.get(f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT")
    ]
    if not wanted:
        return Telemetry([])
    os.environ.setdefault("OTEL_SERVICE_NAME", service_name)
    starts = {"TRACES": _start_traces, "METRICS": _start_metrics, "LOGS": _start_logs}
    return Telemetry([starts[signal]() for signal in wanted])


Readings = Iterable[tuple[int | float, Mapping[str, str | int]]]
"""What a metric is now: values, each with the attributes that tell it from the others (none: `{}`)."""


def export_counters(name: str, counters: Counter[str]) -> None:
    """Have these counters read whenever metrics are exported: one metric, one attribute `event` per count."""
    export_total(name, "{event}", "", lambda: [(count, {"event": event}) for event, count in list(counters.items())])


def export_total(name: str, unit: str, description: str, read: Callable[[], Readings]) -> None:
    """Have `read` asked whenever metrics are exported for counts that only grow, such as messages relayed.

    `name` and `unit` after OpenTelemetry's conventions: `postman.helper.datagrams`, `{datagram}`; `s`, `By`, `1`.
    `read` is called in another thread; it must be quick and may raise (one line of the log, no value).
    """
    from opentelemetry import metrics

    metrics.get_meter("postman").create_observable_counter(name, [_observer(name, read)], unit, description)


def export_gauge(name: str, unit: str, description: str, read: Callable[[], Readings]) -> None:
    """The same for values that go up and down: `export_gauge("postman.x.load", "1", "Busy share", lambda: [(x, {})])`."""
    from opentelemetry import metrics

    metrics.get_meter("postman").create_observable_gauge(name, [_observer(name, read)], unit, description)


def _observer(
    name: str, read: Callable[[], Readings]
) -> Callable[[metrics.CallbackOptions], list[metrics.Observation]]:
    """The same in OpenTelemetry's words. What `read` raises is said at 1, 2, 4, ... failures: no flood."""
    from opentelemetry.metrics import Observation

    failures = 0

    def observe(_: metrics.CallbackOptions) -> list[metrics.Observation]:
        nonlocal failures
        try:
            return [Observation(value, dict(attributes)) for value, attributes in read()]
        except Exception:
            failures += 1
            if is_reported(failures):
                _log.exception("a metric cannot be read", metric=name, failures=failures)
            return []

    return observe


def _setup_logs() -> None:
    level = os.environ.get(_LEVEL_VARIABLE, "info").upper()
    if level not in logging.getLevelNamesMapping():
        level = "INFO"
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    shown: structlog.typing.Processor
    shown = structlog.dev.ConsoleRenderer() if sys.stderr.isatty() else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.processors.format_exc_info,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    out = logging.StreamHandler(sys.stderr)
    out.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, shown],
            foreign_pre_chain=[*shared, structlog.processors.format_exc_info],
        )
    )
    logging.basicConfig(level=level, handlers=[out], force=True)
    for noisy in ("alembic", "httpx", "httpcore", "nats", "uvicorn"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def _start_traces() -> Callable[[], object]:
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(shutdown_on_exit=False)  # ours to do, see Telemetry.shutdown
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    return provider.shutdown


def _start_metrics() -> Callable[[], object]:
    from opentelemetry import metrics
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

    provider = MeterProvider([PeriodicExportingMetricReader(OTLPMetricExporter())], shutdown_on_exit=False)
    metrics.set_meter_provider(provider)
    return provider.shutdown


def _start_logs() -> Callable[[], object]:
    from opentelemetry._logs import set_logger_provider
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
    from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
    from opentelemetry.sdk._logs.export import BatchLogRecordProcessor

    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter()))
    set_logger_provider(provider)
    logging.getLogger().addHandler(LoggingHandler(logger_provider=provider))
    return provider.shutdown
