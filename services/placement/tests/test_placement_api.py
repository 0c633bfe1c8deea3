# SPDX-License-Identifier: Apache-2.0
"""The REST contract over the whole service: every call, every role, malformed and contradictory requests."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from uuid import uuid4

import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from placement_parts import DEMAND, DEMANDS, MEASUREMENT, TOPOLOGY, Placement, Registry, placement_of, problem

from postman_contracts import rest_placement as rest
from postman_contracts.problems import Problem, ProblemType

LINK = TOPOLOGY["links"][0]
SOLVE = {"time_s_max": 5}
SOME_ID = "00000000-0000-4000-8000-000000000000"
CALLS: list[tuple[str, str, Any, str]] = [
    ("PUT", "/v1/topology", TOPOLOGY, "operator"),
    ("GET", "/v1/topology", None, "viewer"),
    ("POST", "/v1/measurements", {"items": [MEASUREMENT]}, "agent"),
    ("GET", "/v1/measurements", None, "viewer"),
    ("PUT", "/v1/demands", DEMANDS, "operator"),
    ("GET", "/v1/demands", None, "viewer"),
    ("POST", "/v1/placements", SOLVE, "operator"),
    ("GET", "/v1/placements", None, "viewer"),
    ("GET", f"/v1/placements/{SOME_ID}", None, "viewer"),
    ("POST", f"/v1/placements/{SOME_ID}/apply", None, "operator"),
    ("GET", "/v1/assignments", None, "viewer"),
]
ROLES = ["viewer", "agent", "operator", "admin"]


@pytest_asyncio.fixture(loop_scope="session")
async def helpers(registry: Registry) -> list[int]:
    return [await registry.helper("one", "h1"), await registry.helper("two", "h2")]


# --- the way through -------------------------------------------------------------------------------


async def test_from_inputs_to_assignments(placement: Placement, helpers: list[int]) -> None:
    await placement.put_inputs()
    made = await placement.make()
    assert (made.state, made.epoch, made.applied_at) == ("proposed", None, None)
    assert (made.topology_version, made.demands_version) == (1, 1)
    assert made.is_optimal
    (explained,) = made.assignments
    assert (explained.primary.helper_id, explained.primary.total_us) == (helpers[0], 200)
    assert explained.backup
    assert explained.backup.helper_id == helpers[1]
    assert {(helper.helper_id, helper.role, helper.is_acknowledged) for helper in made.helpers} == {
        (helpers[0], "primary", None),
        (helpers[1], "backup", None),
    }
    assert await placement.get(made.placement_id) == made
    applied = await placement.apply(made.placement_id)
    assert applied.state == "applied"
    assert applied.epoch
    assert applied.applied_at
    assert [helper.is_acknowledged for helper in applied.helpers] == [False, False]
    assert applied.assignments == made.assignments
    answer = await placement.client("viewer").get("/v1/assignments")
    assignments = rest.Assignments.model_validate(answer.json())
    assert (assignments.epoch, assignments.placement_id) == (applied.epoch, made.placement_id)
    assert assignments.items == [
        rest.AssignmentAnswer(group="g", service="echo", site="c", prefixes=[], primary=helpers[0], backup=helpers[1])
    ]


async def test_assignments_are_asked_for_by_service_and_group(placement: Placement, helpers: list[int]) -> None:
    viewer = placement.client("viewer")
    empty = rest.Assignments.model_validate((await viewer.get("/v1/assignments")).json())
    assert (empty.epoch, empty.placement_id, empty.items) == (None, None, [])
    pairs = [("g1", "a"), ("g1", "b"), ("g2", "a")]
    items = [DEMAND | {"group": group, "service": service, "rate_pps": 1} for group, service in pairs]
    await placement.put_inputs(demands={"items": items})
    await placement.apply((await placement.make()).placement_id)

    async def found(**query: str) -> list[tuple[str, str]]:
        answer = await viewer.get("/v1/assignments", params=query)
        return sorted((item["group"], item["service"]) for item in answer.json()["items"])

    assert await found() == pairs
    assert await found(service="a") == [("g1", "a"), ("g2", "a")]
    assert await found(group="g1") == [("g1", "a"), ("g1", "b")]
    assert await found(group="g2", service="b") == []


async def test_a_dry_run_leaves_nothing(placement: Placement, helpers: list[int]) -> None:
    await placement.put_inputs()
    answer = await placement.client("operator").post("/v1/placements", json={"dry_run": True})
    assert answer.status_code == 200
    dry = placement_of(answer)
    assert (dry.state, dry.is_optimal, len(dry.assignments)) == ("dry-run", True, 1)
    viewer, operator = placement.client("viewer"), placement.client("operator")
    problem(await viewer.get(f"/v1/placements/{dry.placement_id}"), ProblemType.UNKNOWN_PLACEMENT, 404)
    problem(await operator.post(f"/v1/placements/{dry.placement_id}/apply"), ProblemType.UNKNOWN_PLACEMENT, 404)
    assert (await viewer.get("/v1/placements")).json() == {"items": [], "next": None}


async def test_placements_are_listed_newest_first_and_in_pages(placement: Placement, helpers: list[int]) -> None:
    await placement.put_inputs()
    made = [(await placement.make()).placement_id for _ in range(3)]
    viewer = placement.client("viewer")
    first = rest.PlacementPage.model_validate((await viewer.get("/v1/placements", params={"limit": 2})).json())
    assert [item.placement_id for item in first.items] == [made[2], made[1]]
    assert first.next
    before = first.next.isoformat()
    second = await viewer.get("/v1/placements", params={"limit": 2, "before": before})
    page = rest.PlacementPage.model_validate(second.json())
    assert [(item.placement_id, item.state, item.assignments) for item in page.items] == [(made[0], "proposed", 1)]
    assert page.next is None


async def test_an_idempotency_key_solves_once(placement: Placement, helpers: list[int]) -> None:
    await placement.put_inputs()
    operator, headers = placement.client("operator"), {"Idempotency-Key": "0123456789abcdef"}
    answers = await asyncio.gather(*(operator.post("/v1/placements", json=SOLVE, headers=headers) for _ in range(3)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({placement_of(answer).placement_id for answer in answers}) == 1
    assert answers[0].headers["location"].endswith(str(placement_of(answers[0]).placement_id))
    other = await operator.post("/v1/placements", json={"headroom": 0.5}, headers=headers)
    problem(other, ProblemType.IDEMPOTENCY_KEY_REUSED, 422)
    assert len((await operator.get("/v1/placements")).json()["items"]) == 1


# --- what cannot be solved --------------------------------------------------------------------------


async def test_what_is_missing_is_said(placement: Placement, registry: Registry) -> None:
    operator = placement.client("operator")

    async def refused(kind: ProblemType, status: int) -> str:
        return problem(await operator.post("/v1/placements", json=SOLVE), kind, status).detail

    assert "PUT /v1/topology" in await refused(ProblemType.NOTHING_TO_PLACE, 409)
    await placement.put_inputs(demands={"items": []})
    assert "PUT /v1/demands" in await refused(ProblemType.NOTHING_TO_PLACE, 409)
    await placement.put_inputs()
    assert "POSTMAN_HELPER_SITE" in await refused(ProblemType.NOTHING_TO_PLACE, 409)
    await registry.helper("lost", "elsewhere")
    assert "lost at elsewhere" in await refused(ProblemType.NOTHING_TO_PLACE, 409)
    await registry.helper("one", "h1")
    assert (await operator.post("/v1/placements", json=SOLVE)).status_code == 201
    nobody_knows = {"items": [DEMAND | {"server_site": None}]}
    await placement.put_inputs(demands=nobody_knows)
    assert "server_site" in await refused(ProblemType.UNKNOWN_SITE, 422)
    await registry.server("echo", "nowhere")
    assert "nowhere" in await refused(ProblemType.UNKNOWN_SITE, 422)
    fewer = {"sites": [{"name": "h1"}]}
    await placement.put_inputs()
    assert (await operator.put("/v1/topology", json=fewer)).status_code == 200
    assert "site c" in await refused(ProblemType.UNKNOWN_SITE, 422)


async def test_what_is_infeasible_names_what_binds(placement: Placement, helpers: list[int]) -> None:
    operator = placement.client("operator")
    await placement.put_inputs(demands={"items": [DEMAND | {"latency_us_max": 10}]})
    refused = problem(await operator.post("/v1/placements", json=SOLVE), ProblemType.INFEASIBLE_PLACEMENT, 409)
    assert refused.errors
    await placement.put_inputs(demands={"items": [DEMAND | {"rate_pps": 5000}]})
    problem(await operator.post("/v1/placements", json=SOLVE), ProblemType.INFEASIBLE_PLACEMENT, 409)
    assert (await operator.get("/v1/placements")).json()["items"] == []


async def test_servers_are_where_the_registry_says(
    placement: Placement, registry: Registry, helpers: list[int]
) -> None:
    await registry.server("echo", "s")
    await placement.put_inputs(demands={"items": [DEMAND | {"server_site": None}]})
    (explained,) = (await placement.make()).assignments
    assert (explained.primary.helper_id, explained.primary.server_leg_us) == (helpers[0], 100)


async def test_helpers_that_cannot_be_used_are_noted(
    placement: Placement, registry: Registry, helpers: list[int]
) -> None:
    await registry.helper("lost", "elsewhere")
    await registry.helper("mute", None)
    drained = await registry.helper("drained", "h1", "draining")
    ordered = await registry.helper("ordered", "h1")
    assert (await registry.client("operator").post(f"/v1/helpers/{ordered}/drain")).status_code == 202
    await placement.put_inputs()
    made = await placement.make(excluded_helpers=[helpers[0], 60000])
    assert {helper.helper_id for helper in made.helpers} <= set(helpers)
    assert [one.primary.helper_id for one in made.assignments] == [helpers[1]]
    said = "\n".join(made.notes)
    for what in ("lost at elsewhere", "mute", "60000", "health did not answer"):
        assert what in said
    assert drained not in {helper.helper_id for helper in made.helpers}


# --- roles, wrong requests --------------------------------------------------------------------------


async def test_roles(placement: Placement, helpers: list[int]) -> None:
    clients = {role: placement.client(role) for role in ["", *ROLES]}
    for method, path, body, needed in CALLS:
        problem(await clients[""].request(method, path, json=body), ProblemType.UNAUTHORISED, 401)
        for role in ROLES:
            answer = await clients[role].request(method, path, json=body)
            if ROLES.index(role) < ROLES.index(needed):
                problem(answer, ProblemType.FORBIDDEN, 403)
            else:
                assert answer.status_code in (200, 201, 404), (method, path, answer.text)


WRONG: list[tuple[str, str, Any]] = [
    ("PUT", "/v1/topology", {}),
    ("PUT", "/v1/topology", {"sites": [{"name": ""}]}),
    ("PUT", "/v1/topology", {"sites": [{"name": "a\ud800"}]}),
    ("PUT", "/v1/topology", {"sites": [{"name": "a", "helper_capacity_pps": 0}]}),
    ("PUT", "/v1/topology", {"sites": [{"name": "a", "helper_cost": float("inf")}]}),
    ("PUT", "/v1/topology", {"sites": [{"name": "a", "helper_cost": 1.7e308}]}),
    ("PUT", "/v1/topology", {"sites": [], "links": [LINK | {"rtt_us": float("nan")}]}),
    ("PUT", "/v1/topology", {"sites": [], "links": [LINK | {"rtt_us": -1}]}),
    ("POST", "/v1/measurements", {"items": []}),
    ("POST", "/v1/measurements", {"items": [MEASUREMENT | {"rtt_us": float("nan")}]}),
    ("POST", "/v1/measurements", {"items": [MEASUREMENT | {"at": "2026-01-01T00:00:00"}]}),
    ("POST", "/v1/measurements", {"items": [MEASUREMENT | {"at": "0001-01-01T00:00:00+14:00"}]}),
    ("POST", "/v1/measurements", {"items": [MEASUREMENT | {"samples": 0}]}),
    ("GET", "/v1/measurements?after=a", None),
    ("GET", "/v1/measurements?after=a,b,c", None),
    ("PUT", "/v1/demands", {"items": [DEMAND | {"rate_pps": 0}]}),
    ("PUT", "/v1/demands", {"items": [DEMAND | {"prefixes": ["198.18.0.1/24"]}]}),
    ("PUT", "/v1/demands", {"items": [DEMAND | {"weight": float("inf")}]}),
    ("PUT", "/v1/demands", {"items": [DEMAND | {"more": 1}]}),
    ("POST", "/v1/placements", {"headroom": 1}),
    ("POST", "/v1/placements", {"time_s_max": 61}),
    ("POST", "/v1/placements", {"dry_runs": True}),
    ("POST", "/v1/placements", {"excluded_helpers": [0]}),
    ("GET", "/v1/placements?limit=501", None),
    ("GET", "/v1/placements?before=yesterday", None),
    ("GET", "/v1/placements?before=0001-01-01T00:00:00%2B14:00", None),
    ("GET", "/v1/placements/7", None),
    ("POST", "/v1/placements/7/apply", None),
    ("GET", "/v1/assignments?service=", None),
]


async def test_wrong_requests_are_422_and_name_the_field(placement: Placement) -> None:
    admin = placement.client("admin")
    for method, path, body in WRONG:
        content = None if body is None else json.dumps(body)
        answer = await admin.request(method, path, content=content, headers={"content-type": "application/json"})
        assert answer.status_code == 422, (method, path, body, answer.text)
        assert problem(answer, ProblemType.INVALID_REQUEST, 422).errors, (method, path, body)


async def test_unknown_placements_are_404(placement: Placement) -> None:
    admin, placement_id = placement.client("admin"), uuid4()
    for answer in (
        await admin.get(f"/v1/placements/{placement_id}"),
        await admin.post(f"/v1/placements/{placement_id}/apply"),
    ):
        assert str(placement_id) in problem(answer, ProblemType.UNKNOWN_PLACEMENT, 404).detail


async def test_a_body_may_be_as_long_as_the_contract_needs_and_no_longer(placement: Placement) -> None:
    operator = placement.client("operator")
    sites = [{"name": f"site-{number}"} for number in range(5000)]
    links = [{"a": "site-0", "b": f"site-{number}", "rtt_us": number} for number in range(1, 5000)]
    answer = await operator.put("/v1/topology", json={"sites": sites, "links": links})
    assert answer.status_code == 200, answer.text
    items = [
        {"group": f"group-{number}", "service": "echo", "site": f"site-{number % 5000}", "rate_pps": 1}
        for number in range(20_000)
    ]
    assert (await operator.put("/v1/demands", json={"items": items})).status_code == 200
    assert len((await operator.get("/v1/demands")).json()["items"]) == 20_000
    problem(await operator.put("/v1/demands", content=b" " * 9_000_000), ProblemType.BODY_TOO_LARGE, 413)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
mutations = st.dictionaries(
    st.sampled_from(["sites", "links", "items", *DEMAND, *MEASUREMENT, "headroom"]), json_values
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
async def test_whatever_is_sent_it_is_never_a_500(placement: Placement, data: st.DataObject) -> None:
    method, path, body, _ = data.draw(st.sampled_from([call for call in CALLS if call[2] is not None]))
    sent = data.draw(st.just((body or {}) | data.draw(mutations)) | json_values)
    raw = json.dumps(sent).encode() if data.draw(st.booleans()) else data.draw(st.binary(max_size=200))
    headers = {"content-type": "application/json"}
    answer = await placement.client("admin").request(method, path, content=raw, headers=headers)
    assert answer.status_code < 500, (method, path, raw)
    if answer.status_code >= 400:
        assert Problem.model_validate(answer.json()).detail


async def test_the_openapi_document_names_every_call(placement: Placement) -> None:
    paths = (await placement.client("viewer").get("/openapi.json")).json()["paths"]
    listed = {(method.upper(), path) for path, calls in paths.items() for method in calls}
    assert {(method, path.replace(SOME_ID, "{placement_id}")) for method, path, _, _ in CALLS} <= listed
