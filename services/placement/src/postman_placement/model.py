# SPDX-License-Identifier: Apache-2.0
"""The placement as a mixed-integer program.

For a class c of n_c equal demands, helpers j and k, and a failure domain F (x_cF, z_cF: sums over the helpers in F):
  x_cj  members whose primary is j              z_ck  members whose backup is k        m_c  members without a backup
  y_j   whether j is used (where that costs)    w_cFk members with a primary in F and the backup k
  minimise  sum rate weight (l_cj x_cj + backup_weight l_ck z_ck) + sum cost_j y_j
  one primary      sum_j x_cj = n_c                            one backup     sum_k z_ck + m_c = n_c
  disjoint         x_cF + z_cF <= n_c                          used           x_cj + z_cj <= n_c y_j
  all alive        sum_c rate_c x_cj <= (1 - headroom) K_j     missing        sum_c m_c <= the number allowed
  F dies           sum_c rate_c (x_ck + w_cFk) <= K_k for each k outside F,
                   sum_k w_cFk + e_cF = x_cF,  sum_F w_cFk <= z_ck,  sum_F e_cF <= m_c
The w of all domains say which pairs were chosen, with far fewer columns than one for each pair of helpers. Only pairs
of F and k that are *watched* have a column w and a row of capacity; e counts who is elsewhere, without a backup or at
one that is not watched. With fewer pairs the program is a relaxation, whose bound holds for the whole. Missing backups
are counted and limited, not priced: their penalty is a constant once their number is known, and would drown all else.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from postman_placement.milp import Floats, Ints, Milp
from postman_placement.problem import Bools, Problem

Goal = Literal["cost", "missing", "growth"]
"""What is minimised: the cost; the number of missing backups; or by how much capacities would have to grow."""


@dataclass(frozen=True)
class Columns:
    """Which column stands for what; -1 where there is none."""

    primary: Ints
    backup: Ints
    missing: Ints
    used: Ints
    grown: Ints
    """By which share of itself a helper's capacity grows, if that is what is asked for."""
    moved: dict[int, Ints]
    """Of each domain that is watched: w of each class and helper."""
    elsewhere: dict[int, Ints]
    """Of each domain that is watched: e of each class."""


class Model:
    """One program for one problem. `primaries` fixes x; else identical helpers of a site are put in order."""

    def __init__(
        self,
        problem: Problem,
        *,
        watched: Bools,
        missing_max: int,
        primaries: Ints | None = None,
        goal: Goal = "cost",
    ) -> None:
        self.problem = problem
        self.milp = Milp()
        self._primaries = primaries
        self._goal = goal
        self.columns = self._add_columns(missing_max)
        self._assign(missing_max)
        is_inside = problem.domain[None, :] == np.arange(problem.domains)[:, None]
        self._watched = watched & ~is_inside
        self._disjoint(np.nonzero(~self._watched.any(axis=1))[0].tolist())
        self._used()
        self._all_alive()
        for domain in np.nonzero(self._watched.any(axis=1))[0].tolist():
            self._domain_dies(domain)
        self._share_backups()
        if primaries is None:
            self._order_identical_helpers()

    def _add_columns(self, missing_max: int) -> Columns:
        problem = self.problem
        count = problem.count.astype(np.float64)
        price = 1.0 if self._goal == "cost" else 0.0
        can_primary = problem.can_primary if self._primaries is None else self._primaries > 0
        primary, backup = np.full(problem.cost.shape, -1), np.full(problem.cost.shape, -1)
        row, column = np.nonzero(can_primary)
        fixed = None if self._primaries is None else self._primaries[row, column].astype(np.float64)
        primary[row, column] = self.milp.add_columns(
            problem.cost[row, column] * price,
            count[row] if fixed is None else fixed,
            lower=0.0 if fixed is None else fixed,
        )
        row, column = np.nonzero(problem.can_backup)
        cost = problem.cost[row, column] * problem.options.backup_weight * price
        backup[row, column] = self.milp.add_columns(cost, count[row])
        # Without a choice of who goes without a backup there is nothing to decide.
        lacks = np.full(len(count), missing_max > int(count[~problem.can_pair].sum())) | ~problem.can_pair
        missing = np.full(len(count), -1)
        missing[lacks] = self.milp.add_columns(
            np.full(int(lacks.sum()), 1.0 if self._goal == "missing" else 0.0), count[lacks]
        )
        used = np.full(len(problem.helpers), -1)
        is_paid = (problem.helper_cost > 0) & (price > 0)
        used[is_paid] = self.milp.add_columns(problem.helper_cost[is_paid], np.ones(int(is_paid.sum())))
        grown = np.full(len(problem.helpers), -1)
        if self._goal == "growth":
            grown = self.milp.add_columns(problem.capacity, np.full(len(grown), np.inf), is_integer=False)
        return Columns(primary, backup, missing, used, grown, {}, {})

    def _assign(self, missing_max: int) -> None:
        count, classes = self.problem.count, len(self.problem.count)
        for columns in (self.columns.primary, np.column_stack([self.columns.backup, self.columns.missing])):
            rows = self.milp.add_rows(count, count, classes)
            self._put(rows[:, None], columns, 1.0)
        if (self.columns.missing >= 0).any():
            row = self.milp.add_rows(0, missing_max, 1)
            self._put(row, self.columns.missing, 1.0)

    def _disjoint(self, domains: list[int]) -> None:
        for domain in domains:
            inside = self.problem.domain == domain
            rows = self.milp.add_rows(-np.inf, self.problem.count, len(self.problem.count))
            self._put(rows[:, None], self.columns.primary[:, inside], 1.0)
            self._put(rows[:, None], self.columns.backup[:, inside], 1.0)

    def _used(self) -> None:
        """A helper that somebody uses is paid for."""
        used = np.nonzero(self.columns.used >= 0)[0]
        for helper in used:
            rows = self.milp.add_rows(-np.inf, 0, len(self.problem.count))
            self._put(rows, self.columns.primary[:, helper], 1.0)
            self._put(rows, self.columns.backup[:, helper], 1.0)
            self._put(rows, self.columns.used[[helper]], -self.problem.count.astype(np.float64))

    def _all_alive(self) -> None:
        rows = self._capacity_rows(np.arange(len(self.problem.helpers)))
        self._put(rows[None, :], self.columns.primary, self._share() / (1 - self.problem.options.headroom))

    def _capacity_rows(self, helpers: Ints) -> Ints:
        """One row for each of them, in shares of what it may carry: at most 1, or y where a helper is paid for."""
        used, grown = self.columns.used[helpers], self.columns.grown[helpers]
        rows = self.milp.add_rows(-np.inf, np.where(used >= 0, 0.0, 1.0), len(helpers))
        self._put(rows, used, -1.0)
        self._put(rows, grown, -1.0)
        return rows

    def _share(self) -> Floats:
        """Of each helper's capacity, what one member of each class takes."""
        return self.problem.rate[:, None] / self.problem.capacity[None, :]

    def _domain_dies(self, domain: int) -> None:
        """Who had the primary there is with the backup, and no watched helper has more than its whole capacity."""
        problem, columns = self.problem, self.columns
        inside, watched = problem.domain == domain, self._watched[domain]
        others = np.where(inside | watched, -1, columns.backup)
        concerned = np.asarray((columns.primary[:, inside] >= 0).any(axis=1))
        row, helper = np.nonzero((columns.backup >= 0) & watched & concerned[:, None])
        count = problem.count.astype(np.float64)
        moved = columns.moved[domain] = np.full(problem.cost.shape, -1)
        moved[row, helper] = self.milp.add_columns(np.zeros(len(row)), count[row], is_integer=count[row] > 1)
        elsewhere = columns.elsewhere[domain] = np.full(len(count), -1)
        left = concerned & ((columns.missing >= 0) | (others >= 0).any(axis=1))
        elsewhere[left] = self.milp.add_columns(np.zeros(int(left.sum())), count[left], is_integer=count[left] > 1)
        rows = self.milp.add_rows(0, 0, len(count))
        self._put(rows[:, None], moved, 1.0)
        self._put(rows, elsewhere, 1.0)
        self._put(rows[:, None], columns.primary[:, inside], -1.0)
        rows = self.milp.add_rows(-np.inf, 0, len(count))
        self._put(rows, elsewhere, 1.0)
        self._put(rows, columns.missing, -1.0)
        self._put(rows[:, None], others, -1.0)
        helpers = np.nonzero(watched)[0]
        rows = self._capacity_rows(helpers)
        self._put(rows[None, :], columns.primary[:, helpers], self._share()[:, helpers])
        self._put(rows[None, :], moved[:, helpers], self._share()[:, helpers])

    def _share_backups(self) -> None:
        """A backup, or the lack of one, is that of one member, whose primary is in one domain."""
        columns = self.columns
        if not columns.moved:
            return
        for helper in range(len(self.problem.helpers)):
            rows = self.milp.add_rows(-np.inf, 0, len(columns.missing))
            self._put(rows, columns.backup[:, helper], -1.0)
            for moved in columns.moved.values():
                self._put(rows, moved[:, helper], 1.0)
        is_inside = self.problem.domain[None, :] == np.array(list(columns.moved))[:, None]
        unwatched = (~self._watched[list(columns.moved)] & ~is_inside).any(axis=0)
        rows = self.milp.add_rows(-np.inf, 0, len(columns.missing))
        self._put(rows, columns.missing, -1.0)
        self._put(rows[:, None], columns.backup[:, unwatched], -1.0)
        for elsewhere, moved in zip(columns.elsewhere.values(), columns.moved.values(), strict=True):
            self._put(rows, elsewhere, 1.0)
            self._put(rows[:, None], moved[:, unwatched], 1.0)

    def _order_identical_helpers(self) -> None:
        """Of two helpers of a site the first has no smaller load and is used if the second is: less to try."""
        share, columns = self._share(), self.columns
        for first, second in _twins(self.problem):
            row = self.milp.add_rows(0, np.inf, 1)
            self._put(row, columns.primary[:, first], share[:, first])
            self._put(row, columns.primary[:, second], -share[:, second])
            if columns.used[first] >= 0:
                row = self.milp.add_rows(0, np.inf, 1)
                self._put(row, columns.used[[first]], 1.0)
                self._put(row, columns.used[[second]], -1.0)

    def _put(self, rows: Ints, columns: Ints, values: Floats | float) -> None:
        """Sets coefficients where there is a column."""
        rows, columns, values = np.broadcast_arrays(rows, columns, values)
        there = columns >= 0
        self.milp.put(rows[there], columns[there], values[there])


def _twins(problem: Problem) -> list[tuple[int, int]]:
    """Neighbouring helpers that differ in nothing but their ids."""
    alike: dict[object, list[int]] = defaultdict(list)
    for index, helper in enumerate(problem.helpers):
        alike[helper.site, helper.capacity_pps, helper.cost, helper.delay_us].append(index)
    return [pair for group in alike.values() for pair in pairwise(group)]
