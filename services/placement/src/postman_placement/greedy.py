# SPDX-License-Identifier: Apache-2.0
"""A placement at once: the biggest demands first, each by the cheapest helper that has room. It may find none.

Where helpers cost something, each is then tried to be closed, and stays so if that makes the placement cheaper.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from postman_placement.domain import Assignment
from postman_placement.problem import Ints, Problem


def greedy(problem: Problem, offer: Callable[[tuple[Assignment, ...]], float], *, has_time: Callable[[], bool]) -> None:
    """Offers what it finds; `offer` says what that costs. Those that cost most for their capacity are closed first."""
    found = _at_once(problem)
    if found is None:
        return
    cost = offer(found)
    if not problem.helper_cost.any():
        return
    for helper in np.argsort(-problem.helper_cost / problem.capacity, kind="stable").tolist():
        if not has_time():
            return
        is_open = np.arange(len(problem.helpers)) != helper
        fewer = replace(problem, can_primary=problem.can_primary & is_open, can_backup=problem.can_backup & is_open)
        found = _at_once(fewer)
        cost_of_fewer = math.inf if found is None else offer(found)
        if cost_of_fewer < cost:
            problem, cost = fewer, cost_of_fewer


def _at_once(problem: Problem) -> tuple[Assignment, ...] | None:
    """One assignment for each demand; None when a demand was left over."""
    order = [
        (row, member)
        for row in np.argsort(-problem.rate, kind="stable").tolist()
        for member in range(len(problem.members[row]))
    ]
    is_used = np.zeros(len(problem.helpers), dtype=np.bool_)
    load = np.zeros(len(problem.helpers))
    primaries = _primaries(problem, order, is_used, load)
    if primaries is None:
        return None
    backups = _backups(problem, order, primaries, is_used, load)
    found = []
    for (row, member), primary, backup in zip(order, primaries, backups, strict=True):
        demand = problem.members[row][member]
        backup_id = None if backup < 0 else problem.helpers[backup].helper_id
        found.append(Assignment(demand.group, demand.service, problem.helpers[primary].helper_id, backup_id))
    return tuple(sorted(found, key=lambda assignment: assignment.key))


def _primaries(
    problem: Problem, order: list[tuple[int, int]], is_used: np.ndarray, load: np.ndarray
) -> list[int] | None:
    live = (1 - problem.options.headroom) * problem.capacity
    found = []
    for row, _ in order:
        fits = problem.can_primary[row] & (load + problem.rate[row] <= live)
        if not fits.any():
            return None
        cost = np.where(fits, problem.cost[row] + np.where(is_used, 0.0, problem.helper_cost), np.inf)
        best = int(np.argmin(cost))
        load[best] += problem.rate[row]
        is_used[best] = True
        found.append(best)
    return found


def _backups(
    problem: Problem, order: list[tuple[int, int]], primaries: list[int], is_used: np.ndarray, load: np.ndarray
) -> Ints:
    """-1 for who finds no backup with room for it."""
    moved = np.zeros((problem.domains, len(problem.helpers)))
    found = np.full(len(order), -1)
    for index, ((row, _), primary) in enumerate(zip(order, primaries, strict=True)):
        domain = problem.domain[primary]
        fits = problem.can_backup[row] & (problem.domain != domain)
        fits &= load + moved[domain] + problem.rate[row] <= problem.capacity
        if not fits.any():
            continue
        price = np.where(is_used, 0.0, problem.helper_cost)
        price[fits] += problem.options.backup_weight * problem.cost[row, fits]
        best = int(np.argmin(np.where(fits, price, np.inf)))
        moved[domain, best] += problem.rate[row]
        is_used[best] = True
        found[index] = best
    return found
