# SPDX-License-Identifier: Apache-2.0
"""A control plane whose telemetry a real OTLP receiver takes: `otlp` and `traced_plane`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from postman_kit.embedded.pytest_fixtures import database_url, nats_server, postgres_server

sys.path.insert(0, str(Path(__file__).parent))  # pytest's importlib mode adds no folder to the path

from otlp_receiver import Receiver  # found by the line above

__all__ = ["database_url", "nats_server", "postgres_server"]


def otlp_environment(url: str) -> dict[str, str]:
    """The standard variables that have everything sent there, soon."""
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": url,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        "OTEL_BLRP_SCHEDULE_DELAY": "100",
        "OTEL_METRIC_EXPORT_INTERVAL": "500",
        "NO_PROXY": "*",  # a proxy for the web is no way to the receiver
    }


@pytest.fixture(scope="session")
def otlp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    """A receiver on loopback, whose `environment` has programs send to it."""
    with Receiver(tmp_path_factory.mktemp("otlp")) as receiver:
        yield receiver


@pytest.fixture(scope="session")
def otlp_variables(otlp: Receiver) -> dict[str, str]:
    """What a program needs in its environment to send to the receiver."""
    return otlp_environment(otlp.url)


@pytest.fixture(scope="session")
def traced_plane(
    _control_plane_parts: Any, otlp_variables: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    """A control plane of its own whose services export."""
    plane = type(_control_plane_parts)(tmp_path_factory.mktemp("traced"))
    with pytest.MonkeyPatch.context() as environment:
        for name, value in otlp_variables.items():
            environment.setenv(name, value)
        try:
            plane.start()
            yield plane
        finally:
            plane.stop()
