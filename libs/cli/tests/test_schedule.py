# SPDX-License-Identifier: Apache-2.0
"""Which steps run beside which, and that a step which breaks fails the run instead of hanging it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

from postman_cli.testing.model import Choice, Outcome, Result, Step
from postman_cli.testing.runner import Runner
from postman_cli.testing.schedule import Schedule

Body = Callable[[Runner, Choice], Outcome]


class Watch:
    """Notes which steps were running at the same time."""

    def __init__(self) -> None:
        self.now: set[str] = set()
        self.together: list[frozenset[str]] = []
        self._lock = threading.Lock()

    def body(self, name: str) -> Body:
        def run(runner: Runner, choice: Choice) -> Outcome:
            with self._lock:
                self.now.add(name)
                self.together.append(frozenset(self.now))
            runner.run(["sleep", "0.1"])
            with self._lock:
                self.now.discard(name)
            return Outcome(passed=1)

        return run


def run_all(steps: list[Step], tmp_path: Path, cores: int = 2) -> tuple[list[str], list[Result]]:
    told: list[str] = []
    schedule = Schedule(steps, Choice(), cores, tmp_path, dict(os.environ))
    results = schedule.run(lambda step: told.append(f"start {step.name}"), lambda r: told.append(f"end {r.step.name}"))
    return told, results


def test_cores_are_not_oversubscribed(tmp_path: Path) -> None:
    watch = Watch()
    cores = {"a": 1, "b": 1, "c": 1, "d": 2}
    run_all([Step(name, "", watch.body(name), 10, cores=n) for name, n in cores.items()], tmp_path)
    assert all(sum(cores[name] for name in names) <= 2 for names in watch.together)
    assert frozenset({"a", "b"}) in watch.together


def test_an_exclusive_step_runs_alone_and_last(tmp_path: Path) -> None:
    watch = Watch()
    steps = [Step("alone", "", watch.body("alone"), 10, exclusive=True)]
    steps += [Step(name, "", watch.body(name), 10) for name in "abc"]
    told, _ = run_all(steps, tmp_path, cores=4)
    assert frozenset({"alone"}) in watch.together
    assert all(names == {"alone"} for names in watch.together if "alone" in names)
    assert told[-2:] == ["start alone", "end alone"]


def test_a_step_that_wants_more_cores_than_there_are_still_runs(tmp_path: Path) -> None:
    _, results = run_all([Step("big", "", Watch().body("big"), 10, cores=8)], tmp_path, cores=1)
    assert results[0].outcome.passed == 1


def test_a_step_that_raises_has_failed(tmp_path: Path) -> None:
    def broken(runner: Runner, choice: Choice) -> Outcome:
        raise ValueError("broken step")

    _, results = run_all([Step("broken", "", broken, 10), Step("a", "", Watch().body("a"), 10)], tmp_path)
    by_name = {result.step.name: result.outcome for result in results}
    assert by_name["broken"].failed == 1
    assert "broken step" in by_name["broken"].notes[0]
    assert by_name["a"].passed == 1


def test_a_step_over_its_budget_has_failed(tmp_path: Path) -> None:
    def slow(runner: Runner, choice: Choice) -> Outcome:
        runner.run(["sleep", "1000"])
        return Outcome(passed=1)

    _, results = run_all([Step("slow", "", slow, budget_s=0.2)], tmp_path)
    assert results[0].outcome.failed == 1
