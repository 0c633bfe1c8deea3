# SPDX-License-Identifier: Apache-2.0
"""The worker's statistics as OpenTelemetry metrics, named after its conventions. Read only when metrics are exported.

The worker's own names are those of relay.h, stats.h and drop.h in services/helper/worker. `receive` and `transmit` are
as the helper sees it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Final

from postman_helper.worker_stats import WorkerStats
from postman_kit.telemetry import Readings, export_gauge, export_total

DIRECTION: Final = "network.io.direction"
FLUSH_REASON: Final = "postman.flush.reason"
ENTRY_KIND: Final = "postman.entry.kind"
REPAIR: Final = "postman.batch.repair"
BINDING_EVENT: Final = "postman.binding.event"
TURNSTILE: Final = "postman.credit.outcome"
DROP_REASON: Final = "postman.drop.reason"
_DROPS: Final = "drops."


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric, and which of the worker's counters it is made of: by the value of its attribute, or one alone."""

    name: str
    unit: str
    description: str
    attribute: str
    counters: dict[str, str]

    def read(self, stats: WorkerStats) -> Readings:
        """Its values now; none of what the worker does not count."""
        totals = stats.totals
        for value, counter in self.counters.items():
            if counter in totals:
                yield totals[counter], {self.attribute: value}


def _both_ways(name: str, unit: str, description: str, received: str, sent: str) -> Metric:
    return Metric(name, unit, description, DIRECTION, {"receive": received, "transmit": sent})


TOTALS: Final = (
    _both_ways("postman.helper.packets", "{packet}", "Packets of the helper's port", "rx_packets", "tx_packets"),
    _both_ways("postman.helper.io", "By", "Bytes of the helper's port", "rx_bytes", "tx_bytes"),
    _both_ways(
        "postman.helper.frames", "{frame}", "C-frames from and to clients", "client_frames_in", "client_frames_out"
    ),
    _both_ways(
        "postman.helper.frame.io", "By", "Bytes of C-frames from and to clients", "client_bytes_in", "client_bytes_out"
    ),
    _both_ways(
        "postman.helper.batches",
        "{batch}",
        "Trunk batches from and to servers",
        "trunk_batches_in",
        "trunk_batches_out",
    ),
    _both_ways(
        "postman.helper.batch.io", "By", "Bytes of batches from and to servers", "trunk_bytes_in", "trunk_bytes_out"
    ),
    _both_ways(
        "postman.helper.batch.entries", "{entry}", "Messages in these batches", "trunk_entries_in", "trunk_entries_out"
    ),
    Metric(
        "postman.helper.flushes",
        "{batch}",
        "Why batches were sent when they were",
        FLUSH_REASON,
        {"size": "flush_size", "age": "flush_age", "urgent": "flush_urgent"},
    ),
    _both_ways(
        "postman.helper.batch.short_entries",
        "{entry}",
        "Messages in these batches that name a binding",
        "trunk_short_entries_in",
        "trunk_short_entries_out",
    ),
    _both_ways(
        "postman.helper.batch.marks",
        "{batch}",
        "Batches that arrived with a congestion mark, here and at servers",
        "trunk_marked_in",
        "trunk_marked_out",
    ),
    Metric(
        "postman.helper.batch.repairs",
        "{batch}",
        "Batches lost on the way to servers, missing here and asked for, sent again",
        REPAIR,
        {"lost": "trunk_batches_lost", "missed": "trunk_batches_missed", "resent": "trunk_batches_resent"},
    ),
    Metric(
        "postman.helper.binding.events",
        "{binding}",
        "Bindings between flows and short entries",
        BINDING_EVENT,
        {
            "asked": "bindings_asked",
            "made": "bindings_made",
            "refused": "bindings_refused",
            "forgotten": "bindings_forgotten",
        },
    ),
    Metric(
        "postman.helper.credit.frames",
        "{frame}",
        "Frames that found no credit: they waited, or their client was told BUSY",
        TURNSTILE,
        {"held": "frames_held", "busy": "busy"},
    ),
)
GAUGES: Final = {
    "postman.helper.load": ("1", "Busy share of the worker's core in the last second", "load"),
    "postman.helper.flows": ("{flow}", "Flows that the worker knows", "nb_flows"),
    "postman.helper.servers": ("{server}", "Server shards in the worker's table", "nb_servers"),
    "postman.helper.bindings": ("{binding}", "Bindings in use or asked for", "nb_bindings"),
    "postman.helper.held": ("{frame}", "Frames that wait for credit now", "nb_held"),
    "postman.helper.trunk.rtt": ("us", "Round trip of the slowest trunk", "trunk_rtt_us_max"),
}


def export(stats: WorkerStats) -> None:
    """Have the statistics read whenever metrics are exported."""
    for metric in TOTALS:
        export_total(metric.name, metric.unit, metric.description, partial(metric.read, stats))
    export_total("postman.helper.drops", "{packet}", "What was dropped, and why", partial(drops, stats))
    for name, (unit, description, counter) in GAUGES.items():
        export_gauge(name, unit, description, partial(gauge, stats, counter))


def drops(stats: WorkerStats) -> Readings:
    """Every reason for which the worker drops anything, with its count."""
    for name, count in stats.totals.items():
        if name.startswith(_DROPS):
            yield count, {DROP_REASON: name.removeprefix(_DROPS)}


def gauge(stats: WorkerStats, counter: str) -> Readings:
    """One value of the present worker, if there is one."""
    newest = stats.newest
    if counter in newest:
        yield newest[counter], {}
