# SPDX-License-Identifier: Apache-2.0
"""Logs to stderr always; OpenTelemetry traces, metrics and logs when its standard variables name an endpoint.

Without `OTEL_EXPORTER_OTLP_ENDPOINT` (or `_TRACES_`, `_METRICS_`, `_LOGS_ENDPOINT`), or with `OTEL_SDK_DISABLED=true`,
the SDK is not even imported and the API's spans are no-ops. All else (headers, sampling) is read by the SDK itself.
"""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Final

import structlog

from postman_kit.failures import is_reported
from postman_kit.telemetry_choice import choose
from postman_kit.telemetry_logs import setup_logs

if TYPE_CHECKING:
    from fastapi import FastAPI
    from opentelemetry import metrics

    from postman_kit.bus import Bus
    from postman_kit.outbox import OutboxPublisher

FLUSH_S_MAX: Final = 2.0

_log = structlog.get_logger(__name__)


class Telemetry:
    """What `setup` started; `shutdown` sends what is still buffered."""

    def __init__(self, stops: list[Callable[[], object]]) -> None:
        self._stops = stops

    @property
    def is_on(self) -> bool:
        """Whether anything is exported."""
        return bool(self._stops)

    def instrument(self, app: FastAPI) -> None:
        """Make a span and count the time of each request of this application, if anything is exported."""
        if self.is_on:
            from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor

            # Probes are no requests of anybody, and a span for each part of an answer tells nothing more.
            FastAPIInstrumentor.instrument_app(app, excluded_urls="healthz,readyz", exclude_spans=["receive", "send"])

    def shutdown(self) -> None:
        """Flush and stop, all at once and in bounded time: a dead collector must not hold up our end."""
        flushes = [threading.Thread(target=stop, name="telemetry-flush", daemon=True) for stop in self._stops]
        deadline = time.monotonic() + FLUSH_S_MAX
        for flush in flushes:
            flush.start()
        for flush in flushes:
            flush.join(max(0.0, deadline - time.monotonic()))


def setup(service_name: str, service_version: str = "", *, instance_id: str = "") -> Telemetry:
    """Set up logs and, where the environment asks for them, the three signals. Call it before anything is built.

    `instance_id` tells this process from others of the same service; the default is a random one.
    """
    setup_logs()
    choice = choose(os.environ)
    for complaint in choice.complaints:
        _log.warning(complaint)
    if not choice.signals:
        return Telemetry([])
    from postman_kit import telemetry_otlp

    resource = telemetry_otlp.describe(service_name, service_version, instance_id)
    return Telemetry(telemetry_otlp.start(choice.signals, resource))


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
    """The same for what goes up and down: `export_gauge("postman.x.load", "1", "Busy share.", lambda: [(x, {})])`."""
    from opentelemetry import metrics

    metrics.get_meter("postman").create_observable_gauge(name, [_observer(name, read)], unit, description)


def export_bus(bus: Bus) -> None:
    """What every service tells of its connection to NATS."""
    export_counters("postman.bus.messages", bus.counters)
    export_gauge(
        "postman.bus.connections", "{connection}", "1 while connected to NATS.", lambda: [(int(bus.is_connected), {})]
    )


def export_outbox(publisher: OutboxPublisher) -> None:
    """What every service tells of its outbox."""
    export_counters("postman.outbox.messages", publisher.counters)
    export_gauge("postman.outbox.lag", "s", "Time since the outbox was empty.", lambda: [(publisher.lag_s, {})])


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
