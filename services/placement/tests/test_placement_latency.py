# SPDX-License-Identifier: Apache-2.0
"""Round trips between sites and by a helper: which one counts, and whether it was measured."""

from __future__ import annotations

import math
from datetime import timedelta

import pytest
from placement_cases import START, random_case, round_trips

from postman_placement.domain import Demand, Link, Measurement, Site, Snapshot, helper_at
from postman_placement.latency import Leg, RoundTrips

SITES = tuple(Site(name, helper_delay_us=5.0) for name in ("a", "b", "c", "far"))


def trips(links: tuple[Link, ...] = (), measurements: tuple[Measurement, ...] = ()) -> RoundTrips:
    return RoundTrips(Snapshot(SITES, links, measurements, (), ()))


def measured(a: str, b: str, rtt_us: float, second: int = 0) -> Measurement:
    return Measurement(a, b, rtt_us, START + timedelta(seconds=second))


def test_the_newest_measurement_counts_in_both_directions() -> None:
    found = trips(measurements=(measured("a", "b", 10, 5), measured("b", "a", 99, 1), measured("b", "a", 20, 7)))
    assert found.between("a", "b") == found.between("b", "a") == Leg(20, is_measured=True)


def test_a_measurement_counts_more_than_a_shorter_path() -> None:
    found = trips(links=(Link("a", "b", 1),), measurements=(measured("a", "b", 50),))
    assert found.between("a", "b") == Leg(50, is_measured=True)


def test_without_a_measurement_the_shortest_path_over_links_counts() -> None:
    found = trips(links=(Link("a", "c", 100), Link("a", "b", 30), Link("c", "b", 20), Link("b", "a", 40)))
    assert found.between("a", "c") == Leg(50, is_measured=False)
    assert found.between("c", "a") == Leg(50, is_measured=False)


def test_measurements_are_no_part_of_paths() -> None:
    """A measured pair says nothing about others: the triangle inequality does not hold."""
    found = trips(links=(Link("a", "b", 30),), measurements=(measured("b", "c", 1),))
    assert found.between("a", "c") is None


def test_sites_without_a_path_do_not_reach_each_other() -> None:
    assert trips(links=(Link("a", "b", 1),)).between("a", "far") is None


def test_within_a_site_nothing_unless_measured() -> None:
    assert trips().between("a", "a") == Leg(0.0, is_measured=False)
    assert trips(measurements=(measured("a", "a", 7),)).between("a", "a") == Leg(7, is_measured=True)


def test_a_way_is_two_legs_and_the_delay_to_the_server_nearest_to_the_helper() -> None:
    found = trips(
        links=(Link("a", "b", 30), Link("b", "c", 20)),
        measurements=(measured("b", "far", 8),),
    )
    helper = helper_at(SITES[1], 1, "h")
    way = found.way(Demand("g", "svc", "a", ("c", "far"), 1.0), helper)
    assert way is not None
    assert (way.client_leg, way.helper_us, way.server_leg, way.server_site) == (
        Leg(30, is_measured=False),
        5.0,
        Leg(8, is_measured=True),
        "far",
    )
    assert way.total_us == 43
    assert not way.is_measured


def test_a_way_needs_both_legs() -> None:
    found = trips(links=(Link("a", "b", 30),))
    helper = helper_at(SITES[1], 1, "h")
    assert found.way(Demand("g", "svc", "a", ("far",), 1.0), helper) is None
    assert found.way(Demand("g", "svc", "far", ("a",), 1.0), helper) is None
    assert found.way(Demand("g", "svc", "a", (), 1.0), helper) is None


@pytest.mark.parametrize("seed", range(30))
def test_agrees_with_floyd_and_warshall(seed: int) -> None:
    snapshot, _ = random_case(seed)
    found = RoundTrips(snapshot)
    for (a, b), expected_us in round_trips(snapshot).items():
        leg = found.between(a, b)
        assert (math.inf if leg is None else leg.rtt_us) == pytest.approx(expected_us)
