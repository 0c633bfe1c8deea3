# SPDX-License-Identifier: Apache-2.0
"""Which of the three signals the standard OTEL_* variables ask for, and what is wrong with them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, get_args

Signal = Literal["traces", "metrics", "logs"]

_ENDPOINT: Final = "OTEL_EXPORTER_OTLP_ENDPOINT"
_PROTOCOL: Final = "OTEL_EXPORTER_OTLP_PROTOCOL"
_OUR_PROTOCOL: Final = "http/protobuf"


@dataclass(frozen=True, slots=True)
class Choice:
    """The signals to export, and one text for each mistake: what is wrong and how to repair it."""

    signals: tuple[Signal, ...]
    complaints: tuple[str, ...]


def choose(environ: Mapping[str, str]) -> Choice:
    """A signal is exported if an endpoint is named for it and nothing says otherwise."""
    signals: list[Signal] = []
    complaints: dict[str, None] = {}  # a set that keeps its order: one mistake may concern all signals
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() != "true":
        for signal in get_args(Signal):
            variable = _first_set(environ, f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT", _ENDPOINT)
            if not variable or environ.get(f"OTEL_{signal.upper()}_EXPORTER", "").strip().lower() == "none":
                continue
            complaint = _complaint(environ, signal, variable)
            if complaint:
                complaints[complaint] = None
            else:
                signals.append(signal)
    return Choice(tuple(signals), tuple(complaints))


def _complaint(environ: Mapping[str, str], signal: Signal, endpoint_variable: str) -> str:
    exporter_variable = f"OTEL_{signal.upper()}_EXPORTER"
    exporter = environ.get(exporter_variable, "").strip().lower() or "otlp"
    if exporter != "otlp":
        return f"{exporter_variable}={exporter} is not supported, so {signal} are not exported. Set it to otlp or none"
    protocol_variable = _first_set(environ, f"OTEL_EXPORTER_OTLP_{signal.upper()}_PROTOCOL", _PROTOCOL)
    protocol = environ.get(protocol_variable, _OUR_PROTOCOL).strip()
    if protocol != _OUR_PROTOCOL:
        return (
            f"{protocol_variable}={protocol} is not supported, so nothing is exported that way. Set it to "
            f"{_OUR_PROTOCOL}, and {endpoint_variable} to the collector's port for HTTP, which is 4318 by default"
        )
    if not environ[endpoint_variable].startswith(("http://", "https://")):
        return f"{endpoint_variable} must begin with http:// or https://, so nothing is exported there. Correct it"
    return ""


def _first_set(environ: Mapping[str, str], *variables: str) -> str:
    """The first of these that is set and not empty (to OpenTelemetry, empty means unset); '' if none is."""
    return next((variable for variable in variables if environ.get(variable, "").strip()), "")
