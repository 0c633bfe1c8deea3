# SPDX-License-Identifier: Apache-2.0
"""Spans and durations of database statements, and the state of connection pools, after the semantic conventions.

A statement is told by its text, which has placeholders; its parameters and what an error repeats of them stay here. A
statement that belongs to no trace (a poll) gets no span, only its duration counts. Nothing is hooked in, and nothing
costs, unless telemetry is on when the engine is made.
"""

from __future__ import annotations

import functools
import re
import sys
import time
import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from opentelemetry import metrics, trace
from opentelemetry.metrics import CallbackOptions, Observation
from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import ExceptionContext, ExecutionContext
from sqlalchemy.pool import QueuePool

_SYSTEM: Final = {"db.system.name": "postgresql"}
_TEXT_CHARS_MAX: Final = 2000
_WORD: Final = re.compile(r"\w+")
_TABLE: Final = re.compile(r"\b(?:FROM|INTO|UPDATE)\s+([\w.]+)", re.IGNORECASE)
_DURATIONS_S: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10)  # the convention's
_SPAN, _BEGIN = "_postman_span", "_postman_begin_s"

_tracer = trace.get_tracer(__name__)
_meter = metrics.get_meter(__name__)
_duration = _meter.create_histogram(
    "db.client.operation.duration",
    "s",
    "Duration of database client operations.",
    explicit_bucket_boundaries_advisory=_DURATIONS_S,
)
_pools: weakref.WeakKeyDictionary[Engine, str] = weakref.WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class _Operation:
    """What a statement does to which table: `SELECT registry.helpers`."""

    name: str
    table: str

    @property
    def attributes(self) -> dict[str, str]:
        found = _SYSTEM | {"db.operation.name": self.name}
        return found | {"db.collection.name": self.table} if self.table else found


def observe(engine: Engine, pool_name: str) -> None:
    """Have this engine's statements and pool seen, if telemetry is on."""
    if "opentelemetry.sdk" not in sys.modules:
        return
    _pools[engine] = pool_name
    event.listen(engine, "before_cursor_execute", _before)
    event.listen(engine, "after_cursor_execute", _after)
    event.listen(engine, "handle_error", _failed)


def _before(
    connection: Connection, _cursor: Any, statement: str, _values: Any, execution: ExecutionContext | None, _many: bool
) -> None:
    if execution is None:
        return
    setattr(execution, _BEGIN, time.perf_counter())
    if not trace.get_current_span().is_recording():
        return
    operation, url = _operation(statement), connection.engine.url
    attributes: dict[str, str | int] = {
        **operation.attributes,
        "db.query.text": statement[:_TEXT_CHARS_MAX],
        "db.namespace": url.database or "",
        "server.address": url.host or "",
        "server.port": url.port or 5432,
    }
    span = _tracer.start_span(
        f"{operation.name} {operation.table}".rstrip(), kind=trace.SpanKind.CLIENT, attributes=attributes
    )
    setattr(execution, _SPAN, span)


def _after(
    _connection: Connection, _cursor: Any, statement: str, _values: Any, execution: ExecutionContext | None, _many: bool
) -> None:
    _end(execution, statement, None)


def _failed(failure: ExceptionContext) -> None:
    _end(failure.execution_context, failure.statement or "", failure.original_exception)


def _end(execution: ExecutionContext | None, statement: str, error: BaseException | None) -> None:
    """The error's own text may repeat values (`Key (name)=(...) already exists`), its kind and state do not."""
    begin_s = getattr(execution, _BEGIN, None)
    if begin_s is None:
        return
    outcome = {"error.type": type(error).__qualname__} if error else {}
    _duration.record(time.perf_counter() - begin_s, _operation(statement).attributes | outcome)
    setattr(execution, _BEGIN, None)
    span: trace.Span | None = getattr(execution, _SPAN, None)
    if span is None:
        return
    if error is not None:
        span.set_attributes(outcome)
        state = getattr(error, "sqlstate", None)
        if state:
            span.set_attribute("db.response.status_code", str(state))
        span.set_status(trace.StatusCode.ERROR)
    span.end()


@functools.lru_cache(maxsize=512)  # a service has some dozens of statements
def _operation(statement: str) -> _Operation:
    word, table = _WORD.search(statement), _TABLE.search(statement)
    return _Operation(word[0].upper() if word else "", table[1] if table else "")


def _connections(_: CallbackOptions) -> Iterable[Observation]:
    for name, pool in _sized_pools():
        for state, count in (("used", pool.checkedout()), ("idle", pool.checkedin())):
            yield Observation(
                count,
                {**_SYSTEM, "db.client.connection.pool.name": name, "db.client.connection.state": state},
            )


def _connections_max(_: CallbackOptions) -> Iterable[Observation]:
    for name, pool in _sized_pools():
        yield Observation(pool.size(), {**_SYSTEM, "db.client.connection.pool.name": name})


def _sized_pools() -> list[tuple[str, QueuePool]]:
    return [(name, engine.pool) for engine, name in list(_pools.items()) if isinstance(engine.pool, QueuePool)]


_meter.create_observable_up_down_counter(
    "db.client.connection.count", [_connections], "{connection}", "Connections of a pool by state."
)
_meter.create_observable_up_down_counter(
    "db.client.connection.max", [_connections_max], "{connection}", "The most connections that a pool may open."
)
