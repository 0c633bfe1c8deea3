# SPDX-License-Identifier: Apache-2.0
"""How far sites are from each other, and how far a service is for a group by way of a helper.

Between two sites the newest measurement counts; without one, the shortest path over links; without a path they do not
reach each other. Within a site it is 0 unless that was measured. A way by a helper is two such legs and the helper's
own delay, each taken by itself: round trips on the Internet break the triangle inequality, so that a way by a helper
may well be shorter than the direct one, and nothing about one leg follows from others.
"""

from __future__ import annotations

import heapq
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from postman_placement.domain import Demand, Helper, Snapshot

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Leg:
    """A round trip between two sites, and whether it was measured or is the best path over links."""

    rtt_us: float
    is_measured: bool


@dataclass(frozen=True, slots=True)
class Way:
    """From a group to its service by one helper, and back."""

    client_leg: Leg
    helper_us: float
    server_leg: Leg
    server_site: str

    @property
    def total_us(self) -> float:
        """The whole round trip."""
        return self.client_leg.rtt_us + self.helper_us + self.server_leg.rtt_us

    @property
    def is_measured(self) -> bool:
        """Whether both legs were."""
        return self.client_leg.is_measured and self.server_leg.is_measured


class RoundTrips:
    """The round trips of one snapshot. Paths are computed when first asked for, from the helper's site."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._measured = _newest(snapshot)
        self._neighbours: dict[str, dict[str, float]] = defaultdict(dict)
        for link in snapshot.links:
            for a, b in ((link.a, link.b), (link.b, link.a)):
                self._neighbours[a][b] = min(link.rtt_us, self._neighbours[a].get(b, link.rtt_us))
        self._paths: dict[str, dict[str, float]] = {}

    def between(self, helper_site: str, other: str) -> Leg | None:
        """The round trip between a helper's site and another one; None if they do not reach each other."""
        measured_us = self._measured.get(_pair(helper_site, other))
        if measured_us is not None:
            return Leg(measured_us, is_measured=True)
        if helper_site == other:
            return Leg(0.0, is_measured=False)
        if helper_site not in self._paths:
            self._paths[helper_site] = self._shortest_from(helper_site)
        path_us = self._paths[helper_site].get(other)
        return None if path_us is None else Leg(path_us, is_measured=False)

    def to_servers(self, helper_site: str, server_sites: tuple[str, ...]) -> tuple[Leg, str] | None:
        """The nearest of these sites, and which it is; among equals the first by name. None if none is reached."""
        legs = ((self.between(helper_site, site), site) for site in server_sites)
        reached = [(leg, site) for leg, site in legs if leg is not None]
        return min(reached, key=lambda found: (found[0].rtt_us, found[1])) if reached else None

    def way(self, demand: Demand, helper: Helper) -> Way | None:
        """The way of this demand by this helper; None if there is none."""
        client_leg = self.between(helper.site, demand.site)
        server = self.to_servers(helper.site, demand.server_sites)
        if client_leg is None or server is None:
            return None
        return Way(client_leg, helper.delay_us, *server)

    def _shortest_from(self, source: str) -> dict[str, float]:
        """Dijkstra: the length of the shortest path to each site that a path leads to."""
        settled: dict[str, float] = {}
        waiting = [(0.0, source)]
        while waiting:
            length_us, site = heapq.heappop(waiting)
            if site in settled:
                continue
            settled[site] = length_us
            for neighbour, rtt_us in self._neighbours[site].items():
                if neighbour not in settled:
                    heapq.heappush(waiting, (length_us + rtt_us, neighbour))
        return settled


class Totals:
    """The length of the ways of demands by a list of helpers, as arrays: for all at once what `RoundTrips.way` says."""

    def __init__(self, trips: RoundTrips, helpers: Sequence[Helper]) -> None:
        self._trips = trips
        self._sites = sorted({helper.site for helper in helpers})
        self._column = np.array([self._sites.index(helper.site) for helper in helpers], dtype=np.int64)
        self._delay_us = np.array([helper.delay_us for helper in helpers], dtype=np.float64)
        self._client_legs: dict[str, Floats] = {}
        self._server_legs: dict[tuple[str, ...], Floats] = {}

    def of(self, demand: Demand) -> Floats:
        """By each helper; infinite where there is no way."""
        if demand.site not in self._client_legs:
            legs = [self._trips.between(site, demand.site) for site in self._sites]
            self._client_legs[demand.site] = _lengths(legs)[self._column]
        if demand.server_sites not in self._server_legs:
            nearest = [self._trips.to_servers(site, demand.server_sites) for site in self._sites]
            self._server_legs[demand.server_sites] = _lengths([found and found[0] for found in nearest])[self._column]
        return self._client_legs[demand.site] + self._delay_us + self._server_legs[demand.server_sites]


def _lengths(legs: list[Leg | None]) -> Floats:
    return np.array([math.inf if leg is None else leg.rtt_us for leg in legs], dtype=np.float64)


def _pair(a: str, b: str) -> tuple[str, str]:
    return (a, b) if a <= b else (b, a)


def _newest(snapshot: Snapshot) -> dict[tuple[str, str], float]:
    """The newest measurement of each pair; of two at the same instant the longer one."""
    newest = {}
    for measurement in sorted(snapshot.measurements, key=lambda one: (one.at, one.rtt_us)):
        newest[_pair(measurement.a, measurement.b)] = measurement.rtt_us
    return newest
