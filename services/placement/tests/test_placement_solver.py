# SPDX-License-Identifier: Apache-2.0
"""The solver against trying everything, and what must hold of any two related placements."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from placement_cases import START, BruteForce, random_case

from postman_placement import solve as solve_module
from postman_placement.domain import (
    Demand,
    Infeasible,
    InvalidSnapshot,
    Link,
    Measurement,
    NotSolvedInTime,
    Options,
    Site,
    Snapshot,
    Solution,
    helper_at,
)
from postman_placement.evaluate import Judge
from postman_placement.explain import explain
from postman_placement.solve import solve

CASES = 200
SEEDS = st.integers(min_value=0, max_value=1_000_000)
few = settings(max_examples=25, deadline=None, derandomize=True)


def cost_of(snapshot: Snapshot, options: Options) -> float:
    """Of the best placement, besides missing backups and with their number; infinite if there is none."""
    try:
        solution = solve(snapshot, options)
    except Infeasible:
        return math.inf
    return Judge(snapshot, options).evaluate(solution.assignments).total


def check(snapshot: Snapshot, options: Options, optimum: float) -> str:
    """The solver's answer is the optimum, is proven to be, and is what it is said to cost. Says what kind it was."""
    if math.isinf(optimum):
        with pytest.raises(Infeasible) as caught:
            solve(snapshot, options)
        assert caught.value.reasons
        assert all(caught.value.reasons)
        return "infeasible"
    solution = solve(snapshot, options)
    placed = explain(snapshot, options, solution)
    assert placed.cost.total == pytest.approx(optimum, rel=1e-6)
    assert placed.bound <= optimum * (1 + 1e-9)
    assert placed.is_optimal
    parts = placed.cost.primary + placed.cost.backup + placed.cost.helpers + placed.cost.missing_backups
    assert parts == pytest.approx(placed.cost.total, rel=1e-9)
    explained = sum(one.cost for one in placed.assignments) + sum(helper.cost for helper in placed.helpers)
    assert explained == pytest.approx(placed.cost.total, rel=1e-9)
    return "missing backups" if placed.cost.missing_backups else "complete"


def test_always_the_optimum_of_trying_everything() -> None:
    kinds = []
    for seed in range(CASES):
        snapshot, options = random_case(seed)
        kinds.append(check(snapshot, options, BruteForce(snapshot, options).optimum()))
    assert {kind: kinds.count(kind) >= 30 for kind in set(kinds)} == {
        "complete": True,
        "missing backups": True,
        "infeasible": True,
    }


def test_rounds_with_more_and_more_domains_lead_to_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small programs get all rows at once; here they are made to go the way of the big ones."""
    monkeypatch.setattr(solve_module, "COLUMNS_AT_ONCE", 0)
    for seed in range(CASES, CASES + 80):
        snapshot, options = random_case(seed)
        check(snapshot, options, BruteForce(snapshot, options).optimum())


@few
@given(SEEDS, st.randoms(use_true_random=False))
def test_neither_order_nor_names_change_the_cost(seed: int, rng: object) -> None:
    snapshot, options = random_case(seed)
    shuffled = replace(
        snapshot,
        sites=tuple(rng.sample(snapshot.sites, len(snapshot.sites))),  # type: ignore[attr-defined]
        demands=tuple(rng.sample(snapshot.demands, len(snapshot.demands))),  # type: ignore[attr-defined]
        helpers=tuple(rng.sample(snapshot.helpers, len(snapshot.helpers))),  # type: ignore[attr-defined]
    )
    cost = cost_of(snapshot, options)
    if math.isfinite(cost):
        assert solve(snapshot, options) == solve(shuffled, options)
    last = len(snapshot.helpers) + 1
    renamed = replace(
        snapshot,
        helpers=tuple(replace(one, helper_id=last - one.helper_id) for one in snapshot.helpers),
        demands=tuple(replace(one, group=f"x{9 - int(one.group[1:])}") for one in snapshot.demands),
    )
    other = replace(options, excluded_helpers=frozenset(last - one for one in options.excluded_helpers))
    assert cost_of(renamed, other) == pytest.approx(cost, rel=1e-6)


@few
@given(SEEDS, st.sampled_from([1e-3, 0.5, 7.0, 1e6]))
def test_costs_scale_with_their_unit(seed: int, factor: float) -> None:
    snapshot, options = random_case(seed)
    scaled = replace(
        snapshot,
        sites=tuple(replace(one, helper_capacity_pps=one.helper_capacity_pps * factor) for one in snapshot.sites),
        demands=tuple(replace(one, rate_pps=one.rate_pps * factor) for one in snapshot.demands),
        helpers=tuple(
            replace(one, capacity_pps=one.capacity_pps * factor, cost=one.cost * factor) for one in snapshot.helpers
        ),
    )
    assert cost_of(scaled, options) == pytest.approx(cost_of(snapshot, options) * factor, rel=1e-6)


@few
@given(SEEDS)
def test_a_useless_helper_changes_nothing(seed: int) -> None:
    snapshot, options = random_case(seed)
    nowhere = Site("nowhere", helper_capacity_pps=1e9)
    more = replace(
        snapshot, sites=(*snapshot.sites, nowhere), helpers=(*snapshot.helpers, helper_at(nowhere, 99, "useless"))
    )
    assert cost_of(more, options) == pytest.approx(cost_of(snapshot, options), rel=1e-6)


@few
@given(SEEDS, st.integers(min_value=0, max_value=3))
def test_more_capacity_never_costs_more(seed: int, which: int) -> None:
    snapshot, options = random_case(seed)
    helpers = list(snapshot.helpers)
    grown = helpers[which % len(helpers)]
    helpers[which % len(helpers)] = replace(grown, capacity_pps=grown.capacity_pps * 2)
    assert cost_of(replace(snapshot, helpers=tuple(helpers)), options) <= cost_of(snapshot, options) * (1 + 1e-6)


@few
@given(SEEDS, st.floats(min_value=0.0, max_value=120.0))
def test_a_tighter_latency_bound_never_costs_less(seed: int, bound_us: float) -> None:
    snapshot, options = random_case(seed)
    first, *others = snapshot.demands
    loose_us = math.inf if first.latency_us_max is None else first.latency_us_max
    tight = replace(snapshot, demands=(replace(first, latency_us_max=min(loose_us, bound_us)), *others))
    assert cost_of(tight, options) >= cost_of(snapshot, options) * (1 - 1e-6)


def test_five_helpers_and_twenty_groups_are_proven() -> None:
    snapshot = ring(helpers=5, groups=20, share=0.3)
    placed = explain(snapshot, Options(), solve(snapshot, Options(time_s_max=60)))
    assert placed.is_optimal
    assert placed.cost.missing_backups == 0


def test_twenty_helpers_and_eighty_groups_survive_each_domain_within_a_percent_of_the_bound() -> None:
    """Big enough for the way with rounds, and tight enough for the first round not to be the last."""
    snapshot = ring(helpers=20, groups=80, share=0.35)
    improved: list[Solution] = []
    options = Options(time_s_max=60)
    solution = solve(snapshot, options, improved.append)
    placed = explain(snapshot, options, solution)
    assert placed.gap < 0.01
    assert all(helper.worst_failure_rate_pps <= helper.capacity_pps * (1 + 1e-6) for helper in placed.helpers)
    costs = [Judge(snapshot, options).evaluate(one.assignments).total for one in improved]
    assert costs == sorted(costs, reverse=True)
    assert improved[-1].assignments == solution.assignments


def test_the_same_snapshot_has_the_same_answer() -> None:
    snapshot = ring(helpers=6, groups=12, share=0.25)
    assert solve(snapshot, Options(time_s_max=60)) == solve(snapshot, Options(time_s_max=60))


def test_too_little_time_leaves_a_placement_and_its_bound() -> None:
    snapshot = ring(helpers=20, groups=80, share=0.35)
    options = Options(time_s_max=0.001)
    placed = explain(snapshot, options, solve(snapshot, options))
    assert 0 <= placed.bound <= placed.cost.total
    assert not placed.is_optimal


def test_too_little_time_to_find_any_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(solve_module, "greedy", lambda *_, **__: None)
    with pytest.raises(NotSolvedInTime, match="time_s_max"):
        solve(ring(helpers=20, groups=80, share=0.35), Options(time_s_max=1e-6))


def test_a_problem_too_big_for_a_proof_has_a_placement_and_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(solve_module, "CHOICES_MAX", 100)
    snapshot = ring(helpers=20, groups=80, share=0.35)
    placed = explain(snapshot, Options(), solve(snapshot, Options()))
    assert 0 < placed.bound <= placed.cost.total
    assert placed.gap < 0.5


def test_nothing_to_place() -> None:
    assert solve(replace(ring(helpers=2, groups=1, share=0.1), demands=()), Options()) == Solution((), 0.0)


def test_contradictions_are_named() -> None:
    snapshot = ring(helpers=2, groups=2, share=0.1)
    broken = replace(
        snapshot,
        demands=(*snapshot.demands, snapshot.demands[0], Demand("lost", "svc", "atlantis", ("s0",), 1.0)),
        links=(Link("s0", "lemuria", 1.0),),
        measurements=(Measurement("s0", "s1", math.nan, START),),
    )
    with pytest.raises(InvalidSnapshot) as caught:
        solve(broken, Options(headroom=1.0))
    said = str(caught.value)
    for name in ("g0 to svc", "atlantis", "lemuria", "measurement s0 to s1", "headroom"):
        assert name in said


def ring(*, helpers: int, groups: int, share: float) -> Snapshot:
    """Helpers at as many sites on a ring, groups spread over them with rates that differ, one server site."""
    rates = [10.0 + 7 * (index % 11) for index in range(groups)]
    capacity_pps = sum(rates) / helpers / share
    sites = tuple(Site(f"s{index}", helper_capacity_pps=capacity_pps) for index in range(helpers))
    links = tuple(Link(f"s{index}", f"s{(index + 1) % helpers}", 100.0 + 13 * (index % 5)) for index in range(helpers))
    demands = tuple(
        Demand(f"g{index}", "svc", f"s{index * 3 % helpers}", ("s0", f"s{helpers // 2}"), rate)
        for index, rate in enumerate(rates)
    )
    return Snapshot(
        sites, links, (), demands, tuple(helper_at(site, index + 1, f"h{index}") for index, site in enumerate(sites))
    )
