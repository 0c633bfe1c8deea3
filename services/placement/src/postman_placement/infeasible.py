# SPDX-License-Identifier: Apache-2.0
"""Why no placement keeps all constraints: which ones bind, with names and numbers.

First what is plain to see of one demand, of those that share their helpers, or of all. Where nothing is, the program is
solved once more with capacities that may grow, for the least growth: what grows is what is too small.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from postman_placement.domain import amount, listed
from postman_placement.evaluate import exceeds
from postman_placement.model import Model
from postman_placement.problem import Bools, Problem

REASONS_MAX = 10


def reasons_at_once(problem: Problem) -> tuple[str, ...]:
    """What can be seen without solving; nothing if there may be a placement."""
    if not problem.helpers:
        return ("there is no helper that may be used",)
    reasons = list(_of_single_demands(problem))
    if not reasons:
        reasons = [*_of_shared_helpers(problem), *_of_failures(problem)]
    if len(reasons) > REASONS_MAX:
        reasons[REASONS_MAX:] = [f"and {len(reasons) - REASONS_MAX} more reasons of this kind"]
    return tuple(reasons)


def reasons_by_slack(problem: Problem, time_s: float) -> tuple[str, ...]:
    """Which capacities must grow, for the demands to fit without being split."""
    needs_backups = problem.options.backup_required
    model = Model(
        problem,
        watched=np.full((problem.domains, len(problem.helpers)), needs_backups),
        missing_max=0 if needs_backups else int(problem.count.sum()),
        goal="growth",
    )
    result = model.milp.solve(time_s)
    what = "the demands do not fit into the helpers' capacities, as each is on one helper at a time"
    if needs_backups:
        what += " and its backup must have room when the primary's failure domain dies"
    if result.values is None:
        return (what,)
    grown = result.values[model.columns.grown] * problem.capacity
    needed = [
        f"{helper} at {helper.site} by {amount(pps)} to {amount(helper.capacity_pps + pps)} pps"
        for helper, pps in zip(problem.helpers, grown.tolist(), strict=True)
        if exceeds(helper.capacity_pps + pps, helper.capacity_pps)
    ]
    least = "the least growth that would do is" if result.status == "optimal" else "it would do to grow"
    return (what, f"{least}: {listed(needed)}") if needed else (what,)


def _of_single_demands(problem: Problem) -> Iterator[str]:
    for row, members in enumerate(problem.members):
        if not problem.can_primary[row].any():
            reason = _no_primary(problem, row)
        elif problem.options.backup_required and not problem.can_pair[row]:
            reason = _no_pair(problem, row)
        else:
            continue
        yield f"{listed([str(demand) for demand in members])}: {reason}"


def _no_primary(problem: Problem, row: int) -> str:
    demand, total_us = problem.members[row][0], problem.total_us[row]
    nearest = int(np.argmin(total_us))
    if not np.isfinite(total_us[nearest]):
        return (
            f"no helper has a measurement or a path both to {demand.site} and to {demand.service} at "
            f"{listed(sorted(demand.server_sites)) if demand.server_sites else 'no known site'}"
        )
    if demand.latency_us_max is not None and total_us[nearest] > demand.latency_us_max:
        return (
            f"the nearest helper, {problem.helpers[nearest]}, takes {amount(total_us[nearest])} us and "
            f"latency_us_max is {amount(demand.latency_us_max)} us"
        )
    live_pps = np.where(total_us <= _bound_us(problem, row), problem.capacity, 0.0) * (1 - problem.options.headroom)
    largest = int(np.argmax(live_pps))
    return (
        f"its {amount(demand.rate_pps)} pps are more than any helper within its reach may carry; the largest, "
        f"{problem.helpers[largest]}, may carry {amount(live_pps[largest])} pps {_with_headroom(problem)}"
    )


def _bound_us(problem: Problem, row: int) -> float:
    bound_us = problem.members[row][0].latency_us_max
    return float(np.finfo(np.float64).max) if bound_us is None else bound_us


def _with_headroom(problem: Problem) -> str:
    return f"with a headroom of {problem.options.headroom:.4g}"


def _no_pair(problem: Problem, row: int) -> str:
    usable = [helper.site for helper, can in zip(problem.helpers, problem.can_backup[row], strict=True) if can]
    where = listed(sorted(set(usable)))
    return (
        "a backup is required, and no two helpers that it may use are in different failure domains (those that reach "
        f"it, within its bound, with capacity for its {amount(float(problem.rate[row]))} pps, are at {where})"
    )


def _of_shared_helpers(problem: Problem) -> Iterator[str]:
    """Demands that may use no others than these helpers, together against the capacity of these."""
    live_pps = (1 - problem.options.headroom) * problem.capacity
    patterns = np.unique(np.vstack([problem.can_primary, np.ones((1, len(live_pps)), dtype=np.bool_)]), axis=0)
    for pattern in patterns:
        is_confined = ~(problem.can_primary & ~pattern).any(axis=1)
        rate_pps = float((problem.rate * problem.count)[is_confined].sum())
        if exceeds(rate_pps, float(live_pps[pattern].sum())):
            yield (
                f"{_demands(problem, is_confined)} have {amount(rate_pps)} pps together; all helpers that they may "
                f"use ({_helpers(problem, pattern)}) may carry {amount(float(live_pps[pattern].sum()))} pps "
                f"{_with_headroom(problem)}"
            )


def _of_failures(problem: Problem) -> Iterator[str]:
    """With a backup for everybody, all demands must fit into what is left when a failure domain dies."""
    if not problem.options.backup_required:
        return
    rate_pps = float(problem.rate @ problem.count)
    for domain in range(problem.domains):
        is_left = problem.domain != domain
        left_pps = float(problem.capacity[is_left].sum())
        if exceeds(rate_pps, left_pps):
            yield (
                f"a backup is required, and when {_helpers(problem, ~is_left)} fail together, the other helpers can "
                f"carry {amount(left_pps)} pps of {amount(rate_pps)} pps"
            )


def _demands(problem: Problem, which: Bools) -> str:
    names = [str(demand) for members, is_in in zip(problem.members, which, strict=True) if is_in for demand in members]
    return f"all {len(names)} demands" if which.all() else f"the demands {listed(names)}"


def _helpers(problem: Problem, which: Bools) -> str:
    return listed([str(helper) for helper, is_in in zip(problem.helpers, which, strict=True) if is_in])
