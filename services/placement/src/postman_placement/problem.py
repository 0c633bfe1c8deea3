# SPDX-License-Identifier: Apache-2.0
"""The snapshot as numbers: one row a class of demands, one column a helper.

Demands that differ in nothing but their names are one class with a count, which loses nothing and spares the solver
from trying them in every order. Rows and columns are sorted, so that the order of the input changes no answer.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from postman_placement.domain import Demand, Helper, Options, Site, Snapshot
from postman_placement.evaluate import CAPACITY_TOLERANCE
from postman_placement.latency import RoundTrips, Totals

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Problem:
    """What the solver sees. Excluded helpers have no column."""

    options: Options
    members: tuple[tuple[Demand, ...], ...]
    """Of each class, sorted by group and service."""
    helpers: tuple[Helper, ...]
    domain: Ints
    """Of each helper: the number of its failure domain."""
    rate: Floats
    """Of one member of each class, packets per second."""
    total_us: Floats
    """The way of a class by a helper; infinite if there is none."""
    cost: Floats
    """Of one member of a class by a helper, as primary; infinite where the helper may not be used at all."""
    can_primary: Bools
    can_backup: Bools
    can_pair: Bools
    """Of each class: whether it has a primary and a backup in another failure domain, seen alone."""

    @cached_property
    def count(self) -> Ints:
        """Members of each class."""
        return np.array([len(members) for members in self.members], dtype=np.int64)

    @cached_property
    def capacity(self) -> Floats:
        """Of each helper, packets per second."""
        return np.array([helper.capacity_pps for helper in self.helpers], dtype=np.float64)

    @cached_property
    def helper_cost(self) -> Floats:
        """Of each helper that is used."""
        return np.array([helper.cost for helper in self.helpers], dtype=np.float64)

    @property
    def domains(self) -> int:
        """Number of failure domains that have a helper."""
        return int(self.domain.max()) + 1 if len(self.domain) else 0

    @property
    def choices(self) -> int:
        """Number of possible primaries and backups of all classes."""
        return int(self.can_primary.sum() + self.can_backup.sum())

    @property
    def least_cost(self) -> float:
        """No placement costs less besides missing backups: everybody by the nearest helpers, as if they had room."""
        primary = np.where(self.can_primary, self.cost, np.inf).min(axis=1)
        backup = np.where(self.can_pair, np.where(self.can_backup, self.cost, np.inf).min(axis=1), 0.0)
        return float(self.count @ (primary + self.options.backup_weight * backup))


def problem_of(snapshot: Snapshot, options: Options, trips: RoundTrips) -> Problem:
    """The numbers of a valid snapshot."""
    helpers = tuple(
        sorted(
            (helper for helper in snapshot.helpers if helper.helper_id not in options.excluded_helpers),
            key=lambda helper: helper.helper_id,
        )
    )
    members = _classes(snapshot.demands)
    totals = Totals(trips, helpers)
    total_us = np.array([totals.of(one[0]) for one in members]).reshape(len(members), len(helpers))
    rate = np.array([one[0].rate_pps for one in members], dtype=np.float64)
    weight = np.array([one[0].weight for one in members], dtype=np.float64)
    bound_us = [math.inf if one[0].latency_us_max is None else one[0].latency_us_max for one in members]
    capacity = np.array([helper.capacity_pps for helper in helpers], dtype=np.float64)
    is_near = np.isfinite(total_us) & (total_us <= np.array(bound_us, dtype=np.float64)[:, None])
    can_backup = is_near & (rate[:, None] <= capacity * (1 + CAPACITY_TOLERANCE))
    can_primary = is_near & (rate[:, None] <= (1 - options.headroom) * capacity * (1 + CAPACITY_TOLERANCE))
    domain = _domain_numbers(snapshot.sites, helpers)
    cost = np.full(total_us.shape, np.inf)
    np.multiply((rate * weight)[:, None], total_us, out=cost, where=can_backup)
    return Problem(
        options=options,
        members=members,
        helpers=helpers,
        domain=domain,
        rate=rate,
        total_us=total_us,
        cost=cost,
        can_primary=can_primary,
        can_backup=can_backup,
        can_pair=_can_pair(can_primary, can_backup, domain),
    )


def _classes(demands: tuple[Demand, ...]) -> tuple[tuple[Demand, ...], ...]:
    classes: dict[object, list[Demand]] = defaultdict(list)
    for demand in sorted(demands, key=lambda demand: demand.key):
        servers = tuple(sorted(demand.server_sites))
        alike = (demand.site, servers, demand.rate_pps, demand.weight, demand.latency_us_max)
        classes[alike].append(demand)
    return tuple(tuple(members) for members in classes.values())


def _can_pair(can_primary: Bools, can_backup: Bools, domain: Ints) -> Bools:
    """Of each class, whether some primary has a backup outside its domain: one of another domain than the first has."""
    is_in = domain[:, None] == np.unique(domain)[None, :]
    backup_domains = (can_backup.astype(np.int64) @ is_in.astype(np.int64)) > 0
    elsewhere = backup_domains.sum(axis=1)[:, None] - (backup_domains @ is_in.T.astype(np.int64) > 0)
    return np.asarray((can_primary & (elsewhere > 0)).any(axis=1))


def _domain_numbers(sites: tuple[Site, ...], helpers: tuple[Helper, ...]) -> Ints:
    domain_of = {site.name: site.failure_domain for site in sites}
    domains = [domain_of[helper.site] for helper in helpers]
    number = {domain: index for index, domain in enumerate(dict.fromkeys(domains))}
    return np.array([number[domain] for domain in domains], dtype=np.int64)
