# SPDX-License-Identifier: Apache-2.0
"""From how many members of a class have which primary and which backup, to who has which pair."""

from __future__ import annotations

import numpy as np

from postman_placement.domain import Assignment
from postman_placement.milp import Floats
from postman_placement.problem import Bools, Ints, Problem

Pairs = list[list[tuple[int, int]]]
"""Of each class, for each member its primary and its backup, or -1 if it has none."""

NO_BACKUP = -1


def counts_of(values: Floats, columns: Ints) -> Ints:
    """The whole numbers that a solution has in these columns; 0 where there is no column."""
    return np.where(columns >= 0, np.rint(values[np.maximum(columns, 0)]), 0).astype(np.int64)


def paired(primaries: Ints, backups: Ints, domain: Ints) -> Pairs | None:
    """Pairs in different domains; None if going through them in order ends with two of one domain."""
    pairs: Pairs = []
    for chosen, spare in zip(primaries, backups, strict=True):
        left = np.repeat(np.arange(len(spare)), spare).tolist()
        mine: list[tuple[int, int]] = []
        for primary in np.repeat(np.arange(len(chosen)), chosen).tolist():
            backup = next((one for one in left if domain[one] != domain[primary]), NO_BACKUP)
            if backup != NO_BACKUP:
                left.remove(backup)
            mine.append((primary, backup))
        if left:
            return None
        pairs.append(mine)
    return pairs


def paired_by_domain(primaries: Ints, moved: dict[int, Ints], domain: Ints) -> Pairs:
    """Pairs as a program with all domains chose them: which backups belong to the primaries of which domain."""
    pairs: Pairs = []
    for row, chosen in enumerate(primaries):
        left = {one: np.repeat(np.arange(len(domain)), counts[row]).tolist() for one, counts in moved.items()}
        mine = []
        for primary in np.repeat(np.arange(len(chosen)), chosen).tolist():
            spare = left[int(domain[primary])]
            mine.append((primary, spare.pop(0) if spare else NO_BACKUP))
        pairs.append(mine)
    return pairs


def named(problem: Problem, pairs: Pairs) -> tuple[Assignment, ...]:
    """The pairs with their names, ordered by group and service. Members of a class take them in order."""
    ids = [helper.helper_id for helper in problem.helpers]
    found = [
        Assignment(demand.group, demand.service, ids[primary], None if backup == NO_BACKUP else ids[backup])
        for members, mine in zip(problem.members, pairs, strict=True)
        for demand, (primary, backup) in zip(members, mine, strict=True)
    ]
    return tuple(sorted(found, key=lambda assignment: assignment.key))


def overloaded(problem: Problem, pairs: Pairs) -> Bools:
    """Of each domain, the helpers to which its death would bring more than their capacity."""
    alive = np.zeros(len(problem.helpers))
    moved = np.zeros((problem.domains, len(problem.helpers)))
    for rate, mine in zip(problem.rate.tolist(), pairs, strict=True):
        for primary, backup in mine:
            alive[primary] += rate
            if backup != NO_BACKUP:
                moved[problem.domain[primary], backup] += rate
    return (moved > 0) & (alive + moved > problem.capacity)
