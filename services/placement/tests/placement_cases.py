# SPDX-License-Identifier: Apache-2.0
"""Random small placements, and their optimum by trying everything: written apart from the solver."""

from __future__ import annotations

import itertools
import math
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from postman_placement.domain import Demand, Helper, Link, Measurement, Options, Site, Snapshot, helper_at

TOLERANCE = 1e-6
START = datetime(2026, 1, 1, tzinfo=UTC)


def random_case(seed: int) -> tuple[Snapshot, Options]:
    """At most 4 helpers in at most 3 failure domains and 5 demands; often tight, sometimes impossible."""
    rng = random.Random(seed)
    names = [f"s{index}" for index in range(rng.randint(2, 4))]
    rates = [float(rng.randint(1, 9)) for _ in range(rng.randint(1, 5))]
    helpers = rng.choice([1, 2, 3, 3, 4, 4, 4])
    capacity_pps = sum(rates) / helpers / rng.choice([0.2, 0.35, 0.45, 0.55])
    sites = tuple(
        Site(
            name,
            domain=rng.choice([None, "a", "b", "c"]),
            helper_capacity_pps=capacity_pps * rng.choice([1.0, 1.0, 1.7]),
            helper_cost=rng.choice([0.0, 0.0, 30.0, 200.0]),
            helper_delay_us=float(rng.randint(0, 5)),
        )
        for name in names
    )
    pairs = list(itertools.combinations(names, 2))
    links = tuple(Link(a, b, float(rng.randint(1, 50))) for a, b in pairs if rng.random() < 0.9)
    measurements = tuple(
        Measurement(*rng.sample([a, b], 2), float(rng.randint(1, 50)), START + timedelta(seconds=rng.randint(0, 3)))
        for a, b in [*pairs, *pairs, *((name, name) for name in names)]
        if rng.random() < 0.4
    )
    is_alike = rng.random() < 0.3
    demands = tuple(
        Demand(
            group=f"g{index}",
            service="cache",
            site=names[0] if is_alike else rng.choice(names),
            server_sites=(names[-1],) if is_alike else tuple(rng.sample(names, rng.randint(1, 2))),
            rate_pps=rates[0] if is_alike else rate,
            weight=1.0 if is_alike else rng.choice([0.5, 1.0, 3.0]),
            latency_us_max=rng.choice([None, None, None, None, 80.0]),
        )
        for index, rate in enumerate(rates)
    )
    at = [rng.choice(sites) for _ in range(helpers)]
    options = Options(
        headroom=rng.choice([0.0, 0.0, 0.3]),
        backup_weight=rng.choice([0.0, 0.1, 1.0]),
        backup_required=rng.random() < 0.3,
        excluded_helpers=frozenset({1} if rng.random() < 0.1 else ()),
        time_s_max=20.0,
    )
    used = tuple(helper_at(site, index + 1, f"h{index + 1}") for index, site in enumerate(at))
    return Snapshot(sites, links, measurements, demands, used), options


def round_trips(snapshot: Snapshot) -> dict[tuple[str, str], float]:
    """Of all pairs of sites that reach each other; paths by Floyd and Warshall."""
    names = [site.name for site in snapshot.sites]
    far = {(a, b): 0.0 if a == b else math.inf for a in names for b in names}
    for link in snapshot.links:
        far[link.a, link.b] = far[link.b, link.a] = min(far[link.a, link.b], link.rtt_us)
    for via, a, b in itertools.product(names, repeat=3):
        far[a, b] = min(far[a, b], far[a, via] + far[via, b])
    for measurement in sorted(snapshot.measurements, key=lambda one: (one.at, one.rtt_us)):
        far[measurement.a, measurement.b] = far[measurement.b, measurement.a] = measurement.rtt_us
    return far


@dataclass
class BruteForce:
    """Tries every choice of primary and backup for every demand; gives up a branch when it costs more than the best."""

    snapshot: Snapshot
    options: Options
    best: float = math.inf
    _alive: dict[int, float] = field(default_factory=dict)
    _moved: dict[tuple[str, int], float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        far = round_trips(self.snapshot)
        self._domain = {}
        for helper in self.snapshot.helpers:
            (site,) = (site for site in self.snapshot.sites if site.name == helper.site)
            self._domain[helper.helper_id] = f"={site.domain}" if site.domain else site.name
        self._helpers = [one for one in self.snapshot.helpers if one.helper_id not in self.options.excluded_helpers]
        self._total_us = {
            (demand.group, helper.helper_id): far[demand.site, helper.site]
            + helper.delay_us
            + min(far[helper.site, site] for site in demand.server_sites)
            for demand in self.snapshot.demands
            for helper in self._helpers
        }
        self.penalty = self._penalty()

    def optimum(self) -> float:
        """The least cost; infinite if there is no placement."""
        self._try(0, 0.0, frozenset())
        return self.best

    def _penalty(self) -> float:
        """Twice what everything costs at its farthest with all helpers paid, as docs/placement.md says."""
        dearest = sum(helper.cost for helper in self._helpers)
        for demand in self.snapshot.demands:
            ways = [self._total_us[demand.group, helper.helper_id] for helper in self._helpers]
            farthest = max((way for way in ways if math.isfinite(way)), default=0.0)
            dearest += (1 + self.options.backup_weight) * demand.rate_pps * demand.weight * farthest
        return 2 * dearest or 1.0

    def _try(self, index: int, cost: float, used: frozenset[int]) -> None:
        if cost >= self.best:
            return
        if index == len(self.snapshot.demands):
            self.best = cost
            return
        demand = self.snapshot.demands[index]
        reached = [helper for helper in self._helpers if self._is_near(demand, helper)]
        for primary in reached:
            for backup in [*reached, None]:
                if backup is None and self.options.backup_required:
                    continue
                if backup is not None and self._domain[backup.helper_id] == self._domain[primary.helper_id]:
                    continue
                self._try_pair(index, cost, used, primary, backup)

    def _is_near(self, demand: Demand, helper: Helper) -> bool:
        total_us = self._total_us[demand.group, helper.helper_id]
        return math.isfinite(total_us) and (demand.latency_us_max is None or total_us <= demand.latency_us_max)

    def _try_pair(self, index: int, cost: float, used: frozenset[int], primary: Helper, backup: Helper | None) -> None:
        demand = self.snapshot.demands[index]
        flow = demand.rate_pps * demand.weight
        cost += flow * self._total_us[demand.group, primary.helper_id]
        now = used | {primary.helper_id}
        if backup is None:
            cost += self.penalty
        else:
            cost += self.options.backup_weight * flow * self._total_us[demand.group, backup.helper_id]
            now |= {backup.helper_id}
        cost += sum(helper.cost for helper in self._helpers if helper.helper_id in now - used)
        moved = None if backup is None else (self._domain[primary.helper_id], backup.helper_id)
        self._load(primary.helper_id, moved, demand.rate_pps)
        if self._fits():
            self._try(index + 1, cost, now)
        self._load(primary.helper_id, moved, -demand.rate_pps)

    def _load(self, primary: int, moved: tuple[str, int] | None, rate_pps: float) -> None:
        self._alive[primary] = self._alive.get(primary, 0.0) + rate_pps
        if moved is not None:
            self._moved[moved] = self._moved.get(moved, 0.0) + rate_pps

    def _fits(self) -> bool:
        for helper in self._helpers:
            alive = self._alive.get(helper.helper_id, 0.0)
            if alive > (1 - self.options.headroom) * helper.capacity_pps * (1 + TOLERANCE):
                return False
            for (_, to), moved in self._moved.items():
                if to == helper.helper_id and alive + moved > helper.capacity_pps * (1 + TOLERANCE):
                    return False
        return True
