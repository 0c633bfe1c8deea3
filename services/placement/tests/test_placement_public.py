# SPDX-License-Identifier: Apache-2.0
"""The solver's core on public facility-location instances whose optimum is known.

They have one way for each pair, and no backups: all helpers are in one failure domain here, so that every demand goes
without, and what the cost is besides is what the literature counts. The files are other people's and not in this
repository: POSTMAN_PUBLIC_DATA says where they are, else ../shared/data beside it.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from placement_cases import START

from postman_placement.domain import Demand, Measurement, Options, Site, Snapshot, helper_at
from postman_placement.explain import explain
from postman_placement.solve import solve

ROOT = Path(__file__).resolve().parents[3]
FACILITY = Path(os.environ.get("POSTMAN_PUBLIC_DATA", ROOT.parent / "shared" / "data")) / "facility"


def numbers(name: str) -> list[float]:
    path = FACILITY / name
    if not path.exists():
        pytest.skip(f"no public instance {path.name}: POSTMAN_PUBLIC_DATA does not lead to facility/{name}")
    return [float(word) for word in path.read_text().split()]


def holmberg(name: str) -> Snapshot:
    """Sites and customers; capacities; fixed costs; demands; of each customer its cost by each site, in total."""
    words = iter(numbers(f"sscflp/holmberg/{name}"))
    sites, customers = int(next(words)), int(next(words))
    capacities, fixed, rates = ([next(words) for _ in range(size)] for size in (sites, sites, customers))
    return facilities(capacities, fixed, rates, [[next(words) for _ in range(sites)] for _ in range(customers)])


def uncapacitated(name: str) -> Snapshot:
    """Sites and customers; of each site a capacity and a fixed cost; of each customer its demand and total costs."""
    words = iter(numbers(f"cap/{name}.txt"))
    sites, customers = int(next(words)), int(next(words))
    fixed = [(next(words), next(words))[1] for _ in range(sites)]
    rows = [[next(words) for _ in range(1 + sites)] for _ in range(customers)]
    rates = [row[0] for row in rows]
    return facilities([sum(rates)] * sites, fixed, rates, [row[1:] for row in rows])


def facilities(capacities: list[float], fixed: list[float], rates: list[float], costs: list[list[float]]) -> Snapshot:
    """A weight of one over the rate makes a round trip cost what the file says; servers are where each helper is."""
    helper_sites = [
        Site(f"f{index}", domain="one", helper_capacity_pps=capacity, helper_cost=cost)
        for index, (capacity, cost) in enumerate(zip(capacities, fixed, strict=True))
    ]
    client_sites = [Site(f"c{index}") for index in range(len(rates))]
    servers = tuple(site.name for site in helper_sites)
    demands = [
        Demand(site.name, "svc", site.name, servers, rate, 1 / rate)
        for site, rate in zip(client_sites, rates, strict=True)
    ]
    measurements = [
        Measurement(client.name, helper.name, cost, START)
        for client, row in zip(client_sites, costs, strict=True)
        for helper, cost in zip(helper_sites, row, strict=True)
    ]
    helpers = tuple(helper_at(site, index + 1, site.name) for index, site in enumerate(helper_sites))
    return Snapshot((*helper_sites, *client_sites), (), tuple(measurements), tuple(demands), helpers)


@pytest.mark.parametrize(("name", "optimum"), [("p1", 8848), ("p2", 7913), ("p9", 8462), ("p13", 8252)])
def test_single_source_capacitated(name: str, optimum: float) -> None:
    check(holmberg(name), optimum)


@pytest.mark.parametrize(("name", "optimum"), [("cap71", 932615.750), ("cap74", 1034976.975)])
def test_uncapacitated(name: str, optimum: float) -> None:
    check(uncapacitated(name), optimum)


def check(snapshot: Snapshot, optimum: float) -> None:
    options = Options(headroom=0.0, backup_weight=0.0, time_s_max=60)
    placed = explain(snapshot, options, solve(snapshot, options))
    assert placed.is_optimal
    assert placed.cost.primary + placed.cost.helpers == pytest.approx(optimum, rel=1e-6)
    assert placed.bound - placed.cost.missing_backups <= optimum * (1 + 1e-6)
