# SPDX-License-Identifier: Apache-2.0
"""The time of each reply of a load, and what can be read from it: latencies of a phase, and what a fault cost each
connection. Times are microseconds of the monotonic clock, which all processes of one host share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

RECORD = np.dtype([("connection", "<u4"), ("latency_us", "<u4"), ("at_us", "<u4")])
ONSET_US_MAX = 20_000
"""A silence counts as the fault's when it begins no later than this after it: by then whatever a dead helper had
already passed on has arrived."""

Times = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Spread:
    """Percentiles of some times in one unit; None when there are none."""

    count: int
    p50: float | None
    p99: float | None
    max: float | None

    @classmethod
    def of(cls, values: npt.NDArray[Any]) -> Spread:
        if len(values) == 0:
            return cls(0, None, None, None)
        p50, p99 = np.percentile(values, [50, 99], method="inverted_cdf")
        return cls(len(values), float(p50), float(p99), float(values.max()))


class Replies:
    """All replies of one client, in the order in which they came."""

    def __init__(self, connection: Times, latency_us: Times, at_us: Times) -> None:
        self.connection, self.latency_us, self.at_us = connection, latency_us, at_us

    @classmethod
    def read(cls, path: Path, began_us: int) -> Replies:
        """`began_us`: a time before the first reply and less than 2^32 us (71 minutes) before it."""
        raw = np.fromfile(path, dtype=RECORD)
        low = raw["at_us"].astype(np.int64)
        # the file has the low 32 bits of a time that only grows
        wraps = np.concatenate(([0], np.cumsum(np.diff(low) < 0))) if len(low) else low
        first = began_us + (int(low[0]) - began_us) % 2**32 if len(low) else 0
        at_us = low - (low[0] if len(low) else 0) + wraps * 2**32 + first
        return cls(raw["connection"].astype(np.int64), raw["latency_us"].astype(np.int64), at_us)

    def __len__(self) -> int:
        return len(self.at_us)

    def between(self, begin_us: int, end_us: int) -> Replies:
        """Those that came in [begin, end)."""
        first, last = np.searchsorted(self.at_us, [begin_us, end_us])
        return Replies(self.connection[first:last], self.latency_us[first:last], self.at_us[first:last])

    def latency_ms(self) -> Spread:
        """Of all of them."""
        return Spread.of(self.latency_us / 1000)

    def windows_p99_ms(self, begin_us: int, end_us: int, width_us: int) -> list[float | None]:
        """The 99th percentile of each window; None of one without replies."""
        found: list[float | None] = []
        for begin in range(begin_us, end_us, width_us):
            found.append(self.between(begin, begin + width_us).latency_ms().p99)
        return found

    def next_byte_ms(self, fault_us: int, within_us: int) -> npt.NDArray[np.float64]:
        """Of each connection: from the fault to the first reply after it, whichever it is."""
        after = self.between(fault_us, fault_us + within_us)
        _, first = np.unique(after.connection, return_index=True)
        return np.sort((after.at_us[first] - fault_us) / 1000)

    def resume_ms(self, fault_us: int, within_us: int) -> npt.NDArray[np.float64]:
        """Of each connection: from the fault to the first reply after the longest silence that the fault began.

        A reply that was already on its way when the fault came is no sign that the connection works again.
        """
        after = self.between(fault_us, fault_us + within_us)
        order = np.argsort(after.connection, kind="stable")
        connection, at_us = after.connection[order], after.at_us[order]
        if len(at_us) == 0:
            return np.array([])
        starts = np.concatenate(([True], np.diff(connection) != 0))
        before = np.where(starts, fault_us, np.concatenate(([0], at_us[:-1])))
        gap = np.where(before <= fault_us + ONSET_US_MAX, at_us - before, -1)
        edges = np.flatnonzero(starts)
        longest = np.maximum.reduceat(gap, edges)
        group = np.cumsum(starts) - 1
        is_longest = (gap == longest[group]) & (gap >= 0)
        _, index = np.unique(group[is_longest], return_index=True)
        return np.sort((at_us[is_longest][index] - fault_us) / 1000)
