# SPDX-License-Identifier: Apache-2.0
"""Spans of the agent (`vcl.resolve`, ...). A library only uses OpenTelemetry's API: where spans go is the application's
choice. Nothing is imported, and nothing costs, unless the application or the standard variables switched it on."""

from __future__ import annotations

import functools
import os
import sys
from contextlib import AbstractContextManager, nullcontext
from typing import Any

_VARIABLES = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_TRACES_EXPORTER")


def span(name: str, **attributes: str | int) -> AbstractContextManager[Any]:
    """A span around a block, or nothing at all."""
    tracer = _tracer() if _wanted() else None
    if tracer is None:
        return nullcontext()
    context: AbstractContextManager[Any] = tracer.start_as_current_span(
        name, attributes={f"vcl.{key}": value for key, value in attributes.items()}
    )
    return context


def inject(headers: dict[str, str]) -> dict[str, str]:
    """Adds the W3C `traceparent` of the current span, if there is one."""
    if _wanted() and _tracer() is not None:
        from opentelemetry import propagate

        propagate.inject(headers)
    return headers


def _wanted() -> bool:
    return "opentelemetry.trace" in sys.modules or any(os.environ.get(name) for name in _VARIABLES)


@functools.cache
def _tracer() -> Any:
    try:
        from opentelemetry import trace
    except ImportError:
        return None
    return trace.get_tracer("vcl")
