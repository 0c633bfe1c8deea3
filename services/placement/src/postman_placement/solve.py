# SPDX-License-Identifier: Apache-2.0
"""The best placement of a snapshot, with a bound that proves how good it is.

 1. A greedy placement, so that there is one whatever happens later.
 2. The program of model.py that watches no helper while domains die (all of them when it is small): its bound holds for
    the whole.
 3. Its choice, if that survives every domain's death: then it is optimal. Else its primaries with the best backups.
 4. If that costs more than the bound, the helpers are watched that would have been overloaded, choices are dropped with
    which no placement can cost less than the best one so far, and 2 and 3 are done again. When all are watched nothing
    is left out, so this ends.
Before the costs it is settled how many demands must go without a backup: usually only those that no second domain can
serve; if that has no solution the least number is computed first.
"""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import Final, Literal

import numpy as np

from postman_placement.best import Best, OnImproved
from postman_placement.domain import Infeasible, Options, Snapshot, Solution, validate
from postman_placement.evaluate import Judge
from postman_placement.greedy import greedy
from postman_placement.infeasible import reasons_at_once, reasons_by_slack
from postman_placement.milp import Floats
from postman_placement.model import Goal, Model
from postman_placement.pairing import counts_of, named, overloaded, paired, paired_by_domain
from postman_placement.problem import Bools, Problem, problem_of

COLUMNS_AT_ONCE: Final = 5_000
"""A program with no more choices of domain and backup than this watches everything from the start."""

CHOICES_MAX: Final = 400_000
"""A problem with more possible primaries and backups is left as the greedy placement has it: HiGHS would not end its
first step in the time that there is, and would take gigabytes."""

SHARE_OF_TIME: Final = 0.7
"""Of what is left, for one program; the rest is for the backups that follow it."""

START_SHARE_OF_TIME: Final = 0.2
"""Of all time, at most, for the greedy placement."""

COUNT_TOLERANCE: Final = 1e-4
"""A bound on a whole number is rounded up unless it is above the lower one by no more than this."""

REASONS_S: Final = 2.0
"""How long the search for what binds may take, however little time is left."""

Outcome = Literal["proven", "impossible", "stopped"]


def solve(snapshot: Snapshot, options: Options, on_improved: OnImproved = lambda _: None) -> Solution:
    """The best placement found within `time_s_max`. `on_improved` is told each one that is better than the last.

    Raises InvalidSnapshot, Infeasible, or NotSolvedInTime.
    """
    deadline_s = time.monotonic() + options.time_s_max
    validate(snapshot, options)
    if not snapshot.demands:
        return Solution((), 0.0)
    judge = Judge(snapshot, options)
    problem = problem_of(snapshot, options, judge.trips)
    reasons = reasons_at_once(problem)
    if reasons:
        raise Infeasible(reasons)
    best = Best(judge, on_improved)
    search = _Search(problem, best, deadline_s)
    if search.run() == "impossible":
        raise Infeasible(reasons_by_slack(problem, REASONS_S + search.time_left_s))
    return best.solution()


class _Search:
    """One solve."""

    def __init__(self, problem: Problem, best: Best, deadline_s: float) -> None:
        self._problem = problem
        self._candidates = problem
        self._ceiling = math.inf
        """Placements with a choice that is no candidate any more cost at least this, besides missing backups."""
        self._best = best
        self._deadline_s = deadline_s
        self._watched = np.full((problem.domains, len(problem.helpers)), _is_small(problem))

    @property
    def time_left_s(self) -> float:
        """Until the deadline; not below zero."""
        return max(0.0, self._deadline_s - time.monotonic())

    def run(self) -> Outcome:
        """Finds and proves as much as the time allows."""
        enough_s = self.time_left_s * (1 - START_SHARE_OF_TIME)
        greedy(self._problem, self._best.offer, has_time=lambda: self.time_left_s > enough_s)
        count = self._problem.count
        unavoidable = int(count[~self._problem.can_pair].sum())
        self._best.raise_bound(unavoidable, self._problem.least_cost)
        if self._problem.choices > CHOICES_MAX:
            return "stopped"
        outcome = self._prove(unavoidable)
        if outcome != "impossible" or self._problem.options.backup_required:
            return outcome
        self._best.raise_bound(unavoidable + 1)
        outcome = self._prove(int(count.sum()), "missing")
        return self._prove(int(self._best.missing)) if outcome == "proven" else outcome

    def _prove(self, missing_max: int, goal: Goal = "cost") -> Outcome:
        """Rounds of the program that watches more and more, until a placement meets the bound."""
        while self.time_left_s > 0:
            model = Model(self._candidates, watched=self._watched, missing_max=missing_max, goal=goal)
            result = model.milp.solve(self.time_left_s * SHARE_OF_TIME)
            if result.status == "infeasible" and math.isinf(self._ceiling):
                return "impossible"
            least = max(0, math.ceil(result.bound - COUNT_TOLERANCE)) if goal == "missing" else missing_max
            self._best.raise_bound(least, 0.0 if goal == "missing" else min(result.bound, self._ceiling))
            if result.values is None:
                return "stopped"
            unseen = self._use(model, result.values, missing_max, goal)
            if result.status == "stopped" or (not unseen.any() and math.isinf(self._best.missing)):
                return "stopped"
            is_met = self._best.missing <= least if goal == "missing" else self._best.is_met
            if is_met or not unseen.any():
                return "proven"
            self._watched |= unseen
            if goal == "cost" and self._best.missing == missing_max:
                self._drop_candidates(missing_max)
        return "stopped"

    def _drop_candidates(self, missing_max: int) -> None:
        """Drops the choices with which no placement costs less than the best one, by the program without integers."""
        while self.time_left_s > 0:
            problem, ceiling = self._candidates, self._best.cost_besides_missing
            model = Model(problem, watched=self._watched, missing_max=missing_max)
            relaxed = model.milp.solve(self.time_left_s * SHARE_OF_TIME, is_relaxed=True)
            if relaxed.reduced_costs is None or math.isinf(relaxed.bound):
                return
            least = relaxed.bound + np.append(relaxed.reduced_costs, np.inf)
            can_primary = least[model.columns.primary] < ceiling
            can_backup = least[model.columns.backup] < ceiling
            self._candidates = replace(problem, can_primary=can_primary, can_backup=can_backup)
            self._ceiling = min(self._ceiling, ceiling)
            if self._watched.all() or not _is_small(self._candidates):
                return
            self._watched[:] = True

    def _use(self, model: Model, values: Floats, missing_max: int, goal: Goal) -> Bools:
        """Offers what the program chose or, if that cannot be, the best backups for its primaries.

        Says which pairs of domain and helper must be watched for the program not to choose so again; none if it can be.
        """
        problem = self._problem
        primaries = counts_of(values, model.columns.primary)
        pairs = paired(primaries, counts_of(values, model.columns.backup), problem.domain)
        if pairs is not None and math.isfinite(self._best.offer(named(problem, pairs))):
            return np.zeros_like(self._watched)
        model = Model(
            problem,
            watched=np.ones_like(self._watched),
            missing_max=missing_max,
            primaries=primaries,
            goal=goal,
        )
        result = model.milp.solve(self.time_left_s)
        if result.values is not None:
            moved = {domain: counts_of(result.values, columns) for domain, columns in model.columns.moved.items()}
            self._best.offer(named(problem, paired_by_domain(primaries, moved, problem.domain)))
        unseen = np.zeros_like(self._watched) if pairs is None else overloaded(problem, pairs) & ~self._watched
        return unseen if unseen.any() else ~self._watched


def _is_small(problem: Problem) -> bool:
    return bool(problem.can_backup.sum() * problem.domains <= COLUMNS_AT_ONCE)
