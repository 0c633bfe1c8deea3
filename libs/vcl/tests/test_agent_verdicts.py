# SPDX-License-Identifier: Apache-2.0
"""Which verdicts are news."""

from __future__ import annotations

from vcl.agent_verdicts import Verdicts

DOWN = (1, "down")
UP = (1, "up")


def test_of_two_verdicts_the_higher_serial_counts() -> None:
    verdicts = Verdicts()
    assert verdicts.is_news(1, DOWN, 5, 5.0, 0.0)
    assert not verdicts.is_news(1, UP, 5, 5.0, 1.0)
    assert not verdicts.is_news(1, UP, 4, 5.0, 1.0)
    assert verdicts.is_news(2, DOWN, 4, 5.0, 1.0)  # another helper
    assert verdicts.is_news(1, UP, 6, 5.0, 1.0)


def test_the_same_with_a_higher_serial_is_a_repetition() -> None:
    verdicts = Verdicts()
    assert verdicts.is_news(1, DOWN, 5, 5.0, 0.0)
    assert not verdicts.is_news(1, DOWN, 1005, 5.0, 1.0)
    assert not verdicts.is_news(1, UP, 1004, 5.0, 1.0)
    assert verdicts.is_news(1, (2, "down"), 2005, 5.0, 2.0)  # another incarnation


def test_repetitions_keep_a_verdict_and_silence_ends_it() -> None:
    verdicts = Verdicts()
    assert verdicts.is_news(1, DOWN, 5, 5.0, 0.0)
    assert not verdicts.is_news(1, DOWN, 5, 5.0, 4.9)
    assert not verdicts.is_news(1, DOWN, 6, 5.0, 9.8)
    assert verdicts.is_news(1, DOWN, 3, 5.0, 14.9)  # health has started over


def test_an_older_verdict_does_not_prolong_the_one_that_counts() -> None:
    verdicts = Verdicts()
    assert verdicts.is_news(1, DOWN, 5, 5.0, 0.0)
    assert not verdicts.is_news(1, UP, 4, 5.0, 4.0)
    assert verdicts.is_news(1, DOWN, 4, 5.0, 5.0)
