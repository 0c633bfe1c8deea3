# SPDX-License-Identifier: Apache-2.0
"""Explanations: the ways, what was not chosen and why, each checked by making the placement that it speaks of."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from placement_cases import random_case

from postman_placement.domain import Assignment, Demand, Infeasible, Link, Options, Site, Snapshot, Solution, helper_at
from postman_placement.evaluate import Judge
from postman_placement.explain import Placed, explain
from postman_placement.solve import solve


def forced(judge: Judge, solution: Solution, group: str, helper_id: int) -> tuple[Assignment, ...]:
    """The placement with another primary for one group; its primary becomes the backup if the domains demand that."""
    found = []
    for one in solution.assignments:
        if one.group == group:
            backup = one.backup
            domain = judge.domain(judge.helpers[helper_id])
            if backup is not None and judge.domain(judge.helpers[backup]) == domain:
                backup = one.primary
            one = replace(one, primary=helper_id, backup=backup)
        found.append(one)
    return tuple(found)


def own_cost(judge: Judge, assignment: Assignment) -> float:
    demand = judge.demands[assignment.key]
    cost = judge.own_cost(demand, judge.helpers[assignment.primary])
    if assignment.backup is None:
        return cost + judge.penalty
    return cost + judge.options.backup_weight * judge.own_cost(demand, judge.helpers[assignment.backup])


def number(pattern: str, text: str) -> float:
    found = re.search(pattern, text)
    assert found, text
    return float(found[1].replace(",", ""))


def test_each_alternative_is_what_forcing_it_would_be() -> None:
    seen = {"dearer": 0, "overload": 0, "impossible": 0}
    for seed in range(150):
        snapshot, options = random_case(seed)
        try:
            solution = solve(snapshot, options)
        except Infeasible:
            continue
        judge = Judge(snapshot, options)
        now = judge.evaluate(solution.assignments)
        for explained, assignment in zip(
            explain(snapshot, options, solution).assignments, solution.assignments, strict=True
        ):
            for alternative in explained.alternatives:
                instead = forced(judge, solution, assignment.group, alternative.helper_id)
                then = judge.evaluate(instead)
                if alternative.cost_difference is None:
                    assert then.violations, alternative
                    seen["impossible"] += 1
                    continue
                (moved,) = [one for one in instead if one.key == assignment.key]
                difference = own_cost(judge, moved) - own_cost(judge, assignment)
                assert alternative.cost_difference == pytest.approx(difference, rel=1e-9, abs=1e-6)
                assert bool(then.violations) == (" pps above " in alternative.reason), (alternative, then.violations)
                if then.violations:
                    seen["overload"] += 1
                    continue
                more = then.total - now.total
                assert more >= -1e-6 * now.total
                if "more" in alternative.reason:
                    assert number(r"costs ([\d.,e+-]+) more", alternative.reason) == pytest.approx(more, rel=1e-3)
                seen["dearer"] += 1
    assert all(times >= 20 for times in seen.values()), seen


SITES = (
    Site("near", domain="x", helper_capacity_pps=100.0, helper_delay_us=2.0),
    Site("mid", domain="y", helper_capacity_pps=100.0),
    Site("wide", domain="x", helper_capacity_pps=1000.0),
    Site("off"),
)
LINKS = (Link("near", "mid", 10.0), Link("mid", "wide", 30.0))


def place(demands: tuple[Demand, ...], options: Options) -> Placed:
    helpers = tuple(helper_at(site, index + 1, f"h-{site.name}") for index, site in enumerate(SITES))
    snapshot = Snapshot(SITES, LINKS, (), demands, helpers)
    return explain(snapshot, options, solve(snapshot, options))


def test_a_way_in_its_parts_and_what_the_helpers_carry() -> None:
    placed = place((Demand("g", "svc", "near", ("near",), 60.0, 2.0),), Options(headroom=0.3, backup_weight=0.5))
    (one,) = placed.assignments
    assert (one.primary.helper_id, one.primary.client_leg_us, one.primary.helper_us, one.primary.server_leg_us) == (
        1,
        0.0,
        2.0,
        0.0,
    )
    assert (one.primary.total_us, one.primary.cost) == (2.0, 240.0)
    assert one.backup is not None
    assert (one.backup.helper_id, one.backup.total_us, one.backup.cost) == (2, 20.0, 1200.0)
    assert one.cost == 1440.0
    assert one.backup_missing_reason is None
    loads = {
        helper.helper_id: (helper.role, helper.rate_pps, helper.worst_failure_rate_pps) for helper in placed.helpers
    }
    assert loads == {1: ("primary", 60, 60), 2: ("backup", 0, 60), 3: ("standby", 0, 0), 4: ("standby", 0, 0)}


def test_reasons_name_what_binds() -> None:
    demands = (
        Demand("g1", "svc", "near", ("near",), 55.0, 9.0),
        Demand("g2", "svc", "near", ("near",), 40.0, latency_us_max=90.0),
    )
    placed = place(demands, Options(headroom=0.3, excluded_helpers=frozenset({3})))
    reasons = {
        (one.group, alternative.helper_id): alternative.reason
        for one in placed.assignments
        for alternative in one.alternatives
    }
    assert reasons["g2", 1] == "25 pps above what it may carry with all alive (with h-mid (2) as backup)"
    assert reasons["g1", 3] == "excluded by the request"
    assert reasons["g1", 4] == "no measurement and no path leads from near by off to svc"
    assert len(placed.assignments[0].alternatives) == 3


def test_a_bound_and_a_group_too_big_are_reasons() -> None:
    placed = place((Demand("g", "svc", "near", ("near",), 90.0, latency_us_max=85.0),), Options(headroom=0.3))
    (one,) = placed.assignments
    assert one.primary.helper_id == 3
    reasons = {alternative.helper_id: alternative.reason for alternative in one.alternatives}
    assert reasons[1] == "90 pps is more than the 70 pps that it may carry at all"
    tight = place((Demand("g", "svc", "near", ("near",), 50.0, latency_us_max=30.0),), Options(headroom=0.3))
    reasons = {alternative.helper_id: alternative.reason for alternative in tight.assignments[0].alternatives}
    assert reasons[3] == "80 us is above the bound of 30 us"


def test_why_there_is_no_backup() -> None:
    no_room = (Demand("a", "svc", "mid", ("mid",), 70.0), Demand("b", "svc", "near", ("near",), 60.0))
    placed = place(no_room, Options(headroom=0.3, excluded_helpers=frozenset({3})))
    reasons = [one.backup_missing_reason for one in placed.assignments]
    assert any(reason and "has room when that dies" in reason and "30 pps too many" in reason for reason in reasons)
    assert any("have no backup" in note for note in placed.notes)
    alone = place(
        (Demand("a", "svc", "near", ("near",), 10.0, latency_us_max=15.0),), Options(excluded_helpers=frozenset())
    )
    (one,) = alone.assignments
    assert one.backup_missing_reason is not None
    assert "20 us is above the bound of 15 us" in one.backup_missing_reason
    assert alone.cost.missing_backups > alone.cost.primary
