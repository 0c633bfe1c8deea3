# SPDX-License-Identifier: Apache-2.0
"""How the result of a spin search is read: only a finished search without errors is a proof."""

from __future__ import annotations

from pathlib import Path

from postman_cli.testing.path_model import Bounds, judge

CLEAN = "State-vector 56 byte, depth reached 292, errors: 0\n  1184872 states, stored\n"
FOUND = "pan:1: assertion violated\nState-vector 56 byte, depth reached 288, errors: 1\n     3258 states, stored\n"
FOLDER = Path("model")


def outcome(text: str, *, plant: bool = False, status: int = 0) -> tuple[int, int, str]:
    judged = judge(Bounds("some", (), plant), status, text, FOLDER)
    return judged.passed, judged.failed, judged.notes[0]


def test_a_clean_search_counts_its_states() -> None:
    assert outcome(CLEAN) == (1, 0, "model, some: all 1,184,872 states, no error")


def test_an_error_says_how_to_replay_it() -> None:
    passed, failed, note = outcome(FOUND)
    assert (passed, failed) == (0, 1)
    assert "spin -t -p" in note


def test_a_search_that_was_cut_short_is_no_proof() -> None:
    for reason in ("error: max search depth too small", "pan: reached -DMEMLIM bound", "Warning: Search not completed"):
        passed, failed, note = outcome(f"{reason}\n{CLEAN}")
        assert (passed, failed) == (0, 1), reason
        assert "not exhaustive" in note
    assert outcome("", status=0)[:2] == (0, 1)
    assert outcome(CLEAN, status=1)[:2] == (0, 1)


def test_a_planted_bug_must_be_found() -> None:
    assert outcome(FOUND, plant=True)[:2] == (1, 0)
    assert outcome(CLEAN, plant=True)[:2] == (0, 1)
