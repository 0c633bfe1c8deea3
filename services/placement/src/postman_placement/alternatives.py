# SPDX-License-Identifier: Apache-2.0
"""What if a demand had another primary, all else unchanged: what its own cost would be, and what speaks against it."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from itertools import islice

from postman_placement.domain import Assignment, Demand, Helper, amount
from postman_placement.evaluate import Judge, Loads, exceeds
from postman_placement.latency import Way

ALTERNATIVES_MAX = 3


@dataclass(frozen=True, slots=True)
class Alternative:
    """A helper that is not the primary. `cost_difference` is None if it cannot be."""

    helper: Helper
    total_us: float | None
    cost_difference: float | None
    reason: str


@dataclass(frozen=True, slots=True)
class _Worst:
    """The most that a helper carries, and by whose death; None with all alive."""

    rate_pps: float
    domain: str | None


class Alternatives:
    """Finds the alternatives of the assignments of one placement."""

    def __init__(self, judge: Judge, assignments: tuple[Assignment, ...]) -> None:
        self._judge = judge
        self._loads = judge.loads(assignments)
        self._worst = _worst(judge, self._loads)
        self._users = Counter(
            helper_id for one in assignments for helper_id in (one.primary, one.backup) if helper_id is not None
        )
        self._by_distance: dict[tuple[str, tuple[str, ...]], list[tuple[Helper, Way | None]]] = {}

    def best(self, demand: Demand, assignment: Assignment) -> list[Alternative]:
        """The nearest helpers besides the primary, which for one demand are the cheapest too."""
        others = (pair for pair in self._nearest(demand) if pair[0].helper_id != assignment.primary)
        return [self._alternative(demand, assignment, *pair) for pair in islice(others, ALTERNATIVES_MAX)]

    def why_no_backup(self, demand: Demand, primary: Helper) -> str:
        """What keeps the helpers outside the primary's failure domain from being the backup."""
        judge, domain = self._judge, self._judge.domain(primary)
        outside = [pair for pair in self._nearest(demand) if judge.domain(pair[0]) != domain]
        if not outside:
            return f"there is no helper outside {domain}"
        reasons = [(helper, self._cannot(demand, helper, way, helper.capacity_pps)) for helper, way in outside]
        possible = [helper for helper, reason in reasons if reason is None]
        if not possible:
            helper, reason = reasons[0]
            return f"no helper outside {domain} can be; the nearest, {helper}: {reason}"
        helper = possible[0]
        over_pps = self._loads.after(domain, helper.helper_id) + demand.rate_pps - helper.capacity_pps
        return (
            f"of {len(possible)} helpers outside {domain} none has room when that dies; the nearest, {helper}, would "
            f"have {amount(over_pps)} pps too many"
        )

    def _nearest(self, demand: Demand) -> list[tuple[Helper, Way | None]]:
        """All helpers by the length of their way; those without one at the end."""
        ends = (demand.site, demand.server_sites)
        if ends not in self._by_distance:
            ways = [(helper, self._judge.way(demand, helper)) for helper in self._judge.helpers.values()]
            ways.sort(key=lambda pair: (math.inf if pair[1] is None else pair[1].total_us, pair[0].helper_id))
            self._by_distance[ends] = ways
        return self._by_distance[ends]

    def _alternative(self, demand: Demand, assignment: Assignment, helper: Helper, way: Way | None) -> Alternative:
        judge = self._judge
        total_us = None if way is None else way.total_us
        live_pps = (1 - judge.options.headroom) * helper.capacity_pps
        impossible = self._cannot(demand, helper, way, live_pps)
        if impossible is not None:
            return Alternative(helper, total_us, None, impossible)
        difference = judge.own_cost(demand, helper) - judge.own_cost(demand, judge.helpers[assignment.primary])
        reason = (
            self._shares_domain_with_backup(assignment, helper)
            or self._no_room(demand, assignment, helper, live_pps)
            or self._dearer(assignment, helper, difference)
        )
        return Alternative(helper, total_us, difference, reason)

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

    def _shares_domain_with_backup(self, assignment: Assignment, helper: Helper) -> str | None:
        if assignment.backup is None:
            return None
        backup, domain = self._judge.helpers[assignment.backup], self._judge.domain(helper)
        if self._judge.domain(backup) != domain:
            return None
        return "it is the backup" if backup == helper else f"it is in {domain}, as the backup {backup} is"

    def _no_room(self, demand: Demand, assignment: Assignment, helper: Helper, live_pps: float) -> str | None:
        """Which capacity would be exceeded, and by how much."""
        judge, rate_pps = self._judge, demand.rate_pps
        alive_pps = self._loads.alive.get(helper.helper_id, 0.0) + rate_pps
        if exceeds(alive_pps, live_pps):
            return f"{amount(alive_pps - live_pps)} pps above what it may carry with all alive"
        worst = self._worst[helper.helper_id]
        if exceeds(worst.rate_pps + rate_pps, helper.capacity_pps):
            over_pps = worst.rate_pps + rate_pps - helper.capacity_pps
            return f"{amount(over_pps)} pps above its capacity when {worst.domain} dies"
        domain = judge.domain(helper)
        if assignment.backup is None or domain == judge.domain(judge.helpers[assignment.primary]):
            return None
        backup = judge.helpers[assignment.backup]
        moved_pps = self._loads.after(domain, backup.helper_id) + rate_pps
        if exceeds(moved_pps, backup.capacity_pps):
            over_pps = moved_pps - backup.capacity_pps
            return f"the backup {backup} would be {amount(over_pps)} pps above its capacity when {domain} dies"
        return None

    def _dearer(self, assignment: Assignment, helper: Helper, difference: float) -> str:
        """What it costs more, with the helpers that are used only then or only now."""
        primary = self._judge.helpers[assignment.primary]
        more = helper.cost if not self._users[helper.helper_id] else 0.0
        less = primary.cost if self._users[assignment.primary] == 1 else 0.0
        whole = difference + more - less
        besides = f", of which {amount(more - less)} for helpers" if more != less else ""
        if whole > 0:
            return f"costs {amount(whole)} more{besides}"
        if whole == 0:
            return f"costs as much{besides}"
        return f"would cost {amount(-whole)} less{besides}; the time was too short to find that"


def _worst(judge: Judge, loads: Loads) -> dict[int, _Worst]:
    """Of each helper."""
    worst = {helper_id: _Worst(loads.alive.get(helper_id, 0.0), None) for helper_id in judge.helpers}
    for domain, helper_id in sorted(loads.moved):
        rate_pps = loads.after(domain, helper_id)
        if rate_pps > worst[helper_id].rate_pps:
            worst[helper_id] = _Worst(rate_pps, domain)
    return worst
