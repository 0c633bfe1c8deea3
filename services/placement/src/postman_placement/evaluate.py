# SPDX-License-Identifier: Apache-2.0
"""What a placement costs and whether it keeps every constraint, computed from the snapshot and the assignments alone.

Nothing here comes from the solver's program: it is what the solver's answers are judged by.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from postman_placement.domain import Assignment, Demand, Helper, Options, Snapshot
from postman_placement.latency import RoundTrips, Totals, Way

CAPACITY_TOLERANCE = 1e-6
"""Loads count as within a capacity up to this share above it: sums of floating-point rates are not exact."""

OPTIMALITY_TOLERANCE = 1e-6
"""Cost and bound agree if they differ by no more than this share of the cost."""


@dataclass(frozen=True, slots=True)
class Loads:
    """What each helper carries, by its id: with all alive, and with the primaries' failure domain dead."""

    alive: dict[int, float]
    moved: dict[tuple[str, int], float]
    """What comes to a helper besides when this failure domain dies."""

    def after(self, domain: str, helper_id: int) -> float:
        """What a helper outside this domain carries once the domain is dead."""
        return self.alive.get(helper_id, 0.0) + self.moved.get((domain, helper_id), 0.0)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The parts of the cost, and each constraint that is not kept, in words."""

    primary: float
    backup: float
    helpers: float
    missing_backups: float
    violations: tuple[str, ...]

    @property
    def total(self) -> float:
        """All parts."""
        return self.primary + self.backup + self.helpers + self.missing_backups


class Judge:
    """Evaluates placements of one snapshot."""

    def __init__(self, snapshot: Snapshot, options: Options) -> None:
        self.options = options
        self.trips = RoundTrips(snapshot)
        self.demands = {demand.key: demand for demand in snapshot.demands}
        self.helpers = {helper.helper_id: helper for helper in snapshot.helpers}
        self.domain_of = {site.name: site.failure_domain for site in snapshot.sites}
        self.penalty = self._penalty()

    def way(self, demand: Demand, helper: Helper) -> Way | None:
        """The way of a demand by a helper."""
        return self.trips.way(demand, helper)

    def domain(self, helper: Helper) -> str:
        """What a helper fails together with."""
        return self.domain_of[helper.site]

    def available(self) -> list[Helper]:
        """The helpers that are not excluded, by id."""
        excluded = self.options.excluded_helpers
        return [self.helpers[helper_id] for helper_id in sorted(self.helpers) if helper_id not in excluded]

    def _penalty(self) -> float:
        """Of a demand without a backup: twice the cost of everything at its farthest, with all helpers paid for.

        So no saving elsewhere pays for a backup that could have been had.
        """
        helpers, flow_us = self.available(), 0.0
        totals = Totals(self.trips, helpers)
        for demand in self.demands.values():
            total_us = totals.of(demand)
            farthest_us = total_us[np.isfinite(total_us)].max(initial=0.0)
            flow_us += demand.rate_pps * demand.weight * float(farthest_us)
        dearest = (1 + self.options.backup_weight) * flow_us + sum(helper.cost for helper in helpers)
        return 2 * dearest if dearest > 0 else 1.0

    def loads(self, assignments: Iterable[Assignment]) -> Loads:
        """What each helper carries."""
        alive: dict[int, float] = defaultdict(float)
        moved: dict[tuple[str, int], float] = defaultdict(float)
        for assignment in assignments:
            rate_pps = self.demands[assignment.key].rate_pps
            alive[assignment.primary] += rate_pps
            if assignment.backup is not None:
                moved[self.domain(self.helpers[assignment.primary]), assignment.backup] += rate_pps
        return Loads(dict(alive), dict(moved))

    def evaluate(self, assignments: tuple[Assignment, ...]) -> Evaluation:
        """The cost of a placement and what is wrong with it."""
        wrong = list(self._unknown(assignments))
        if wrong:
            return Evaluation(math.inf, 0.0, 0.0, 0.0, tuple(wrong))
        primary = backup = 0.0
        used = set()
        for assignment in assignments:
            demand = self.demands[assignment.key]
            wrong += self._wrong_with(assignment, demand)
            primary += self.own_cost(demand, self.helpers[assignment.primary])
            used.add(assignment.primary)
            if assignment.backup is not None:
                cost = self.own_cost(demand, self.helpers[assignment.backup])
                backup += self.options.backup_weight * cost
                used.add(assignment.backup)
        missing = sum(assignment.backup is None for assignment in assignments)
        wrong += self._overloads(assignments)
        helpers = sum(self.helpers[helper_id].cost for helper_id in sorted(used))
        return Evaluation(primary, backup, helpers, missing * self.penalty, tuple(wrong))

    def own_cost(self, demand: Demand, helper: Helper) -> float:
        """Rate times weight times round trip; infinite without a way."""
        way = self.way(demand, helper)
        return math.inf if way is None else demand.rate_pps * demand.weight * way.total_us

    def _unknown(self, assignments: tuple[Assignment, ...]) -> Iterator[str]:
        keys = [assignment.key for assignment in assignments]
        if len(keys) != len(set(keys)) or set(keys) != set(self.demands):
            yield "the assignments are not one for each demand"
        for assignment in assignments:
            for helper_id in (assignment.primary, assignment.backup):
                if helper_id is not None and helper_id not in self.helpers:
                    yield f"{assignment.group} to {assignment.service}: helper {helper_id} is unknown"

    def _wrong_with(self, assignment: Assignment, demand: Demand) -> Iterator[str]:
        primary = self.helpers[assignment.primary]
        chosen = [primary]
        if assignment.backup is not None:
            chosen.append(self.helpers[assignment.backup])
            if self.domain(chosen[1]) == self.domain(primary):
                yield f"{demand}: primary and backup are both in {self.domain(primary)}"
        elif self.options.backup_required:
            yield f"{demand}: has no backup"
        for helper in chosen:
            way = self.way(demand, helper)
            if helper.helper_id in self.options.excluded_helpers:
                yield f"{demand}: helper {helper} is excluded"
            if way is None:
                yield f"{demand}: helper {helper} is not reached"
            elif demand.latency_us_max is not None and way.total_us > demand.latency_us_max:
                yield f"{demand}: {way.total_us} us by helper {helper} is more than {demand.latency_us_max}"

    def _overloads(self, assignments: tuple[Assignment, ...]) -> Iterator[str]:
        loads = self.loads(assignments)
        for helper_id, rate_pps in sorted(loads.alive.items()):
            live_pps = (1 - self.options.headroom) * self.helpers[helper_id].capacity_pps
            if exceeds(rate_pps, live_pps):
                yield f"helper {self.helpers[helper_id]}: {rate_pps} pps is more than {live_pps} with all alive"
        for domain, helper_id in sorted(loads.moved):
            helper, rate_pps = self.helpers[helper_id], loads.after(domain, helper_id)
            if self.domain(helper) != domain and exceeds(rate_pps, helper.capacity_pps):
                yield f"helper {helper}: {rate_pps} pps is more than {helper.capacity_pps} without {domain}"


def exceeds(rate_pps: float, capacity_pps: float) -> bool:
    """Whether a load is above a capacity by more than what adding up numbers explains."""
    return rate_pps > capacity_pps * (1 + CAPACITY_TOLERANCE)


def is_met(evaluation: Evaluation, bound: float) -> bool:
    """Whether a cost and a bound are so close that nothing better is left to find.

    The penalty, which may be far more than all else, is the same in both and no part of what they are compared with.
    """
    return evaluation.total - bound <= OPTIMALITY_TOLERANCE * (evaluation.total - evaluation.missing_backups)
