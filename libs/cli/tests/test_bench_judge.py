# SPDX-License-Identifier: Apache-2.0
"""The judge of a load sees each kind of fault in the two histories, and none where there is none."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest

from postman_cli.bench.judge import (
    CORRUPTED,
    RECORD,
    REPLY_RECEIVED,
    REPLY_SENT,
    REQUEST_RECEIVED,
    REQUEST_SENT,
    TRUNCATED,
    History,
    Runs,
    judge,
)


def runs_of(numbers: list[int]) -> Runs:
    """As libs/vcl/bench/history.c makes them."""
    runs: Runs = []
    for number in numbers:
        if runs and number == sum(runs[-1]):
            runs[-1] = (runs[-1][0], runs[-1][1] + 1)
        else:
            runs.append((number, 1))
    return runs


def histories(requests: list[int], replies: list[int], sent: int = 10, answered: int = 10) -> tuple[History, History]:
    client, server = History(), History()
    client.runs[5, REQUEST_SENT] = [(0, sent)]
    server.runs[5, REQUEST_RECEIVED] = runs_of(requests)
    server.runs[5, REPLY_SENT] = [(0, answered)]
    client.runs[5, REPLY_RECEIVED] = runs_of(replies)
    return client, server


ALL = list(range(10))


def test_what_came_once_and_in_order_is_clean() -> None:
    verdict = judge(*histories(ALL, ALL))
    assert verdict.clean
    assert (verdict.connections, verdict.sent, verdict.delivered) == (1, 20, 20)
    assert verdict.examples == []


@pytest.mark.parametrize(
    ("requests", "fault", "count"),
    [
        (ALL[:7], "lost", 3),  # the end is missing
        (ALL[3:], "lost", 3),  # the beginning
        (ALL[:4] + ALL[6:], "lost", 2),
        ([*ALL, 9], "duplicated", 1),
        ([0, 1, 2, 3, 2, 3, 4, 5, 6, 7, 8, 9], "duplicated", 2),
        ([0, 1, 3, 2, 4, 5, 6, 7, 8, 9], "reordered", 1),
        ([5, 6, 7, 8, 9, 0, 1, 2, 3, 4], "reordered", 5),
        ([*ALL, 10, 11], "invented", 2),
        ([], "lost", 10),
    ],
)
def test_each_fault_is_seen_in_either_direction(requests: list[int], fault: str, count: int) -> None:
    for verdict in (judge(*histories(requests, ALL)), judge(*histories(ALL, requests))):
        assert not verdict.clean
        found = {name: getattr(verdict, name) for name in ("lost", "duplicated", "reordered", "invented")}
        assert found == {**dict.fromkeys(found, 0), fault: count}
        assert len(verdict.examples) == 1


def test_random_histories_are_judged_as_a_count_of_each_number_says() -> None:
    choice = random.Random(3)
    for _ in range(300):
        numbers = [number for number in range(30) for _ in range(choice.choice((0, 1, 1, 1, 2)))]
        if choice.random() < 0.5:
            choice.shuffle(numbers)
        verdict = judge(*histories(numbers, ALL, sent=30))
        times = Counter(numbers)
        late, highest, seen = 0, -1, set()
        for number in numbers:
            late += number < highest and number not in seen
            highest = max(highest, number)
            seen.add(number)
        assert verdict.lost == sum(number not in times for number in range(30))
        assert verdict.duplicated == sum(count - 1 for count in times.values())
        assert verdict.reordered == late
        assert verdict.clean == (numbers == list(range(30)))


def test_a_stranger_a_missing_book_and_an_unfinished_one_are_faults() -> None:
    client, server = histories(ALL, ALL)
    server.corrupted[5] = 1
    assert judge(client, server).corrupted == 1
    assert not judge(client, server).clean
    client, server = histories(ALL, ALL)
    assert judge(client, History()).lost == 10
    assert judge(client, History()).invented == 10  # replies that no server has sent
    server.truncated = 1
    assert not judge(client, server).clean


def test_a_history_file_is_read_to_its_last_byte(tmp_path: Path) -> None:
    path = tmp_path / "history"
    records = [(1, REQUEST_SENT, 0, 7), (1, REPLY_RECEIVED, 0, 3), (1, REPLY_RECEIVED, 5, 1)]
    records += [(2, REPLY_RECEIVED | CORRUPTED, 0, 4), (3, REPLY_RECEIVED | TRUNCATED, 0, 9)]
    path.write_bytes(b"".join(RECORD.pack(*record) for record in records))
    history = History.read(path)
    assert history.runs == {(1, REQUEST_SENT): [(0, 7)], (1, REPLY_RECEIVED): [(0, 3), (5, 1)]}
    assert history.corrupted == {2: 4}
    assert history.truncated == 9
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match="within a record"):
        History.read(path)
