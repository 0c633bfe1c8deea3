# SPDX-License-Identifier: Apache-2.0
"""What if a demand had another primary, all else unchanged: what its own cost would be, and what speaks against it.

Its backup stays, unless the other primary is in the backup's failure domain: then its primary of now is the backup.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from postman_placement.domain import Assignment, Demand, Helper, amount
from postman_placement.evaluate import Judge, exceeds
from postman_placement.latency import Totals, Way

ALTERNATIVES_MAX = 3


@dataclass(frozen=True, slots=True)
class Alternative:
    """A helper that is not the primary. `cost_difference` is None if it cannot be."""

    helper: Helper
    total_us: float | None
    cost_difference: float | None
    reason: str


class Alternatives:
    """Finds the alternatives of the assignments of one placement."""

    def __init__(self, judge: Judge, assignments: tuple[Assignment, ...]) -> None:
        self._judge = judge
        self._loads = judge.loads(assignments)
        self._moved: dict[int, dict[str, float]] = defaultdict(dict)
        for (domain, helper_id), rate_pps in sorted(self._loads.moved.items()):
            self._moved[helper_id][domain] = rate_pps
        self._users = Counter(
            helper_id for one in assignments for helper_id in (one.primary, one.backup) if helper_id is not None
        )
        self._helpers = [judge.helpers[helper_id] for helper_id in sorted(judge.helpers)]
        self._totals = Totals(judge.trips, self._helpers)

    def best(self, demand: Demand, assignment: Assignment) -> list[Alternative]:
        """The nearest helpers besides the primary, which for one demand are the cheapest too."""
        others = (helper for helper in self._nearest(demand) if helper.helper_id != assignment.primary)
        return [self._alternative(demand, assignment, helper) for helper in islice(others, ALTERNATIVES_MAX)]

    def why_no_backup(self, demand: Demand, primary: Helper) -> str:
        """What keeps the helpers outside the primary's failure domain from being the backup."""
        judge, domain = self._judge, self._judge.domain(primary)
        first_reason = None
        for helper in self._nearest(demand):
            if judge.domain(helper) == domain:
                continue
            reason = self._cannot(demand, helper, judge.way(demand, helper), helper.capacity_pps)
            if reason is None:
                return self._no_room_for_backup(demand, helper, domain)
            first_reason = first_reason or f"no helper outside {domain} can be; the nearest, {helper}: {reason}"
        return first_reason or f"there is no helper outside {domain}"

    def _no_room_for_backup(self, demand: Demand, helper: Helper, domain: str) -> str:
        over_pps = self._loads.after(domain, helper.helper_id) + demand.rate_pps - helper.capacity_pps
        if over_pps <= 0:
            return f"{helper} has room for it; that was not found in the time"
        return (
            f"no helper outside {domain} has room when that dies; the nearest that it may use, {helper}, would have "
            f"{amount(over_pps)} pps too many"
        )

    def _nearest(self, demand: Demand) -> Iterator[Helper]:
        """All helpers by the length of their way, then by id; those without a way at the end."""
        for index in np.argsort(self._totals.of(demand), kind="stable").tolist():
            yield self._helpers[index]

    def _alternative(self, demand: Demand, assignment: Assignment, helper: Helper) -> Alternative:
        way = self._judge.way(demand, helper)
        total_us = None if way is None else way.total_us
        live_pps = (1 - self._judge.options.headroom) * helper.capacity_pps
        impossible = self._cannot(demand, helper, way, live_pps)
        if impossible is not None:
            return Alternative(helper, total_us, None, impossible)
        instead = self._instead(assignment, helper)
        difference = self._own_cost(demand, instead) - self._own_cost(demand, assignment)
        reason = self._no_room(demand, assignment, instead) or self._dearer(assignment, instead, difference)
        if instead.backup != assignment.backup:
            reason = f"{reason} (with {self._judge.helpers[assignment.primary]} as backup)"
        return Alternative(helper, total_us, difference, reason)

    def _instead(self, assignment: Assignment, helper: Helper) -> Assignment:
        """The assignment with this primary."""
        backup = assignment.backup
        if backup is not None and self._judge.domain(self._judge.helpers[backup]) == self._judge.domain(helper):
            backup = assignment.primary
        return replace(assignment, primary=helper.helper_id, backup=backup)

    def _own_cost(self, demand: Demand, assignment: Assignment) -> float:
        """What the demand itself pays; a missing backup stays missing, so that its penalty does not matter here."""
        cost = self._judge.own_cost(demand, self._judge.helpers[assignment.primary])
        if assignment.backup is not None:
            backup = self._judge.helpers[assignment.backup]
            cost += self._judge.options.backup_weight * self._judge.own_cost(demand, backup)
        return cost

    def _cannot(self, demand: Demand, helper: Helper, way: Way | None, limit_pps: float) -> str | None:
        """Why this demand cannot use this helper at all, whatever the others do."""
        if helper.helper_id in self._judge.options.excluded_helpers:
            return "excluded by the request"
        if way is None:
            return f"no measurement and no path leads from {demand.site} by {helper.site} to {demand.service}"
        if demand.latency_us_max is not None and way.total_us > demand.latency_us_max:
            return f"{amount(way.total_us)} us is above the bound of {amount(demand.latency_us_max)} us"
        if exceeds(demand.rate_pps, limit_pps):
            return f"{amount(demand.rate_pps)} pps is more than the {amount(limit_pps)} pps that it may carry at all"
        return None

    def _no_room(self, demand: Demand, now: Assignment, instead: Assignment) -> str | None:
        """Which capacity would be exceeded, when, and by how much."""
        judge, rate_pps = self._judge, demand.rate_pps
        primary = judge.helpers[instead.primary]
        live_pps = (1 - judge.options.headroom) * primary.capacity_pps
        alive_pps = self._loads.alive.get(instead.primary, 0.0) + rate_pps
        if exceeds(alive_pps, live_pps):
            return f"{amount(alive_pps - live_pps)} pps above what it may carry with all alive"
        domain_now = judge.domain(judge.helpers[now.primary])
        for domain, moved_pps in self._moved[instead.primary].items():
            given_up_pps = rate_pps if (domain, instead.primary) == (domain_now, now.backup) else 0.0
            over_pps = alive_pps + moved_pps - given_up_pps - primary.capacity_pps
            if exceeds(over_pps + primary.capacity_pps, primary.capacity_pps):
                return f"{amount(over_pps)} pps above its capacity when {domain} dies"
        domain = judge.domain(primary)
        if instead.backup is None or (domain, instead.backup) == (domain_now, now.backup):
            return None
        backup = judge.helpers[instead.backup]
        moved_pps = self._loads.after(domain, instead.backup) + rate_pps
        if instead.backup == now.primary:
            moved_pps -= rate_pps  # which is no load of its own any more
        if exceeds(moved_pps, backup.capacity_pps):
            over_pps = moved_pps - backup.capacity_pps
            return f"the backup {backup} would be {amount(over_pps)} pps above its capacity when {domain} dies"
        return None

    def _dearer(self, now: Assignment, instead: Assignment, difference: float) -> str:
        """What the placement would cost more, with the helpers that are used only then and those only now."""
        then_ids, now_ids = _ids(instead), _ids(now)
        opened = sum(self._judge.helpers[one].cost for one in then_ids - now_ids if self._users[one] == 0)
        closed = sum(self._judge.helpers[one].cost for one in now_ids - then_ids if self._users[one] == 1)
        whole = difference + opened - closed
        besides = f", of which {amount(opened - closed)} for helpers" if opened != closed else ""
        if whole > 0:
            return f"costs {amount(whole)} more{besides}"
        if whole == 0:
            return f"costs as much{besides}"
        return f"costs {amount(-whole)} less{besides}; that was not found in the time"


def _ids(assignment: Assignment) -> set[int]:
    return {assignment.primary} if assignment.backup is None else {assignment.primary, assignment.backup}
