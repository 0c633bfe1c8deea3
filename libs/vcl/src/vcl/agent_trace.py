# SPDX-License-Identifier: Apache-2.0
"""Spans of the library (`vcl.connect`, `vcl.resolve`, ...). Nothing is imported, and nothing costs, unless the
application uses OpenTelemetry or the standard variables switch it on; in the second case agent_otlp.py starts the SDK,
if nobody has."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

_VARIABLES = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_TRACES_EXPORTER")

Attributes = Mapping[str, str | int]


def span(name: str, attributes: Attributes) -> AbstractContextManager[Any]:
    """A span around a block, or nothing at all (then the block gets None)."""
    found = tracer()
    if found is None:
        return nullcontext()
    context: AbstractContextManager[Any] = found.start_as_current_span(name, attributes=dict(attributes))
    return context


def inject(headers: dict[str, str]) -> dict[str, str]:
    """Adds the W3C `traceparent` of the current span, if there is one."""
    if tracer() is not None:
        from opentelemetry import propagate

        propagate.inject(headers)
    return headers


def tracer() -> Any:
    """OpenTelemetry's tracer for this library, or None: not wanted, or not installed."""
    return _tracer() if is_wanted() else None


def is_wanted() -> bool:
    """Whether anybody could see a span."""
    return "opentelemetry.trace" in sys.modules or any(os.environ.get(name) for name in _VARIABLES)


@functools.cache
def _tracer() -> Any:
    try:
        from opentelemetry import trace
    except ImportError:
        return None
    from vcl import agent_otlp

    agent_otlp.start_if_asked(os.environ)
    return trace.get_tracer("vcl")
