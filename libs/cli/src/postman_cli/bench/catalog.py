# SPDX-License-Identifier: Apache-2.0
"""The benches by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, NamedTuple

from .figure import Figure
from .site import Request


@dataclass
class Outcome:
    """What a bench found. `faults`: what must never be, in words; with one of them the figures mean nothing."""

    figures: list[Figure] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)


class Bench(NamedTuple):
    """Where a bench is, and what it measures."""

    module: str
    about: str
    options: frozenset[str]


BENCHES = {
    "failover": Bench(
        "failover",
        "a helper is killed, and one is drained, under busy connections: the time until each one's next byte",
        frozenset({"connections", "runs"}),
    ),
    "bulk": Bench(
        "bulk",
        "a large transfer on the direct path against kernel TCP, and what one does to small messages at a helper",
        frozenset({"connections", "runs", "seconds", "mib"}),
    ),
    "chaos": Bench(
        "chaos",
        "helpers killed, paused, cut off and restarted, links that lose and delay: the ledger, and the time to resume",
        frozenset({"connections", "requests", "kills", "pauses"}),
    ),
    "overload": Bench(
        "overload",
        "offered load of 0.5 to 3 times the capacity: goodput at each, and the time back to normal afterwards",
        frozenset({"connections", "seconds"}),
    ),
    "header": Bench(
        "header",
        "header bytes for each 64-byte message on a helper's trunk, from a capture",
        frozenset({"connections", "requests"}),
    ),
    "churn": Bench(
        "churn",
        "memory of client, server and helper over connections that are opened and closed",
        frozenset({"connections", "requests"}),
    ),
}


def load(name: str) -> Callable[[Request], Outcome]:
    """The function that runs a bench."""
    run: Callable[[Request], Outcome] = import_module(f"postman_cli.bench.{BENCHES[name].module}").run
    return run
