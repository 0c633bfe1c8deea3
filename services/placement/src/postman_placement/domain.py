# SPDX-License-Identifier: Apache-2.0
"""What a placement is made from and what it is: an immutable snapshot, options, and a solution. Pure.

Units as on the border: round trips in microseconds, rates in packets per second, costs in packet-microseconds per
second. A helper has the capacity, cost and delay of its site. Everything that fails together is a failure domain.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

NAMES_IN_A_TEXT = 5
"""A text names this many of the things it is about, and counts the others."""


@dataclass(frozen=True, slots=True)
class Site:
    """A place where clients, servers or helpers are."""

    name: str
    domain: str | None = None
    helper_capacity_pps: float = 1e6
    helper_cost: float = 0.0
    helper_delay_us: float = 0.0

    @property
    def failure_domain(self) -> str:
        """What fails together with it: its domain, or itself alone (which no domain's name can be mistaken for)."""
        return f"domain {self.domain}" if self.domain is not None else f"site {self.name}"


@dataclass(frozen=True, slots=True)
class Link:
    """Two sites that reach each other, in both directions."""

    a: str
    b: str
    rtt_us: float


@dataclass(frozen=True, slots=True)
class Measurement:
    """A measured round trip between two sites; both directions count as one, and the newest counts."""

    a: str
    b: str
    rtt_us: float
    at: datetime


@dataclass(frozen=True, slots=True)
class Demand:
    """What the clients of one group, all at one site, send to one service.

    `server_sites` is where the service is: the demand's own `server_site`, or all sites where the registry has a
    server of it. Each helper is taken to use the one that is nearest to it.
    """

    group: str
    service: str
    site: str
    server_sites: tuple[str, ...]
    rate_pps: float
    weight: float = 1.0
    latency_us_max: float | None = None

    @property
    def key(self) -> tuple[str, str]:
        """What names it: its group and its service."""
        return self.group, self.service

    def __str__(self) -> str:
        return f"{self.group} to {self.service}"


@dataclass(frozen=True, slots=True)
class Helper:
    """One helper that may be used, with what its site says of its helpers."""

    helper_id: int
    name: str
    site: str
    capacity_pps: float
    cost: float
    delay_us: float

    def __str__(self) -> str:
        return f"{self.name} ({self.helper_id})"


def helper_at(site: Site, helper_id: int, name: str) -> Helper:
    """A helper with the capacity, cost and delay of its site."""
    return Helper(helper_id, name, site.name, site.helper_capacity_pps, site.helper_cost, site.helper_delay_us)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that a placement depends on, besides its options. The order of items does not matter."""

    sites: tuple[Site, ...]
    links: tuple[Link, ...]
    measurements: tuple[Measurement, ...]
    demands: tuple[Demand, ...]
    helpers: tuple[Helper, ...]


@dataclass(frozen=True, slots=True)
class Options:
    """What the caller of a placement chooses; see `PlacementRequest`."""

    headroom: float = 0.3
    backup_weight: float = 0.1
    backup_required: bool = False
    excluded_helpers: frozenset[int] = frozenset()
    time_s_max: float = 10.0


@dataclass(frozen=True, slots=True)
class Assignment:
    """The helpers of one group for one service, by id."""

    group: str
    service: str
    primary: int
    backup: int | None

    @property
    def key(self) -> tuple[str, str]:
        """What names it: its group and its service."""
        return self.group, self.service


@dataclass(frozen=True, slots=True)
class Solution:
    """A placement that keeps all constraints, and a bound below which no placement costs."""

    assignments: tuple[Assignment, ...]
    """One for each demand, ordered by group and service."""
    bound: float
    """No placement that keeps all constraints costs less; never above the cost of this one."""
    notes: tuple[str, ...] = field(default=())


class InvalidSnapshot(Exception):
    """The snapshot contradicts itself. `problems` says where, each with the names concerned."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class Infeasible(Exception):
    """No placement keeps all constraints. `reasons` says which ones bind, with names and numbers."""

    def __init__(self, reasons: tuple[str, ...]) -> None:
        super().__init__("; ".join(reasons))
        self.reasons = reasons


class NotSolvedInTime(Exception):
    """No placement was found within `time_s_max`, and none was shown to be impossible."""


def validate(snapshot: Snapshot, options: Options) -> None:
    """Raises InvalidSnapshot if names are missing or repeated, or numbers are not what they may be."""
    problems = (*_name_problems(snapshot), *_number_problems(snapshot, options))
    if problems:
        raise InvalidSnapshot(problems)


def _name_problems(snapshot: Snapshot) -> Iterator[str]:
    for what, repeated in (
        ("site", _repeated(site.name for site in snapshot.sites)),
        ("helper id", _repeated(str(helper.helper_id) for helper in snapshot.helpers)),
        ("demand", _repeated(str(demand) for demand in snapshot.demands)),
    ):
        if repeated:
            yield f"{what} given more than once: {listed(repeated)}"
    known = {site.name for site in snapshot.sites}
    for what, names in (
        ("links", {name for link in snapshot.links for name in (link.a, link.b)}),
        ("measurements", {name for measurement in snapshot.measurements for name in (measurement.a, measurement.b)}),
        ("demands", {name for demand in snapshot.demands for name in (demand.site, *demand.server_sites)}),
        ("helpers", {helper.site for helper in snapshot.helpers}),
    ):
        if names - known:
            yield f"{what} name sites that the topology does not have: {listed(sorted(names - known))}"


def _number_problems(snapshot: Snapshot, options: Options) -> Iterator[str]:
    for link in snapshot.links:
        if not _is_amount(link.rtt_us):
            yield f"link {link.a} to {link.b}: rtt_us must be a finite number from 0"
    for measurement in snapshot.measurements:
        if not _is_amount(measurement.rtt_us):
            yield f"measurement {measurement.a} to {measurement.b}: rtt_us must be a finite number from 0"
    for helper in snapshot.helpers:
        if not (_is_amount(helper.cost) and _is_amount(helper.delay_us) and _is_positive(helper.capacity_pps)):
            yield f"helper {helper}: capacity must be above 0, cost and delay from 0, all finite"
    for demand in snapshot.demands:
        if not (_is_positive(demand.rate_pps) and _is_positive(demand.weight)):
            yield f"demand {demand}: rate_pps and weight must be finite and above 0"
        if demand.latency_us_max is not None and not _is_amount(demand.latency_us_max):
            yield f"demand {demand}: latency_us_max must be a finite number from 0"
    if not 0 <= options.headroom < 1:
        yield "headroom must be from 0 to less than 1"
    if not 0 <= options.backup_weight <= 1:
        yield "backup_weight must be from 0 to 1"
    if not _is_positive(options.time_s_max):
        yield "time_s_max must be above 0"


def _is_amount(value: float) -> bool:
    return math.isfinite(value) and value >= 0


def _is_positive(value: float) -> bool:
    return math.isfinite(value) and value > 0


def _repeated(names: Iterable[str]) -> list[str]:
    return sorted(name for name, times in Counter(names).items() if times > 1)


def listed(names: list[str]) -> str:
    """The first names, and how many more there are."""
    shown = ", ".join(names[:NAMES_IN_A_TEXT])
    return f"{shown} and {len(names) - NAMES_IN_A_TEXT} more" if len(names) > NAMES_IN_A_TEXT else shown


def amount(value: float) -> str:
    """A number as one reads it in a sentence."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
