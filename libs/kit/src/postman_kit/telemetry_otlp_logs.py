# SPDX-License-Identifier: Apache-2.0
"""Lines of the log as OTLP records: an event of structlog keeps its fields as attributes, and all know their trace."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Mapping
from typing import Any, Final

from opentelemetry import context
from opentelemetry._logs import LoggerProvider, LogRecord, SeverityNumber

from postman_kit.telemetry_logs import is_about_exporting

_SEVERITIES: Final = (
    (logging.CRITICAL, SeverityNumber.FATAL, "FATAL"),
    (logging.ERROR, SeverityNumber.ERROR, "ERROR"),
    (logging.WARNING, SeverityNumber.WARN, "WARN"),
    (logging.INFO, SeverityNumber.INFO, "INFO"),
    (logging.NOTSET, SeverityNumber.DEBUG, "DEBUG"),
)
_IN_THE_RECORD: Final = frozenset({"event", "level", "logger", "timestamp", "exception"})
"""What structlog adds and the record of OTLP says elsewhere."""


class OtlpLogHandler(logging.Handler):
    """Hands records to the SDK, which queues them."""

    def __init__(self, provider: LoggerProvider) -> None:
        super().__init__()
        self._provider = provider

    def emit(self, record: logging.LogRecord) -> None:
        """The base class's name. What exporters say themselves is left out: it would go round in a circle."""
        if is_about_exporting(record.name):
            return
        try:
            self._provider.get_logger(record.name).emit(_translate(record))
        except Exception:
            self.handleError(record)


def _translate(record: logging.LogRecord) -> LogRecord:
    number, text = next((number, text) for level, number, text in _SEVERITIES if record.levelno >= level)
    event: Mapping[str, Any] = record.msg if isinstance(record.msg, dict) else {"event": record.getMessage()}
    attributes: dict[str, str | bool | int | float] = {
        name: value if isinstance(value, (str, bool, int, float)) else str(value)
        for name, value in event.items()
        if name not in _IN_THE_RECORD and value is not None
    }
    return LogRecord(
        timestamp=int(record.created * 1e9),
        context=context.get_current(),
        severity_number=number,
        severity_text=text,
        body=str(event.get("event", "")),
        attributes={**attributes, **_exception(record, event)},
    )


def _exception(record: logging.LogRecord, event: Mapping[str, Any]) -> dict[str, str]:
    if "exception" in event:  # structlog has formatted it already
        return {"exception.stacktrace": str(event["exception"])}
    if record.exc_info and record.exc_info[0] is not None:
        kind, error, _ = record.exc_info
        return {
            "exception.type": kind.__qualname__,
            "exception.message": str(error),
            "exception.stacktrace": "".join(traceback.format_exception(*record.exc_info)),
        }
    return {}
