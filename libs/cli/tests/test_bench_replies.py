# SPDX-License-Identifier: Apache-2.0
"""What is read from the times of replies: latencies of a span, and what a fault cost each connection."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from postman_cli.bench.figure import figure
from postman_cli.bench.replies import Replies, Spread

MS = 1000
FAULT = 1_000_000


def replies(*rows: tuple[int, int, int]) -> Replies:
    """(connection, latency, time) in order of time."""
    columns = np.array(sorted(rows, key=lambda row: row[2]), dtype=np.int64).reshape(-1, 3).T
    return Replies(*columns)


def test_a_file_whose_clock_wraps_is_read_right(tmp_path: Path) -> None:
    began = 5 * 2**32 - 1000
    times = [began + 10, began + 990, began + 1010, began + 2**32 - 5, began + 2**32 + 7]
    path = tmp_path / "replies"
    path.write_bytes(b"".join(struct.pack("<III", 3, 100 + i, at % 2**32) for i, at in enumerate(times)))
    found = Replies.read(path, began)
    assert found.at_us.tolist() == times
    assert found.latency_us.tolist() == [100, 101, 102, 103, 104]
    assert len(Replies.read(Path("/dev/null"), began)) == 0


def test_a_span_has_its_beginning_and_not_its_end() -> None:
    found = replies((1, 5 * MS, 100), (1, 7 * MS, 200), (2, 9 * MS, 300)).between(100, 300)
    assert found.latency_ms() == Spread(2, 5.0, 7.0, 7.0)
    assert replies().latency_ms() == Spread(0, None, None, None)


def test_windows_without_replies_say_so() -> None:
    found = replies((1, 5 * MS, 100), (1, 7 * MS, 350))
    assert found.windows_p99_ms(100, 400, 100) == [5.0, None, 7.0]


def test_the_next_byte_is_the_first_after_the_fault_whatever_it_says() -> None:
    found = replies((1, 1, FAULT - 10), (1, 1, FAULT + 2 * MS), (1, 1, FAULT + 40 * MS), (2, 1, FAULT + 30 * MS))
    assert found.next_byte_ms(FAULT, 1_000_000).tolist() == [2.0, 30.0]
    assert found.next_byte_ms(FAULT, 20 * MS).tolist() == [2.0]


def test_a_connection_has_resumed_after_the_longest_silence_that_the_fault_began() -> None:
    found = replies(
        # 1: a reply was on its way; then silence until 45 ms; a later and longer silence is not the fault's
        *((1, 1, FAULT + at * MS) for at in (2, 45, 50, 400)),
        # 2: silent from the fault on
        *((2, 1, FAULT + at * MS) for at in (-1, 30, 35)),
        # 3: nothing was to come
        (3, 1, FAULT - 5),
    )
    assert found.resume_ms(FAULT, 1_000_000).tolist() == [30.0, 45.0]
    assert found.resume_ms(FAULT + 500_000, 1_000_000).tolist() == []


def test_a_figure_has_median_range_and_ratio() -> None:
    found = figure("b", "m", [3.0, None, 1.0, 2.0], "ms", baseline=[4.0, 8.0], baseline_name="other", seed=7)
    assert (found.value, found.spread, found.runs, found.baseline, found.ratio) == (2.0, (1.0, 3.0), 3, 6.0, 0.333333)
    keys = "bench metric value unit baseline baseline_name ratio runs spread seed commit host"
    assert list(found.as_dict()) == keys.split()
    empty = figure("b", "m", [None], "ms")
    assert (empty.value, empty.spread, empty.runs, empty.ratio) == (None, None, 0, None)
    assert figure("b", "m", 1.0, "ms", baseline=0.0).ratio is None


@pytest.mark.parametrize("size", [1, 2, 99, 100, 101])
def test_percentiles_are_values_that_occurred(size: int) -> None:
    spread = Spread.of(np.arange(1, size + 1) / 10)
    assert spread.p99 == pytest.approx(-(-99 * size // 100) / 10)
    assert spread.p50 == pytest.approx(-(-size // 2) / 10)
