# SPDX-License-Identifier: Apache-2.0
"""When sessions are asked for again, and how often: until the answer follows the assignment that made them ask."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from vcl import path_refresh
from vcl.path_refresh import Key, PathRefresher

A, B = (1, 0), (2, 0)


class Registry:
    """Answers with the epoch that it has reached."""

    def __init__(self) -> None:
        self.epoch = 0
        self.asked: queue.Queue[Key] = queue.Queue()

    def ask(self, key: Key) -> int:
        self.asked.put(key)
        if key == B:
            raise OSError("this session has ended")
        return self.epoch


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(path_refresh, "JITTER_S", 0.0)
    monkeypatch.setattr(path_refresh, "RETRY_S", (0.0, 0.0, 0.0))


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.fixture
def refresher(registry: Registry) -> Iterator[PathRefresher]:
    made = PathRefresher(registry.ask)
    yield made
    made.close()


def idle(refresher: PathRefresher) -> Callable[[], bool]:
    return lambda: not refresher._running


def test_sessions_are_asked_for_once_without_an_assignment(
    registry: Registry, refresher: PathRefresher, wait_until: Callable[..., Any]
) -> None:
    refresher.request([A, B, A])
    wait_until(idle(refresher))
    assert sorted(registry.asked.queue) == [A, B]
    refresher.request([A])  # the thread of the first request is gone
    wait_until(idle(refresher))
    assert sorted(registry.asked.queue) == [A, A, B]


def test_nobody_to_ask_for_starts_no_thread(registry: Registry, refresher: PathRefresher) -> None:
    refresher.request([])
    assert not refresher._running


def test_an_older_answer_is_asked_for_again_but_not_for_ever(
    registry: Registry, refresher: PathRefresher, wait_until: Callable[..., Any]
) -> None:
    refresher.request([A], epoch=5)
    wait_until(idle(refresher))
    assert registry.asked.qsize() == 4  # and three tries more
    registry.epoch = 6
    refresher.request([A], epoch=5)
    wait_until(idle(refresher))
    assert registry.asked.qsize() == 5


def test_a_newer_assignment_does_not_wait_for_the_next_try_of_an_older_one(
    registry: Registry, refresher: PathRefresher, monkeypatch: pytest.MonkeyPatch, wait_until: Callable[..., Any]
) -> None:
    monkeypatch.setattr(path_refresh, "RETRY_S", (3600.0,))
    refresher.request([A], epoch=5)
    assert registry.asked.get(timeout=20) == A
    registry.epoch = 6
    refresher.request([A], epoch=6)
    assert registry.asked.get(timeout=20) == A
    wait_until(idle(refresher))


def test_the_end_does_not_wait(registry: Registry, refresher: PathRefresher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(path_refresh, "RETRY_S", (3600.0,))
    refresher.request([A], epoch=5)
    assert registry.asked.get(timeout=20) == A
    refresher.close()
    refresher.request([A], epoch=7)
    with pytest.raises(queue.Empty):
        registry.asked.get(timeout=0.2)
