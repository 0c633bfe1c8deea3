# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from postman_cli.demo.timing import percentile, phase, resume_times_ms

MS = 1_000_000


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [([], 0.5, None), ([7], 0.99, 7), ([1, 2, 3, 4], 0.5, 2), (list(range(1, 101)), 0.99, 99), ([1, 2], 1.0, 2)],
)
def test_percentile_is_the_nearest_rank(values: list[float], share: float, expected: float | None) -> None:
    assert percentile(values, share) == expected


def test_a_phase_counts_what_falls_into_it() -> None:
    times = {"0": {"sent_ns": [0, 10 * MS, 20 * MS], "replied_ns": [1 * MS, 12 * MS]}}
    got = phase("x", times, 5 * MS, 25 * MS)
    assert (got.sent, got.delivered) == (2, 1)
    assert got.p50_us == 2000
    assert got.requests_per_s == pytest.approx(50)


def test_resume_is_the_end_of_the_silence_that_the_kill_began() -> None:
    replies = [90 * MS, 101 * MS, 130 * MS, 131 * MS, 400 * MS]  # 400: a later pause, not the kill's
    assert resume_times_ms({"0": {"sent_ns": [], "replied_ns": replies}}, 100 * MS) == [30.0]


def test_a_connection_that_was_done_has_no_resume_time() -> None:
    assert resume_times_ms({"0": {"sent_ns": [], "replied_ns": [1 * MS]}}, 100 * MS) == []
