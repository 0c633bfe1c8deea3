# SPDX-License-Identifier: Apache-2.0
"""A solution with all that is said of it, in the form in which it leaves the process that solved."""

from __future__ import annotations

from postman_placement.domain import Options, Snapshot, Solution
from postman_placement.explain import explain
from postman_placement.solver_job import Answered


def answered(snapshot: Snapshot, options: Options, solution: Solution) -> Answered:
    """Judges and explains a solution."""
    placed = explain(snapshot, options, solution)
    return Answered(
        assignments=solution.assignments,
        cost=placed.cost,
        bound=placed.bound,
        gap=placed.gap,
        is_optimal=placed.is_optimal,
        helpers=placed.helpers,
        explained=b"[" + b",".join(one.model_dump_json().encode() for one in placed.assignments) + b"]",
        notes=placed.notes,
    )
