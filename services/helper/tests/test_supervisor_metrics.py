# SPDX-License-Identifier: Apache-2.0
"""The workers' statistics as metrics: totals that only grow, names and attributes as dashboards ask for them."""

from __future__ import annotations

import re
from pathlib import Path

from postman_helper import worker_metrics
from postman_helper.worker_stats import WorkerStats

WORKER = Path(__file__).parents[1] / "worker"


def test_totals_go_on_where_the_worker_before_ended() -> None:
    stats = WorkerStats()
    assert (dict(stats.newest), dict(stats.totals)) == ({}, {})
    stats.take(3, {"rx_packets": 5, "drops.icmp": 1})
    stats.take(3, {"rx_packets": 7, "drops.icmp": 1})
    stats.take(4, {"rx_packets": 2})
    assert stats.newest == {"rx_packets": 2}
    assert stats.totals == {"rx_packets": 9, "drops.icmp": 1}
    stats.take(5, {})
    stats.take(6, {"rx_packets": 1})
    assert stats.totals == {"rx_packets": 10, "drops.icmp": 1}


def test_what_is_read_has_its_unit_and_attributes() -> None:
    stats = WorkerStats()
    stats.take(1, {"client_frames_in": 5, "client_frames_out": 4, "flush_age": 3, "drops.icmp": 2, "load": 0.25})
    found = {
        (metric.name, metric.unit, *dict(attributes).items()): value
        for metric in worker_metrics.TOTALS
        for value, attributes in metric.read(stats)
    }
    assert found == {
        ("postman.helper.frames", "{frame}", ("network.io.direction", "receive")): 5,
        ("postman.helper.frames", "{frame}", ("network.io.direction", "transmit")): 4,
        ("postman.helper.flushes", "{batch}", ("postman.flush.reason", "age")): 3,
    }
    assert list(worker_metrics.drops(stats)) == [(2, {"postman.drop.reason": "icmp"})]
    assert list(worker_metrics.gauge(stats, "load")) == [(0.25, {})]
    assert list(worker_metrics.gauge(stats, "nb_flows")) == []


def test_the_worker_counts_what_the_metrics_ask_for() -> None:
    source = "".join((WORKER / name).read_text() for name in ("relay.h", "stats.h", "commands.c"))
    asked = {counter for metric in worker_metrics.TOTALS for counter in metric.counters.values()}
    asked |= {counter for _, _, counter in worker_metrics.GAUGES.values()}
    known = set(re.findall(r"\bX\((\w+)\)", source)) | set(re.findall(r"\"(\w+)\"", source))
    assert asked <= known, asked - known
