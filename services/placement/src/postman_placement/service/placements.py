# SPDX-License-Identifier: Apache-2.0
"""Use-cases of placements: solve, look, list; who uses which helper now. Putting in force is in apply.py."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from uuid import UUID, uuid4

from pydantic import TypeAdapter

from postman_contracts import rest_placement as rest
from postman_contracts.messages import Assigned
from postman_kit.db import Connection
from postman_placement import answers, refusals, store
from postman_placement import store_inputs as inputs
from postman_placement import store_placements as placements
from postman_placement.domain import Options, Snapshot
from postman_placement.fleet import Fleet, FleetSource
from postman_placement.rows import Stored
from postman_placement.service.context import Context
from postman_placement.service.solving import Solvers
from postman_placement.snapshot import StoredInputs, Usable, snapshot_of, usable_helpers, useless_exclusions
from postman_placement.solver_job import Answered

ASSIGNED_LIST = TypeAdapter(list[Assigned])


@dataclass(frozen=True, slots=True)
class _Made:
    """A placement that has been solved and not been stored."""

    inputs: StoredInputs
    usable: Usable
    answered: Answered


class Placements:
    """Use-cases of placements."""

    def __init__(self, context: Context, fleet: FleetSource, solvers: Solvers, *, kept_max: int) -> None:
        self._context = context
        self._fleet = fleet
        self._solvers = solvers
        self._kept_max = kept_max

    async def make(self, request: rest.PlacementRequest, idempotency_key: str | None) -> Stored:
        """Solve, and keep the answer unless it is a dry run. The same request with the same key is solved once."""
        digest = sha256(request.model_dump_json().encode()).digest()
        if idempotency_key is not None and not request.dry_run:
            async with self._context.database.transaction() as connection:
                earlier = await _earlier(connection, idempotency_key, digest)
            if earlier is not None:
                return earlier
        made = await self._solve(request)
        if request.dry_run:
            return _stored(request, made, digest, "dry-run", self._context.clock())
        async with self._context.database.transaction() as connection:
            await placements.lock_additions(connection)
            if idempotency_key is not None:
                earlier = await _earlier(connection, idempotency_key, digest)
                if earlier is not None:
                    return earlier
            made_at = await placements.next_made_at(connection, self._context.clock())
            stored = _stored(request, made, digest, "proposed", made_at)
            await placements.add(connection, stored, idempotency_key)
            await placements.prune(connection, self._kept_max)
        return stored

    async def _solve(self, request: rest.PlacementRequest) -> _Made:
        """Solve what is known now. No transaction is open meanwhile."""
        fleet = await self._fleet.look()
        stored_inputs, usable = await self._read_inputs(fleet)
        snapshot: Snapshot = snapshot_of(stored_inputs, fleet, usable)
        options = Options(
            headroom=request.headroom,
            backup_weight=request.backup_weight,
            backup_required=request.backup_required,
            excluded_helpers=frozenset(request.excluded_helpers),
            time_s_max=request.time_s_max,
        )
        return _Made(stored_inputs, usable, await self._solvers.solve(snapshot, options))

    async def _read_inputs(self, fleet: Fleet) -> tuple[StoredInputs, Usable]:
        """All inputs as they are at one moment, with the measurements that concern helpers."""
        async with self._context.database.transaction() as connection:
            topology_version = await store.read_version(connection, "topology")
            demands_version = await store.read_version(connection, "demands")
            sites = await inputs.read_sites(connection)
            usable = usable_helpers(fleet, sites)
            ends = sorted(set(usable.site_of.values()))
            found = StoredInputs(
                topology_version=topology_version,
                demands_version=demands_version,
                sites=sites,
                links=await inputs.read_links(connection),
                measurements=await inputs.read_measurements(connection, ends),
                demands=await inputs.read_demands(connection),
            )
        return found, usable

    async def get(self, placement_id: UUID) -> Stored:
        """One placement."""
        async with self._context.database.transaction() as connection:
            stored = await placements.find(connection, placement_id, lock=False)
        if stored is None:
            raise refusals.unknown_placement(placement_id)
        return stored

    async def page(self, before: datetime | None, limit: int) -> list[rest.PlacementSummary]:
        """Placements made before this time, newest first."""
        async with self._context.database.transaction() as connection:
            return await placements.page(connection, before, limit)

    async def assignments(self, service: str | None, group: str | None) -> rest.Assignments:
        """Who uses which helper now."""
        async with self._context.database.transaction() as connection:
            await store.read_version(connection, "epoch")  # it stays in force until we have read it
            applied = await placements.find_applied_id(connection)
            items = await placements.in_force(connection, service, group)
        epoch, placement_id = applied or (None, None)
        return rest.Assignments(
            epoch=epoch, placement_id=placement_id, items=[answers.assignment(item) for item in items]
        )


async def _earlier(connection: Connection, idempotency_key: str, digest: bytes) -> Stored | None:
    """What was made by the request with this key; a problem if that was another request."""
    earlier = await placements.find_by_key(connection, idempotency_key)
    if earlier is not None and earlier.request_digest != digest:
        raise refusals.key_reused()
    return earlier


def _stored(
    request: rest.PlacementRequest, made: _Made, digest: bytes, state: rest.PlacementState, made_at: datetime
) -> Stored:
    """The placement as it is kept."""
    answered = made.answered
    placement = rest.Placement(
        placement_id=uuid4(),
        state=state,
        made_at=made_at,
        topology_version=made.inputs.topology_version,
        demands_version=made.inputs.demands_version,
        request=request,
        is_optimal=answered.is_optimal,
        cost=answered.cost,
        bound=answered.bound,
        gap=answered.gap,
        solve_s=answered.solve_s,
        helpers=list(answered.helpers),
        assignments=[],
        notes=(*made.usable.notes, *useless_exclusions(request.excluded_helpers, made.usable), *answered.notes),
    )
    return Stored(
        placement_id=placement.placement_id,
        state=state,
        made_at=made_at,
        applied_at=None,
        epoch=None,
        topology_version=placement.topology_version,
        demands_version=placement.demands_version,
        usable_helpers=made.usable.site_of,
        cost=answered.cost.total,
        gap=answered.gap,
        assignments=len(answered.assignments),
        document=answers.document_of(placement),
        explained=answered.explained,
        assigned=ASSIGNED_LIST.dump_json(_assigned(made)),
        request_digest=digest,
    )


def _assigned(made: _Made) -> list[Assigned]:
    """The assignments with what clients are recognised by, by service and group."""
    demands = {(demand.group, demand.service): demand for demand in made.inputs.demands}
    found = []
    for assignment in sorted(made.answered.assignments, key=lambda one: (one.service, one.group)):
        demand = demands[assignment.group, assignment.service]
        found.append(
            Assigned(
                service=demand.service,
                group=demand.group,
                site=demand.site,
                prefixes=tuple(demand.prefixes),
                primary=assignment.primary,
                backup=assignment.backup,
            )
        )
    return found
