# SPDX-License-Identifier: Apache-2.0
"""Traces through NATS: a span for each message that belongs to a trace, whose W3C `traceparent` the message carries.

A message that belongs to none (a heartbeat) gets no span at either end: traces tell of what somebody asked for or what
went wrong, and the rest is counted. Without an SDK a context only passes through.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from opentelemetry import context as otel
from opentelemetry import trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

TRACE_PARENT: Final = "traceparent"
_ID: Final = re.compile(r"(?<=\.)\d+(?=\.|$)")

_w3c = TraceContextTextMapPropagator()
_tracer = trace.get_tracer(__name__)


def trace_parent() -> str | None:
    """The W3C `traceparent` of the current span, or None if there is none."""
    headers: dict[str, str] = {}
    _w3c.inject(headers)
    return headers.get(TRACE_PARENT)


@contextmanager
def publishing(
    subject: str, size_bytes: int, *, parent: str | None = None, message_id: str = ""
) -> Iterator[dict[str, str]]:
    """A span around a publish, which gets the headers to send.

    It belongs to the trace of `parent` (a `traceparent` that was kept), else to the current one.
    """
    context = _w3c.extract({TRACE_PARENT: parent}, otel.Context()) if parent else otel.get_current()
    headers: dict[str, str] = {}
    if not trace.get_current_span(context).get_span_context().is_valid:
        yield headers
        return
    template = _ID.sub("*", subject)
    attributes = _attributes("publish", "send", subject, template, size_bytes, message_id)
    with _tracer.start_as_current_span(
        f"publish {template}", context, kind=trace.SpanKind.PRODUCER, attributes=attributes
    ):
        _w3c.inject(headers)
        yield headers


@contextmanager
def processing(subject: str, pattern: str, size_bytes: int, headers: Mapping[str, str] | None) -> Iterator[None]:
    """A span around what is done with a message, in the trace of its headers.

    The context of whoever subscribed is not inherited: its span is long over.
    """
    context = _w3c.extract(headers or {}, otel.Context())
    if not trace.get_current_span(context).get_span_context().is_valid:
        token = otel.attach(context)
        try:
            yield
        finally:
            otel.detach(token)
        return
    message_id = (headers or {}).get("Nats-Msg-Id", "")
    attributes = _attributes("process", "process", subject, pattern, size_bytes, message_id)
    with _tracer.start_as_current_span(
        f"process {pattern}", context, kind=trace.SpanKind.CONSUMER, attributes=attributes
    ):
        yield


def _attributes(
    name: str, kind: str, subject: str, template: str, size_bytes: int, message_id: str
) -> dict[str, str | int]:
    attributes: dict[str, str | int] = {
        "messaging.system": "nats",
        "messaging.operation.name": name,
        "messaging.operation.type": kind,
        "messaging.destination.name": subject,
        "messaging.message.body.size": size_bytes,
    }
    if template != subject:
        attributes["messaging.destination.template"] = template
    if message_id:
        attributes["messaging.message.id"] = message_id
    return attributes
