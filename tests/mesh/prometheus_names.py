# SPDX-License-Identifier: Apache-2.0
"""What Prometheus calls a metric that came by OTLP (underscores, suffixes of unit and type), and which metrics the
expressions of a dashboard ask for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from otlp_receiver import Metric

# https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/
UNITS = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "By": "bytes"}
HISTOGRAM_SUFFIXES = ("_bucket", "_sum", "_count")
FUNCTIONS_AND_WORDS = frozenset({"by", "without", "on", "ignoring", "group_left", "group_right", "and", "or", "unless"})


def names_of(metric: Metric) -> set[str]:
    """The names of its series."""
    name = re.sub(r"[^a-zA-Z0-9_:]", "_", metric.name)
    unit = UNITS.get(metric.unit, "") if not metric.unit.startswith("{") else ""
    if unit and not name.endswith(unit):
        name += f"_{unit}"
    if metric.unit == "1" and metric.kind == "gauge":
        name += "_ratio"
    if metric.kind == "histogram":
        return {name + suffix for suffix in HISTOGRAM_SUFFIXES}
    return {f"{name}_total" if metric.monotonic and not name.endswith("_total") else name}


def asked_for(dashboard: dict[str, Any]) -> Iterator[str]:
    """The metrics in the expressions for Prometheus."""
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            if panel["datasource"]["type"] == "prometheus":
                yield from metrics_in(target["expr"])


def metrics_in(expression: str) -> set[str]:
    """The metric names of a PromQL expression.

    >>> sorted(metrics_in('sum by (le) (rate(a_bucket{b=~"c"}[$__rate_interval])) / d > 0'))
    ['a_bucket', 'd']
    """
    for noise in (r'"[^"]*"', r"\{[^}]*\}", r"\[[^\]]*\]", r"\b(by|without|on|ignoring)\s*\([^)]*\)"):
        expression = re.sub(noise, " ", expression)
    words = re.findall(r"[a-zA-Z_:][a-zA-Z0-9_:]*(?!\w|\s*\()", expression)
    return set(words) - FUNCTIONS_AND_WORDS
