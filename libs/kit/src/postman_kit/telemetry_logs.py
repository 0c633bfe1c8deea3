# SPDX-License-Identifier: Apache-2.0
"""Logs as every process writes them: to stderr, for people on a terminal and else as JSON lines, with trace ids."""

from __future__ import annotations

import logging
import os
import sys
import time
from typing import Final

import structlog
from opentelemetry import trace

from postman_kit.failures import is_reported

_LEVEL_VARIABLE: Final = "POSTMAN_LOG_LEVEL"
_QUIET_S: Final = 600.0

EXPORT_LOGGERS: Final = ("opentelemetry", "urllib3", "requests")
"""Whose lines are about exporting: they are thinned out, and not exported themselves."""


def setup_logs() -> None:
    """Configure structlog and the standard library's logging alike."""
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
    out.addFilter(ExportComplaints())
    out.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _add_trace_ids, shown],
            foreign_pre_chain=[*shared, structlog.processors.format_exc_info],
        )
    )
    logging.basicConfig(level=level, handlers=[out], force=True)
    for noisy in ("alembic", "httpx", "httpcore", "nats", "uvicorn", *EXPORT_LOGGERS):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def is_about_exporting(logger_name: str) -> bool:
    """Whether lines of this logger are OpenTelemetry's own."""
    return logger_name.partition(".")[0] in EXPORT_LOGGERS


class ExportComplaints(logging.Filter):
    """Lets number 1, 2, 4, ... of what each exporter complains of pass: a dead collector is no flood of lines.

    After ten minutes without a complaint the count begins anew.
    """

    def __init__(self) -> None:
        super().__init__()
        self._counts: dict[str, tuple[int, float]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """The base class's name: whether the line is written."""
        if not is_about_exporting(record.name):
            return True
        count, at_s = self._counts.get(record.name, (0, 0.0))
        now_s = time.monotonic()
        count = 1 if now_s - at_s > _QUIET_S else count + 1
        self._counts[record.name] = (count, now_s)
        if is_reported(count):
            record.msg, record.args = f"{record.getMessage()} (complaint {count})", None
            return True
        return False


def _add_trace_ids(
    _logger: structlog.typing.WrappedLogger, _method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """With which trace and span the line belongs, by the names of OpenTelemetry's log data model."""
    current = trace.get_current_span().get_span_context()
    if current.is_valid:
        event["trace_id"] = trace.format_trace_id(current.trace_id)
        event["span_id"] = trace.format_span_id(current.span_id)
    return event
