# SPDX-License-Identifier: Apache-2.0
"""What is said when no placement exists: the constraint that binds, with the names and numbers it is about."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from postman_placement.domain import Demand, Infeasible, Link, Options, Site, Snapshot, helper_at
from postman_placement.solve import solve

SITES = (
    Site("paris", domain="eu", helper_capacity_pps=100.0),
    Site("rome", domain="eu", helper_capacity_pps=100.0),
    Site("tokyo", helper_capacity_pps=100.0),
    Site("moon"),
)
LINKS = (Link("paris", "rome", 10.0), Link("paris", "tokyo", 200.0))
NO_HEADROOM = Options(headroom=0.0)


def snapshot(*demands: Demand, helpers: tuple[str, ...] = ("paris", "rome", "tokyo")) -> Snapshot:
    by_name = {site.name: site for site in SITES}
    placed = tuple(helper_at(by_name[site], index + 1, f"h-{site}") for index, site in enumerate(helpers))
    return Snapshot(SITES, LINKS, (), demands, placed)


def demand(group: str, rate_pps: float, site: str = "paris", bound_us: float | None = None) -> Demand:
    return Demand(group, "cache", site, ("paris",), rate_pps, latency_us_max=bound_us)


def said(of: Snapshot, options: Options = NO_HEADROOM) -> str:
    with pytest.raises(Infeasible) as caught:
        solve(of, options)
    return "; ".join(caught.value.reasons)


def test_no_helper() -> None:
    assert "no helper" in said(snapshot(demand("g", 1), helpers=()))
    assert "no helper" in said(
        snapshot(demand("g", 1), helpers=("paris",)), replace(NO_HEADROOM, excluded_helpers=frozenset({1}))
    )


def test_a_group_that_reaches_no_helper() -> None:
    text = said(snapshot(demand("fine", 1), demand("lost", 1, site="moon")))
    assert "lost to cache" in text
    assert "moon" in text
    assert "fine" not in text


def test_a_group_whose_bound_no_helper_keeps() -> None:
    text = said(snapshot(demand("hasty", 1, site="tokyo", bound_us=150.0)))
    assert "hasty to cache" in text
    assert "h-paris (1)" in text
    assert "takes 200 us" in text
    assert "150 us" in text


def test_a_group_bigger_than_any_helper_it_may_use() -> None:
    text = said(snapshot(demand("elephant", 80)), Options(headroom=0.3))
    assert "elephant to cache" in text
    assert "80 pps" in text
    assert "70 pps" in text


def test_more_demand_than_capacity() -> None:
    text = said(snapshot(*(demand(f"g{index}", 80) for index in range(4))))
    assert "all 4 demands" in text
    assert "320 pps" in text
    assert "300 pps" in text


def test_more_demand_than_the_capacity_that_some_share() -> None:
    near = [demand(f"near{index}", 90, bound_us=50.0) for index in range(3)]
    text = said(snapshot(*near, demand("other", 1)))
    assert "near0 to cache, near1 to cache, near2 to cache" in text
    assert "h-paris (1), h-rome (2)" in text
    assert "other" not in text


def test_a_required_backup_without_a_second_domain() -> None:
    text = said(snapshot(demand("g", 1), helpers=("paris", "rome")), replace(NO_HEADROOM, backup_required=True))
    assert "g to cache" in text
    assert "backup is required" in text
    assert "paris, rome" in text


def test_required_backups_that_do_not_fit_when_a_domain_fails() -> None:
    demands = [demand(f"g{index}", 40) for index in range(3)]
    text = said(snapshot(*demands), replace(NO_HEADROOM, backup_required=True))
    assert "h-paris (1), h-rome (2) fail together" in text
    assert "100 pps of 120 pps" in text


def test_what_only_the_whole_shows_names_the_capacity_that_must_grow() -> None:
    """Three groups of 60 on two helpers of 100: enough in total, but no helper takes two."""
    of = snapshot(*(demand(f"g{index}", 60) for index in range(3)), helpers=("paris", "rome"))
    text = said(of)
    assert "each is on one helper" in text
    grown = re.search(r"(h-\w+) \((\d)\) at \w+ by ([\d.]+) to ([\d.]+) pps", text)
    assert grown, text
    assert float(grown[3]) == pytest.approx(20)
    larger = tuple(
        replace(helper, capacity_pps=float(grown[4])) if helper.name == grown[1] else helper for helper in of.helpers
    )
    assert solve(replace(of, helpers=larger), NO_HEADROOM).assignments


def test_growth_counts_backups_when_they_are_required() -> None:
    """Each domain alone holds all demands, but the 30 of each is too much beside the other's 80."""
    of = snapshot(demand("a", 80), demand("b", 70), demand("c", 45), helpers=("paris", "rome", "tokyo", "tokyo"))
    text = said(of, replace(NO_HEADROOM, backup_required=True))
    assert "backup must have room" in text
    assert "grow" in text


def test_the_list_of_reasons_has_an_end() -> None:
    text = said(snapshot(*(demand(f"g{index}", 1.0 + index, site="moon") for index in range(50))))
    assert "and 40 more" in text
    assert len(text) < 5000
