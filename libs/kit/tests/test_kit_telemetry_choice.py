# SPDX-License-Identifier: Apache-2.0
"""Which signals the standard variables ask for; a mistake is told once, with its repair."""

from __future__ import annotations

import logging

import pytest

from postman_kit.telemetry_choice import choose
from postman_kit.telemetry_logs import ExportComplaints

BASE = "OTEL_EXPORTER_OTLP_ENDPOINT"
PROTOCOL = "OTEL_EXPORTER_OTLP_PROTOCOL"
URL = "http://collector:4318"


@pytest.mark.parametrize(
    ("variables", "signals"),
    [
        ({}, ()),
        ({BASE: ""}, ()),
        ({BASE: URL}, ("traces", "metrics", "logs")),
        ({BASE: URL, "OTEL_SDK_DISABLED": "TRUE"}, ()),
        ({BASE: URL, "OTEL_SDK_DISABLED": "false"}, ("traces", "metrics", "logs")),
        ({"OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": f"{URL}/v1/logs"}, ("logs",)),
        ({BASE: URL, "OTEL_METRICS_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "otlp"}, ("traces", "logs")),
        ({BASE: URL, PROTOCOL: "http/protobuf"}, ("traces", "metrics", "logs")),
    ],
)
def test_what_is_exported(variables: dict[str, str], signals: tuple[str, ...]) -> None:
    choice = choose(variables)
    assert choice.signals == signals
    assert choice.complaints == ()


@pytest.mark.parametrize(
    ("variables", "signals", "named"),
    [
        ({BASE: "http://collector:4317", PROTOCOL: "grpc"}, (), (PROTOCOL, "grpc", "http/protobuf", BASE, "4318")),
        ({BASE: URL, "OTEL_EXPORTER_OTLP_LOGS_PROTOCOL": "http/json"}, ("traces", "metrics"), ("_LOGS_PROTOCOL",)),
        ({BASE: "collector:4318"}, (), (BASE, "http://")),
        ({BASE: URL, "OTEL_TRACES_EXPORTER": "zipkin"}, ("metrics", "logs"), ("OTEL_TRACES_EXPORTER", "otlp or none")),
    ],
)
def test_a_mistake_is_told_once(variables: dict[str, str], signals: tuple[str, ...], named: tuple[str, ...]) -> None:
    choice = choose(variables)
    assert choice.signals == signals
    (complaint,) = choice.complaints
    assert all(part in complaint for part in named)


def test_exporters_complain_at_1_2_4_and_others_whenever_they_like() -> None:
    complaints = ExportComplaints()

    def passes(logger: str) -> bool:
        return complaints.filter(logging.LogRecord(logger, logging.ERROR, "", 0, "no %s", ("answer",), None))

    assert [number for number in range(1, 20) if passes("opentelemetry.exporter.x")] == [1, 2, 4, 8, 16]
    assert passes("opentelemetry.exporter.y")
    assert all(passes("postman_registry") for _ in range(5))
