# SPDX-License-Identifier: Apache-2.0
"""Programs of a step: their status, their log, their budget, and that nothing of them stays behind."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from postman_cli.testing.runner import Cancelled, Runner, StepFailed, is_alive


def make(tmp_path: Path, budget_s: float = 30.0, cancelled: threading.Event | None = None) -> Runner:
    return Runner(tmp_path / "step.log", os.environ, budget_s, cancelled or threading.Event())


def test_status_and_output(tmp_path: Path) -> None:
    runner = make(tmp_path)
    assert runner.run(["sh", "-c", "echo said; echo wrong >&2; exit 3"]) == 3
    assert runner.log.read_text().splitlines()[1:] == ["said", "wrong"]


def test_must_names_the_program(tmp_path: Path) -> None:
    with pytest.raises(StepFailed, match="sh -c ended with 4"):
        make(tmp_path).must(["sh", "-c", "exit 4"])


def test_missing_program_is_a_clear_failure(tmp_path: Path) -> None:
    with pytest.raises(StepFailed, match="no-such-program cannot be run"):
        make(tmp_path).run(["no-such-program"])


def test_over_budget_ends_the_whole_group(tmp_path: Path) -> None:
    script = f"sleep 1000 & echo $! > {tmp_path}/pid; wait"
    with pytest.raises(StepFailed, match="still running"):
        make(tmp_path, budget_s=0.3).run(["sh", "-c", script])
    assert not is_alive(int((tmp_path / "pid").read_text()))


def test_children_do_not_outlive_a_program_that_ended_well(tmp_path: Path) -> None:
    assert make(tmp_path).run(["sh", "-c", f"sleep 1000 & echo $! > {tmp_path}/pid"]) == 0
    assert not is_alive(int((tmp_path / "pid").read_text()))


def test_cancelling_ends_the_program(tmp_path: Path) -> None:
    cancelled = threading.Event()
    cancelled.set()
    with pytest.raises(Cancelled):
        make(tmp_path, cancelled=cancelled).run(["sleep", "1000"])
