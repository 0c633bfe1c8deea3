# SPDX-License-Identifier: Apache-2.0
"""Which verdicts are news."""

from __future__ import annotations

from vcl.agent_verdicts import Verdicts


def test_of_two_verdicts_the_higher_serial_counts() -> None:
    verdicts = Verdicts()
    assert verdicts.is_news(1, 5, 5.0, 0.0)
    assert not verdicts.is_news(1, 5, 5.0, 1.0)
    assert not verdicts.is_news(1, 4, 5.0, 1.0)
    assert verdicts.is_news(2, 4, 5.0, 1.0)  # another helper
    assert verdicts.is_news(1, 6, 5.0, 1.0)


def test_repetitions_keep_a_verdict_and_silence_ends_it() -> None:
    verdicts = Verdicts()
    assert verdicts.is_news(1, 5, 5.0, 0.0)
    assert not verdicts.is_news(1, 5, 5.0, 4.9)
    assert not verdicts.is_news(1, 5, 5.0, 9.8)
    assert verdicts.is_news(1, 3, 5.0, 14.9)  # health has started over


def test_an_older_verdict_does_not_prolong_the_one_that_counts() -> None:
    verdicts = Verdicts()
    assert verdicts.is_news(1, 5, 5.0, 0.0)
    assert not verdicts.is_news(1, 4, 5.0, 4.0)
    assert verdicts.is_news(1, 4, 5.0, 5.0)
