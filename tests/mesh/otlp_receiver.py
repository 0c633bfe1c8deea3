# SPDX-License-Identifier: Apache-2.0
"""A real OTLP receiver for tests: an HTTP server that keeps each request in a folder, and what the requests say.

As a program (`python otlp_receiver.py HOST PORT FOLDER`) it runs wherever the senders can reach it, such as in a host
of a lab; the test reads the folder. It answers as a collector does, and 400 to what is no OTLP.
"""

from __future__ import annotations

import gzip
import itertools
import sys
import threading
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError, Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

REQUESTS: dict[str, type[Message]] = {
    "traces": ExportTraceServiceRequest,
    "metrics": ExportMetricsServiceRequest,
    "logs": ExportLogsServiceRequest,
}
_INFLATE = {"": bytes, "identity": bytes, "gzip": gzip.decompress, "deflate": zlib.decompress}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    folder: Path
    numbers: Iterator[int]

    def do_POST(self) -> None:  # the base class's name
        signal = self.path.removeprefix("/v1/")
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        status = 200
        try:
            body = _INFLATE[self.headers.get("Content-Encoding", "")](body)
            REQUESTS[signal]().ParseFromString(body)
        except (KeyError, DecodeError, OSError, zlib.error):
            status = 400
        else:
            unfinished = self.folder / f".{next(self.numbers):06}"
            unfinished.write_bytes(body)
            unfinished.rename(self.folder / f"{unfinished.name[1:]}.{signal}")
        self.send_response(status)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Quiet."""


def make_server(host: str, port: int, folder: Path) -> ThreadingHTTPServer:
    """A server that listens; the caller serves and closes it."""
    folder.mkdir(parents=True, exist_ok=True)
    bound = type("Bound", (_Handler,), {"folder": folder, "numbers": itertools.count()})
    return ThreadingHTTPServer((host, port), bound)


@dataclass(frozen=True)
class Span:
    """One span, ids in hexadecimal as in a `traceparent`."""

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    kind: int
    service: str
    attributes: dict[str, Any]
    resource: dict[str, Any]
    status: int
    begin_ns: int
    end_ns: int
    events: tuple[str, ...] = ()


@dataclass(frozen=True)
class Metric:
    """One metric of one service: what it is, and the sets of attributes and last values of its points."""

    name: str
    unit: str
    kind: str
    monotonic: bool
    service: str
    points: tuple[tuple[dict[str, Any], Any], ...]


@dataclass(frozen=True)
class LogLine:
    """One record of a log."""

    body: str
    severity: str
    trace_id: str
    span_id: str
    service: str
    attributes: dict[str, Any]


@dataclass
class Received:
    """What a receiver has kept in its folder so far."""

    folder: Path
    _decoded: dict[Path, Any] = field(default_factory=dict, repr=False)

    def bodies(self) -> Iterator[bytes]:
        """Every request as it came."""
        for path in sorted(self.folder.glob("*.*")):
            yield path.read_bytes()

    def spans(self) -> list[Span]:
        """All spans, in the order in which they came."""
        return [
            _span(span, _attributes(of.resource.attributes))
            for request in self._requests("traces")
            for of in request.resource_spans
            for scope in of.scope_spans
            for span in scope.spans
        ]

    def metrics(self) -> list[Metric]:
        """All exports of all metrics, in the order in which they came."""
        return [
            _metric(metric, _attributes(of.resource.attributes))
            for request in self._requests("metrics")
            for of in request.resource_metrics
            for scope in of.scope_metrics
            for metric in scope.metrics
        ]

    def logs(self) -> list[LogLine]:
        """All lines, in the order in which they came."""
        return [
            LogLine(
                record.body.string_value,
                record.severity_text,
                record.trace_id.hex(),
                record.span_id.hex(),
                str(_attributes(of.resource.attributes).get("service.name", "")),
                _attributes(record.attributes),
            )
            for request in self._requests("logs")
            for of in request.resource_logs
            for scope in of.scope_logs
            for record in scope.log_records
        ]

    def _requests(self, signal: str) -> Iterator[Any]:
        for path in sorted(self.folder.glob(f"*.{signal}")):
            if path not in self._decoded:
                request = REQUESTS[signal]()
                request.ParseFromString(path.read_bytes())
                self._decoded[path] = request
            yield self._decoded[path]


class Receiver(Received):
    """One that runs in this process until it is left."""

    def __init__(self, folder: Path, host: str = "127.0.0.1", port: int = 0) -> None:
        super().__init__(folder)
        self._server = make_server(host, port, folder)
        self._thread = threading.Thread(target=self._server.serve_forever, name="otlp-receiver")
        self.url = f"http://{host}:{self._server.server_port}"

    def __enter__(self) -> Receiver:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def chain(spans: Sequence[Span], last: Span) -> list[Span]:
    """The span, its parent, the parent's parent and so on, as far as they were received."""
    known = {span.span_id: span for span in spans if span.trace_id == last.trace_id}
    found = [last]
    while found[-1].parent_id in known:
        found.append(known[found[-1].parent_id])
    return found


def _span(span: Any, resource: dict[str, Any]) -> Span:
    return Span(
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        span.name,
        span.kind,
        str(resource.get("service.name", "")),
        _attributes(span.attributes),
        resource,
        span.status.code,
        span.start_time_unix_nano,
        span.end_time_unix_nano,
        tuple(event.name for event in span.events),
    )


def _metric(metric: Any, resource: dict[str, Any]) -> Metric:
    kind = metric.WhichOneof("data")
    data = getattr(metric, kind)
    points = tuple((_attributes(point.attributes), _point_value(point)) for point in data.data_points)
    monotonic = bool(getattr(data, "is_monotonic", False))
    return Metric(metric.name, metric.unit, kind, monotonic, str(resource.get("service.name", "")), points)


def _point_value(point: Any) -> Any:
    if hasattr(point, "bucket_counts"):
        return point.count
    return getattr(point, point.WhichOneof("value"))


def _attributes(attributes: Any) -> dict[str, Any]:
    return {item.key: _value(item.value) for item in attributes}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(item) for item in value.array_value.values]
    return getattr(value, kind) if kind else None


if __name__ == "__main__":
    make_server(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])).serve_forever()
