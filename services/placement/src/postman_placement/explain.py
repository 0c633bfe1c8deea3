# SPDX-License-Identifier: Apache-2.0
"""A placement as the border shows it: every cost in its parts, and of each demand the helpers that were not chosen.

An alternative is the same placement with one demand's primary moved to another helper and nothing else changed: what
that would do to the demand's own cost, and which constraint it would break, is computed and not estimated.
"""

from __future__ import annotations

from dataclasses import dataclass

from postman_contracts import rest_placement as rest
from postman_placement.alternatives import Alternatives
from postman_placement.domain import Assignment, Demand, Helper, Options, Snapshot, Solution
from postman_placement.evaluate import Evaluation, Judge, is_met

TEXT_MAX = 200
"""Characters of a `Text` of the border."""


@dataclass(frozen=True, slots=True)
class Placed:
    """The parts of `rest_placement.Placement` that are the solver's to say."""

    is_optimal: bool
    cost: rest.CostParts
    bound: float
    gap: float
    helpers: tuple[rest.UsedHelper, ...]
    assignments: tuple[rest.ExplainedAssignment, ...]
    notes: tuple[str, ...]


def explain(snapshot: Snapshot, options: Options, solution: Solution) -> Placed:
    """The solution evaluated once more, and explained."""
    judge = Judge(snapshot, options)
    evaluation = judge.evaluate(solution.assignments)
    assert not evaluation.violations, evaluation.violations
    bound = min(solution.bound, evaluation.total)
    explainer = _Explainer(judge, solution)
    return Placed(
        is_optimal=is_met(evaluation, bound),
        cost=_parts(evaluation),
        bound=bound,
        gap=(evaluation.total - bound) / evaluation.total if evaluation.total > 0 else 0.0,
        helpers=_helpers(judge, solution),
        assignments=tuple(explainer.assignment(one) for one in solution.assignments),
        notes=_notes(solution),
    )


def _parts(evaluation: Evaluation) -> rest.CostParts:
    return rest.CostParts(
        primary=evaluation.primary,
        backup=evaluation.backup,
        helpers=evaluation.helpers,
        missing_backups=evaluation.missing_backups,
        total=evaluation.total,
    )


def _helpers(judge: Judge, solution: Solution) -> tuple[rest.UsedHelper, ...]:
    """All that were not excluded, by id."""
    loads = judge.loads(solution.assignments)
    backups = {assignment.backup for assignment in solution.assignments}
    worst: dict[int, float] = {}
    for domain, helper_id in loads.moved:
        worst[helper_id] = max(worst.get(helper_id, 0.0), loads.after(domain, helper_id))
    found = []
    for helper in judge.available():
        rate_pps = loads.alive.get(helper.helper_id, 0.0)
        is_backup = helper.helper_id in backups
        found.append(
            rest.UsedHelper(
                helper_id=helper.helper_id,
                name=helper.name,
                site=helper.site,
                role="primary" if rate_pps > 0 else "backup" if is_backup else "standby",
                rate_pps=rate_pps,
                capacity_pps=helper.capacity_pps,
                worst_failure_rate_pps=worst.get(helper.helper_id, rate_pps),
                cost=helper.cost if rate_pps > 0 or is_backup else 0.0,
            )
        )
    return tuple(found)


def _notes(solution: Solution) -> tuple[str, ...]:
    missing = sum(assignment.backup is None for assignment in solution.assignments)
    if not missing:
        return solution.notes
    note = f"{missing} of {len(solution.assignments)} demands have no backup: backup_missing_reason says why"
    return (*solution.notes, note)


class _Explainer:
    """Explains the assignments of one placement."""

    def __init__(self, judge: Judge, solution: Solution) -> None:
        self._judge = judge
        self._alternatives = Alternatives(judge, solution.assignments)

    def assignment(self, assignment: Assignment) -> rest.ExplainedAssignment:
        """One decision."""
        judge = self._judge
        demand = judge.demands[assignment.key]
        primary = self._way(demand, judge.helpers[assignment.primary], 1.0)
        backup, reason, rest_of_cost = None, None, judge.penalty
        if assignment.backup is None:
            reason = self._alternatives.why_no_backup(demand, judge.helpers[assignment.primary])[:TEXT_MAX]
        else:
            backup = self._way(demand, judge.helpers[assignment.backup], judge.options.backup_weight)
            rest_of_cost = backup.cost
        return rest.ExplainedAssignment(
            group=demand.group,
            service=demand.service,
            rate_pps=demand.rate_pps,
            weight=demand.weight,
            primary=primary,
            backup=backup,
            backup_missing_reason=reason,
            cost=primary.cost + rest_of_cost,
            alternatives=[
                rest.Alternative(
                    helper_id=one.helper.helper_id,
                    site=one.helper.site,
                    total_us=one.total_us,
                    cost_difference=one.cost_difference,
                    reason=one.reason[:TEXT_MAX],
                )
                for one in self._alternatives.best(demand, assignment)
            ],
        )

    def _way(self, demand: Demand, helper: Helper, share: float) -> rest.Way:
        way = self._judge.way(demand, helper)
        assert way is not None
        return rest.Way(
            helper_id=helper.helper_id,
            site=helper.site,
            client_leg_us=way.client_leg.rtt_us,
            helper_us=way.helper_us,
            server_leg_us=way.server_leg.rtt_us,
            total_us=way.total_us,
            measured=way.is_measured,
            cost=share * self._judge.own_cost(demand, helper),
        )
