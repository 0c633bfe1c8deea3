# SPDX-License-Identifier: Apache-2.0
"""Use-cases with their parts: migrations, the solver processes and their queue, the registry and health as sources."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
import pytest_asyncio
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from fastapi import FastAPI
from placement_parts import DEMAND, Placement, Registry, served, until
from sqlalchemy import Connection, inspect, text

from postman_contracts.problems import ProblemType
from postman_contracts.rest_health import Verdict, VerdictPage
from postman_kit.db import Database
from postman_kit.errors import ProblemError
from postman_kit.migrate import migrate
from postman_placement import domain
from postman_placement.domain import Infeasible, InvalidSnapshot, Options
from postman_placement.fleet import FleetHelper, FleetSource
from postman_placement.service.solving import Solvers
from postman_placement.solver_process import SolverFailed, SolverProcess
from postman_placement.tables import SCHEMA, SCRIPTS, metadata

NOW = datetime(2026, 1, 1, tzinfo=UTC)


# --- migrations -----------------------------------------------------------------------------------


async def test_migrations_make_the_tables_and_take_them_back(database_url: str) -> None:
    def difference(connection: Connection) -> list[Any]:
        options = {"include_schemas": True, "include_name": lambda name, kind, _: kind != "schema" or name == SCHEMA}
        found = compare_metadata(MigrationContext.configure(connection, opts=options), metadata)
        return [item for item in found if "alembic_version" not in str(item) and "index" not in str(item[0])]

    def tables(connection: Connection) -> set[str]:
        return set(inspect(connection).get_table_names(SCHEMA))

    database = Database(database_url, name="test")
    async with database.transaction() as connection:
        assert await connection.run_sync(difference) == []
    await migrate(database, schema=SCHEMA, scripts=SCRIPTS, revision="base", back=True)
    async with database.transaction() as connection:
        assert await connection.run_sync(tables) == {"alembic_version"}
    await asyncio.gather(*(migrate(database, schema=SCHEMA, scripts=SCRIPTS) for _ in range(3)))
    async with database.transaction() as connection:
        assert await connection.run_sync(tables) >= {"sites", "demands", "placements", "outbox"}
        versions = (await connection.execute(text("SELECT name, value FROM placement.versions"))).all()
    assert sorted(tuple(row) for row in versions) == [("demands", 0), ("epoch", 0), ("topology", 0)]
    await database.close()


# --- solver processes -----------------------------------------------------------------------------

SITES = tuple(domain.Site(name) for name in ("c", "s", "h"))
SNAPSHOT = domain.Snapshot(
    sites=SITES,
    links=(domain.Link("c", "h", 10), domain.Link("h", "s", 20)),
    measurements=(),
    demands=(domain.Demand("g", "echo", "c", ("s",), 100),),
    helpers=(domain.helper_at(SITES[2], 1, "one"),),
)


@pytest_asyncio.fixture(loop_scope="session")
async def solver() -> AsyncIterator[SolverProcess]:
    solver = SolverProcess()
    yield solver
    await solver.stop()


async def test_a_process_solves_and_goes_on(solver: SolverProcess) -> None:
    answered = await solver.solve(SNAPSHOT, Options())
    assert (answered.cost.primary, answered.assignments[0].primary) == (3000, 1)
    with pytest.raises(Infeasible) as infeasible:
        await solver.solve(SNAPSHOT, Options(backup_required=True))
    assert infeasible.value.reasons
    with pytest.raises(InvalidSnapshot) as invalid:
        await solver.solve(SNAPSHOT, Options(headroom=2))
    assert "headroom" in invalid.value.problems[0]
    assert solver._process
    pid = solver._process.pid
    assert (await solver.solve(SNAPSHOT, Options())).assignments == answered.assignments
    assert solver._process.pid == pid


async def test_a_process_that_dies_costs_one_job_at_most(solver: SolverProcess) -> None:
    await solver.solve(SNAPSHOT, Options())
    assert solver._process
    os.kill(solver._process.pid, signal.SIGSTOP)
    solving = asyncio.create_task(solver.solve(SNAPSHOT, Options()))
    await asyncio.sleep(0)
    os.kill(solver._process.pid, signal.SIGKILL)
    with pytest.raises(SolverFailed):
        await solving
    assert (await solver.solve(SNAPSHOT, Options())).assignments[0].primary == 1


async def test_a_process_that_overruns_its_time_is_killed() -> None:
    solver = SolverProcess(overrun_s=0.5)
    await solver.solve(SNAPSHOT, Options())
    assert solver._process
    stuck = solver._process
    os.kill(stuck.pid, signal.SIGSTOP)
    with pytest.raises(domain.NotSolvedInTime):
        await solver.solve(SNAPSHOT, Options(time_s_max=0.1))
    assert stuck.returncode == -signal.SIGKILL
    await solver.stop()


async def test_a_process_ends_with_the_one_who_started_it(solver: SolverProcess) -> None:
    await solver.solve(SNAPSHOT, Options())
    assert solver._process
    assert solver._process.stdin
    solver._process.stdin.close()
    assert await asyncio.wait_for(solver._process.wait(), 10) == 0


async def test_the_queue_is_short_and_says_so() -> None:
    solvers = Solvers(at_once_max=1, waiting_max=1)
    await solvers.solve(SNAPSHOT, Options())
    process = solvers._all[0]._process
    assert process
    os.kill(process.pid, signal.SIGSTOP)
    waiting = [asyncio.create_task(solvers.solve(SNAPSHOT, Options())) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(ProblemError) as refused:
        await solvers.solve(SNAPSHOT, Options())
    assert (refused.value.problem.kind, refused.value.problem.status) == (ProblemType.UNAVAILABLE, 503)
    assert int(refused.value.headers["Retry-After"]) >= 1
    os.kill(process.pid, signal.SIGCONT)
    assert [one.assignments[0].primary for one in await asyncio.gather(*waiting)] == [1, 1]
    assert solvers.counters == {"solved": 3, "refused": 1}
    await solvers.stop()


async def test_while_a_solver_works_others_are_served(placement: Placement, registry: Registry) -> None:
    await registry.helper("one", "h1")
    await placement.put_inputs()
    await placement.make()
    solvers = placement.app.state.services.placements._solvers
    process = solvers._all[0]._process
    os.kill(process.pid, signal.SIGSTOP)
    solving = asyncio.create_task(placement.make())
    await until(lambda: solvers._free.locked(), bool)
    # Not only answers: what is being solved holds no lock, so its inputs may change meanwhile.
    await placement.put_inputs(demands={"items": [DEMAND | {"rate_pps": 7}]})
    os.kill(process.pid, signal.SIGCONT)
    made = await solving
    assert (made.demands_version, made.assignments[0].rate_pps) == (1, 100)


# --- where helpers and servers are ------------------------------------------------------------------


async def test_health_leaves_out_what_is_down(registry: Registry) -> None:
    ids = [await registry.helper(name, "h1") for name in ("one", "two", "three")]
    page = VerdictPage(
        items=[
            Verdict(helper_id=ids[0], incarnation=1, verdict="down", since=NOW, reason="silent", evidence={}),
            Verdict(helper_id=ids[1], incarnation=1, verdict="suspect", since=NOW, reason="slow", evidence={}),
            Verdict(helper_id=ids[2], incarnation=7, verdict="down", since=NOW, reason="of another life", evidence={}),
        ]
    )
    health = FastAPI()  # the border of health, and no part of it: what it may say is what its contract says
    health.add_api_route("/v1/verdicts", lambda: page)
    async with served(health) as health_url:
        fleet = await source(registry, health_url).look()
    assert [helper.helper_id for helper in fleet.helpers] == ids[1:]
    assert fleet.notes == ()
    fleet = await source(registry, health_url).look()
    assert [helper.helper_id for helper in fleet.helpers] == ids
    assert "health did not answer" in fleet.notes[0]


def source(registry: Registry, health_url: str, key: str = "") -> FleetSource:
    return FleetSource(
        registry.url,
        health_url,
        lambda: key or registry.key("viewer"),
        registry_timeout_s=5,
        health_timeout_s=5,
    )


async def test_all_pages_of_the_registry_are_read(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("postman_placement.fleet._PAGE", 2)
    ids = [await registry.helper(f"h{number}", "h1") for number in range(5)]
    for number in range(3):
        await registry.server(f"service-{number}", f"site-{number}", 100 + number)
    fleet = await source(registry, "http://127.0.0.1:9").look()
    assert fleet.helpers == tuple(FleetHelper(one, f"h{number}", "h1") for number, one in enumerate(ids))
    assert fleet.service_sites == {f"service-{number}": (f"site-{number}",) for number in range(3)}


@pytest.mark.parametrize(
    "answer",
    [
        {"items": [], "next": 0},
        {"items": [], "next": 1 << 40},
        {"items": [{"helper_id": 0}]},
        [],
    ],
)
async def test_a_registry_that_talks_nonsense_is_a_503(answer: Any) -> None:
    registry = FastAPI()
    registry.add_api_route("/v1/helpers", lambda: answer)
    registry.add_api_route("/v1/servers", lambda: {"items": []})
    async with served(registry) as url:
        fleet = FleetSource(url, url, lambda: "key", registry_timeout_s=5, health_timeout_s=5)
        with pytest.raises(ProblemError) as refused:
            await fleet.look()
        await fleet.close()
    assert (refused.value.problem.kind, refused.value.problem.status) == (ProblemType.UNAVAILABLE, 503)


async def test_a_key_that_the_registry_refuses_is_said(registry: Registry) -> None:
    with pytest.raises(ProblemError) as refused:
        await source(registry, "http://127.0.0.1:9", key="not-a-key-of-this-one").look()
    assert refused.value.problem.status == 503
    assert "POSTMAN_API_KEY_FILE" in refused.value.problem.detail
