# SPDX-License-Identifier: Apache-2.0
"""What a placement is made from, over REST: versions, which measurement counts, what contradicts itself."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest_asyncio
from placement_parts import DEMAND, MEASUREMENT, TOPOLOGY, Placement, Registry, problem

from postman_contracts import rest_placement as rest
from postman_contracts.problems import ProblemType


@pytest_asyncio.fixture(loop_scope="session")
async def helpers(registry: Registry) -> list[int]:
    return [await registry.helper("one", "h1"), await registry.helper("two", "h2")]


async def test_a_version_grows_with_each_change_and_with_nothing_else(placement: Placement) -> None:
    operator, viewer = placement.client("operator"), placement.client("viewer")
    assert (await viewer.get("/v1/topology")).json() == {"version": 0, "sites": [], "links": []}
    for body, version in ((TOPOLOGY, 1), (TOPOLOGY, 1), (TOPOLOGY | {"links": []}, 2), (TOPOLOGY, 3)):
        answer = rest.TopologyAnswer.model_validate((await operator.put("/v1/topology", json=body)).json())
        assert answer.version == version
        kept = rest.TopologyAnswer.model_validate((await viewer.get("/v1/topology")).json())
        assert (kept.version, len(kept.sites), len(kept.links)) == (version, 4, len(body["links"]))
        assert sorted(kept.sites, key=str) == sorted(answer.sites, key=str)
        assert sorted(kept.links, key=str) == sorted(answer.links, key=str)
    full = DEMAND | {"prefixes": ["198.18.0.0/24", "2001:db8::/32"], "weight": 2, "latency_us_max": 5000}
    for items, version in (([full], 1), ([full], 1), ([], 2)):
        answer = await operator.put("/v1/demands", json={"items": items})
        assert answer.json()["version"] == version
        assert (await viewer.get("/v1/demands")).json() == answer.json()


async def test_of_a_pair_the_newest_measurement_counts(placement: Placement, helpers: list[int]) -> None:
    agent = placement.client("agent")
    await placement.put_inputs()

    async def taken(*items: dict[str, Any]) -> tuple[int, int]:
        answer = await agent.post("/v1/measurements", json={"items": list(items)})
        found = rest.MeasurementsTaken.model_validate(answer.json())
        return found.taken, found.outdated

    newer = MEASUREMENT | {"a": "c", "b": "h1", "rtt_us": 5000, "at": "2026-01-02T00:00:00Z"}
    assert await taken(newer, MEASUREMENT) == (1, 1)
    assert await taken(MEASUREMENT) == (0, 1)
    assert await taken(newer) == (0, 1)
    kept = rest.MeasurementPage.model_validate((await agent.get("/v1/measurements")).json())
    assert kept.items == [rest.Measurement.model_validate(newer)]
    (explained,) = (await placement.make()).assignments
    assert explained.primary.helper_id == helpers[1]
    assert not explained.primary.measured
    assert await taken(newer | {"at": "2026-01-03T00:00:00Z", "rtt_us": 1}) == (1, 0)
    (explained,) = (await placement.make()).assignments
    assert (explained.primary.helper_id, explained.primary.client_leg_us) == (helpers[0], 1)


async def test_measurements_come_in_pages_and_go_with_their_site(placement: Placement) -> None:
    names = [f"n{number}" for number in range(4)]
    await placement.put_inputs({"sites": [{"name": name} for name in names]}, {"items": []})
    items = [MEASUREMENT | {"a": a, "b": b} for a in names for b in names if a > b]
    agent = placement.client("agent")
    assert (await agent.post("/v1/measurements", json={"items": items})).json() == {"taken": 6, "outdated": 0}
    seen: list[tuple[str, str]] = []
    after: str | None = ""
    while after is not None:
        answer = await agent.get("/v1/measurements", params={"after": after, "limit": 4})
        page = rest.MeasurementPage.model_validate(answer.json())
        seen += [(item.a, item.b) for item in page.items]
        after = page.next
    assert seen == sorted((a, b) for a in names for b in names if a < b)
    await placement.put_inputs({"sites": [{"name": name} for name in names[1:]]}, {"items": []})
    kept = rest.MeasurementPage.model_validate((await agent.get("/v1/measurements")).json())
    assert {name for item in kept.items for name in (item.a, item.b)} == set(names[1:])


SITES = TOPOLOGY["sites"]
LINK = TOPOLOGY["links"][0]
FUTURE = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
CONTRADICTIONS: list[tuple[str, str, Any, ProblemType, str]] = [
    ("PUT", "/v1/topology", {"sites": [*SITES, SITES[0]]}, ProblemType.INVALID_REQUEST, "sites.4.name"),
    ("PUT", "/v1/topology", TOPOLOGY | {"links": [LINK | {"b": "c"}]}, ProblemType.INVALID_REQUEST, "links.0.b"),
    (
        *("PUT", "/v1/topology", TOPOLOGY | {"links": [LINK, {"a": "h1", "b": "c", "rtt_us": 1}]}),
        *(ProblemType.INVALID_REQUEST, "links.1"),
    ),
    ("PUT", "/v1/topology", TOPOLOGY | {"links": [LINK | {"b": "x"}]}, ProblemType.UNKNOWN_SITE, "links.0.b"),
    *(
        ("POST", "/v1/measurements", {"items": [MEASUREMENT | change]}, kind, field)
        for change, kind, field in (
            ({"b": "x"}, ProblemType.UNKNOWN_SITE, "items.0.b"),
            ({"b": "h1"}, ProblemType.INVALID_REQUEST, "items.0.b"),
            ({"at": FUTURE}, ProblemType.INVALID_REQUEST, "items.0.at"),
        )
    ),
    *(
        ("PUT", "/v1/demands", {"items": [DEMAND, DEMAND | change]}, kind, field)
        for change, kind, field in (
            ({"rate_pps": 5}, ProblemType.INVALID_REQUEST, "items.1"),
            ({"service": "b", "site": "s"}, ProblemType.INVALID_REQUEST, "items.1.site"),
            ({"service": "b", "group": "h", "site": "x"}, ProblemType.UNKNOWN_SITE, "items.1.site"),
            ({"service": "b", "group": "h", "server_site": "x"}, ProblemType.UNKNOWN_SITE, "items.1.server_site"),
        )
    ),
    (
        *("PUT", "/v1/demands", {"items": [DEMAND | {"group": g, "prefixes": ["198.18.0.0/24"]} for g in "ab"]}),
        *(ProblemType.INVALID_REQUEST, "items.1.prefixes"),
    ),
]


async def test_what_contradicts_itself_is_refused_and_nothing_changes(placement: Placement) -> None:
    await placement.put_inputs()
    admin = placement.client("admin")
    for method, path, body, kind, field in CONTRADICTIONS:
        document = problem(await admin.request(method, path, json=body), kind, 422)
        assert document.errors
        assert document.errors[0].field == field, (body, document)
    for path, version in (("/v1/topology", 1), ("/v1/demands", 1)):
        assert (await admin.get(path)).json()["version"] == version
    assert (await admin.get("/v1/measurements")).json()["items"] == []


async def test_more_pairs_than_are_kept_are_refused(placement: Placement) -> None:
    inputs = placement.app.state.services.inputs
    inputs._measurements_max = 2
    await placement.put_inputs()
    agent = placement.client("agent")
    items = [MEASUREMENT | {"b": name} for name in ("c", "s", "h2")]
    problem(await agent.post("/v1/measurements", json={"items": items}), ProblemType.INVALID_REQUEST, 422)
    assert (await agent.get("/v1/measurements")).json()["items"] == []
    assert (await agent.post("/v1/measurements", json={"items": items[:2]})).json()["taken"] == 2
