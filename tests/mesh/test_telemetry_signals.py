# SPDX-License-Identifier: Apache-2.0
"""What the kit's telemetry exports: messages, the outbox, statements and logs in one trace; nothing that is secret; and
what a dead collector costs. Each test runs a program of its own, for a process has one telemetry."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from otlp_receiver import Receiver, Span, chain

from postman_kit.embedded import EmbeddedNats

PRODUCER, CONSUMER, CLIENT = 4, 5, 3  # SpanKind of OTLP
UNSET, ERROR = 0, 2  # Status of OTLP
_OUTBOX = """
import asyncio, os, uuid
from datetime import UTC, datetime
import structlog
from opentelemetry import trace
from sqlalchemy import MetaData, insert, schema
from sqlalchemy.exc import IntegrityError
from postman_contracts.messages import Message
from postman_kit import telemetry
from postman_kit.bus import Bus, Stream
from postman_kit.db import Database
from postman_kit.outbox import OutboxPublisher, outbox_add, outbox_table

exported = telemetry.setup("parts", "1.2.3")
log = structlog.get_logger("parts")
tracer = trace.get_tracer("test")
metadata = MetaData()
table = outbox_table(metadata, "parts")

class Note(Message):
    text: str

async def main():
    database = Database(os.environ["TEST_DATABASE_URL"], name="parts", connections_max=4)
    bus = Bus(os.environ["TEST_NATS_URL"], name="parts")
    subject = "parts.note.17"
    stream = Stream("PARTS", ("parts.note.*",))
    publisher = OutboxPublisher(database, table, bus)
    telemetry.export_bus(bus)
    telemetry.export_outbox(publisher)
    heard = asyncio.Queue()

    async def on_note(subject, note):
        log.info("heard", text=note.text)
        await heard.put(note)
        if note.text == "wrong":
            raise ValueError("wrong")

    await bus.start()
    await bus.ensure_stream(stream)
    await bus.subscribe("parts.beat", Note, on_note)
    with tracer.start_as_current_span("the subscriber's own"):  # long over when messages come
        await bus.subscribe("parts.call.*", Note, on_note)
        await bus.subscribe_durable(stream, "parts.note.*", Note, on_note, durable="parts")
    assert await bus.wait_connected(20)
    async with database.transaction() as connection:
        await connection.execute(schema.CreateSchema("parts"))
        await connection.run_sync(metadata.create_all)
    event_id, now = uuid.uuid4(), datetime.now(UTC)
    with tracer.start_as_current_span("request"):
        async with database.transaction() as connection:
            await outbox_add(connection, table, event_id=event_id, subject=subject, message=Note(text="x"), now=now)
        log.warning("saved", number=3, secret_free=True)
        try:
            async with database.transaction() as connection:
                await connection.execute(insert(table).values(
                    event_id=event_id, subject="value-that-stays-here", payload=b"", created_at=now))
        except IntegrityError:
            pass
        await bus.publish("parts.call.9", Note(text="wrong"))
    assert await publisher.publish_batch() == 1
    assert publisher.lag_s < 60
    await bus.publish("parts.beat", Note(text="beat"))
    async with asyncio.timeout(20):
        for _ in range(3):
            await heard.get()
    await bus.stop()
    await database.close()

asyncio.run(main())
exported.shutdown()
"""
_DEAD = """
import gc, logging
import structlog
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from postman_kit import telemetry

exported = telemetry.setup("lonely")
tracer, log = trace.get_tracer("test"), structlog.get_logger("test")
for number in range(20_000):
    with tracer.start_as_current_span("work"):
        log.debug("work", number=number)
kept = sum(isinstance(thing, ReadableSpan) for thing in gc.get_objects())
assert kept < 2000, kept
exported.shutdown()
"""


def run(program: str, **variables: str) -> str:
    """Runs a program with these variables and no other of OpenTelemetry's; what it wrote to standard error."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")} | variables
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False, timeout=90
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def named(spans: list[Span], name: str) -> Span:
    (span,) = [span for span in spans if span.name == name]
    return span


def test_messages_statements_and_logs_belong_to_the_trace_that_caused_them(
    tmp_path: Path, otlp_variables: dict[str, str], database_url: str, nats_server: EmbeddedNats
) -> None:
    with Receiver(tmp_path) as received:
        variables = otlp_variables | {"OTEL_EXPORTER_OTLP_ENDPOINT": received.url}
        errors = run(_OUTBOX, TEST_DATABASE_URL=database_url, TEST_NATS_URL=nats_server.url, **variables)
    spans = received.spans()
    request = named(spans, "request")

    durable = named(spans, "process parts.note.*")
    assert [span.name for span in chain(spans, durable)] == [durable.name, "publish parts.note.*", "request"]
    assert (durable.kind, chain(spans, durable)[1].kind) == (CONSUMER, PRODUCER)
    assert durable.attributes["messaging.system"] == "nats"
    assert durable.attributes["messaging.destination.name"] == "parts.note.17"
    assert durable.attributes["messaging.destination.template"] == "parts.note.*"
    assert durable.attributes["messaging.operation.type"] == "process"
    assert durable.attributes["messaging.message.id"]

    failed = named(spans, "process parts.call.*")
    assert [span.name for span in chain(spans, failed)] == [failed.name, "publish parts.call.*", "request"]
    assert (failed.status, durable.status) == (ERROR, UNSET)
    assert failed.events == ("exception",)
    assert not [span for span in spans if "beat" in span.name], "a message of no trace gets no span"

    first, second = [span for span in spans if span.name == "INSERT parts.outbox"]
    assert (first.parent_id, first.kind, first.status) == (request.span_id, CLIENT, UNSET)
    assert first.attributes["db.query.text"].startswith("INSERT INTO parts.outbox")
    assert (second.status, second.attributes["db.response.status_code"]) == (ERROR, "23505")
    assert b"value-that-stays-here" not in b"".join(received.bodies())
    assert request.resource["service.version"] == "1.2.3"
    check_logs(received, request, durable, errors)


def check_logs(received: Receiver, request: Span, durable: Span, errors: str) -> None:
    """Records keep their fields and know their spans; so do the lines on standard error."""
    saved = next(line for line in received.logs() if line.body == "saved")
    assert (saved.trace_id, saved.span_id, saved.severity) == (request.trace_id, request.span_id, "WARN")
    assert saved.attributes == {"number": 3, "secret_free": True}
    shown = next(line for line in map(json.loads, errors.splitlines()) if line["event"] == "saved")
    assert (shown["trace_id"], shown["span_id"]) == (request.trace_id, request.span_id)
    assert durable.span_id in {line.span_id for line in received.logs() if line.body == "heard"}
    not_handled = next(line for line in received.logs() if line.body == "message was not handled")
    assert "ValueError: wrong" in not_handled.attributes["exception.stacktrace"]
    assert not_handled.trace_id == request.trace_id


def test_the_parts_count(
    tmp_path: Path, otlp_variables: dict[str, str], database_url: str, nats_server: EmbeddedNats
) -> None:
    with Receiver(tmp_path) as received:
        variables = otlp_variables | {"OTEL_EXPORTER_OTLP_ENDPOINT": received.url}
        run(_OUTBOX, TEST_DATABASE_URL=database_url, TEST_NATS_URL=nats_server.url, **variables)
    last = {metric.name: metric for metric in received.metrics()}
    events: dict[str, Any] = {attributes["event"]: value for attributes, value in last["postman.bus.messages"].points}
    assert (events["published"], events["failed"]) == (3, 1)
    assert (last["postman.outbox.lag"].unit, last["postman.outbox.lag"].kind) == ("s", "gauge")
    assert last["postman.outbox.messages"].monotonic
    states = {attributes["db.client.connection.state"] for attributes, _ in last["db.client.connection.count"].points}
    assert states == {"used", "idle"}
    durations = last["db.client.operation.duration"]
    assert (durations.unit, durations.kind) == ("s", "histogram")
    assert any(attributes.get("error.type") for attributes, _ in durations.points)


def test_a_dead_collector_costs_neither_memory_nor_lines() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = taken.getsockname()
    lines = run(
        _DEAD,
        OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{address[1]}",
        OTEL_BSP_MAX_QUEUE_SIZE="500",
        OTEL_BSP_MAX_EXPORT_BATCH_SIZE="100",
        OTEL_BSP_SCHEDULE_DELAY="10",
        OTEL_METRIC_EXPORT_INTERVAL="100",
        NO_PROXY="*",
    ).splitlines()
    assert lines, "that nothing arrives must be told"
    assert len(lines) < 20, lines
    assert all(json.loads(line)["level"] in ("warning", "error") for line in lines)


def test_a_wrong_variable_is_told_and_the_service_works() -> None:
    program = "from postman_kit import telemetry; assert not telemetry.setup('x').is_on"
    (line,) = run(
        program, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:4317", OTEL_EXPORTER_OTLP_PROTOCOL="grpc"
    ).splitlines()
    assert "http/protobuf" in json.loads(line)["event"]
    (line,) = run(
        program,
        OTEL_EXPORTER_OTLP_METRICS_ENDPOINT="http://127.0.0.1:4318",
        OTEL_METRIC_EXPORT_INTERVAL="0",
    ).splitlines()
    assert "metrics are not exported" in json.loads(line)["event"]
