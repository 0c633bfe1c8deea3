# SPDX-License-Identifier: Apache-2.0
"""The best placement so far, judged before it is taken, and the highest bound so far."""

from __future__ import annotations

import math
from collections.abc import Callable

from postman_placement.domain import Assignment, NotSolvedInTime, Solution
from postman_placement.evaluate import Evaluation, Judge, is_met

OnImproved = Callable[[Solution], None]


class Best:
    """`on_improved` is told each placement that is better than the one before."""

    def __init__(self, judge: Judge, on_improved: OnImproved) -> None:
        self._judge = judge
        self._on_improved = on_improved
        self._bound = 0.0
        self._evaluation: Evaluation | None = None
        self._assignments: tuple[Assignment, ...] = ()

    @property
    def is_met(self) -> bool:
        """Whether nothing better is left to find."""
        return self._evaluation is not None and is_met(self._evaluation, self._bound)

    @property
    def missing(self) -> float:
        """Demands without a backup; infinite while there is no placement."""
        if self._evaluation is None:
            return math.inf
        return sum(assignment.backup is None for assignment in self._assignments)

    @property
    def cost_besides_missing(self) -> float:
        """All of the cost but the penalties; infinite while there is no placement."""
        if self._evaluation is None:
            return math.inf
        return self._evaluation.primary + self._evaluation.backup + self._evaluation.helpers

    def solution(self) -> Solution:
        """The best placement. Raises NotSolvedInTime if there is none."""
        if self._evaluation is None:
            raise NotSolvedInTime(
                f"no placement was found in {self._judge.options.time_s_max:g} s, and none was shown to be impossible; "
                "allow more time_s_max, or more capacity"
            )
        return Solution(self._assignments, min(self._bound, self._evaluation.total))

    def offer(self, assignments: tuple[Assignment, ...]) -> float:
        """Takes a placement if it is better. Says what it costs; infinite if it breaks a constraint."""
        evaluation = self._judge.evaluate(assignments)
        if evaluation.violations:
            return math.inf
        if self._evaluation is None or evaluation.total < self._evaluation.total:
            self._evaluation, self._assignments = evaluation, assignments
            self._on_improved(self.solution())
        return evaluation.total

    def raise_bound(self, missing: int, besides: float = 0.0) -> None:
        """Notes that no placement has fewer missing backups, and that one with so many costs no less besides.

        One more missing backup costs more than all else, so that the bound holds for placements with more of them too.
        """
        penalty = self._judge.penalty
        self._bound = max(self._bound, missing * penalty + min(max(besides, 0.0), penalty))
