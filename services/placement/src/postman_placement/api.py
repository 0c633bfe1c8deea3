# SPDX-License-Identifier: Apache-2.0
"""All HTTP of placement, `/v1`: parse, authorise, call a use-case, answer. Bodies are in contracts' rest_placement."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response

from postman_contracts import rest_placement as rest
from postman_contracts.fields import Name, Time
from postman_kit.auth import Role, require
from postman_placement import answers
from postman_placement.bus import Acknowledgements
from postman_placement.rows import Stored
from postman_placement.service.apply import Applying
from postman_placement.service.context import Context
from postman_placement.service.inputs import Inputs
from postman_placement.service.placements import Placements

BODY_BYTES_MAX: Final = 8 * 1024 * 1024
"""Room for the largest topology that the contract allows, and for 20,000 demands of ordinary length."""

_NAME: Final = r"[A-Za-z0-9][A-Za-z0-9._:-]{0,62}"


@dataclass(frozen=True, slots=True)
class Services:
    """What the routes call; the application's `state.services`."""

    context: Context
    inputs: Inputs
    placements: Placements
    applying: Applying
    acknowledgements: Acknowledgements


async def _services(request: Request) -> Services:
    services: Services = request.app.state.services
    services.context.require_ready()
    return services


ServicesDep = Annotated[Services, Depends(_services)]
PlacementId = Annotated[UUID, Path()]
Limit = Annotated[int, Query(ge=1, le=500)]
AfterPair = Annotated[str, Query(pattern=rf"^({_NAME},{_NAME})?$", description="`next` of the page before")]
Before = Annotated[Time | None, Query(description="`next` of the page before")]
IdempotencyKey = Annotated[str | None, Header(min_length=8, max_length=128, pattern=r"^[\x21-\x7e]+$")]

router = APIRouter(prefix="/v1")
viewer = Depends(require(Role.VIEWER))
agent = Depends(require(Role.AGENT))
operator = Depends(require(Role.OPERATOR))


# --- inputs ---------------------------------------------------------------------------------------


@router.put("/topology", dependencies=[operator], tags=["inputs"])
async def put_topology(body: rest.Topology, services: ServicesDep) -> rest.TopologyAnswer:
    """Replace sites and links. The version grows only if something is different."""
    return await services.inputs.put_topology(body)


@router.get("/topology", dependencies=[viewer], tags=["inputs"])
async def get_topology(services: ServicesDep) -> rest.TopologyAnswer:
    """Sites and links."""
    return await services.inputs.topology()


@router.post("/measurements", dependencies=[agent], tags=["inputs"])
async def take_measurements(body: rest.Measurements, services: ServicesDep) -> rest.MeasurementsTaken:
    """Tell measured round trips. Of each pair the newest counts; sending one again changes nothing."""
    return await services.inputs.take(body)


@router.get("/measurements", dependencies=[viewer], tags=["inputs"])
async def list_measurements(services: ServicesDep, after: AfterPair = "", limit: Limit = 100) -> rest.MeasurementPage:
    """The newest measurement of each pair."""
    a, _, b = after.partition(",")
    found = await services.inputs.measurements((a, b), limit)
    return rest.MeasurementPage(items=found, next=f"{found[-1].a},{found[-1].b}" if len(found) == limit else None)


@router.put("/demands", dependencies=[operator], tags=["inputs"])
async def put_demands(body: rest.Demands, services: ServicesDep) -> rest.DemandsAnswer:
    """Replace all demands. The version grows only if something is different."""
    return await services.inputs.put_demands(body)


@router.get("/demands", dependencies=[viewer], tags=["inputs"])
async def get_demands(services: ServicesDep) -> rest.DemandsAnswer:
    """All demands."""
    return await services.inputs.demands()


# --- placements -----------------------------------------------------------------------------------


def _answer(stored: Stored, services: Services, status: int = 200) -> Response:
    """A placement as JSON. It is put together here, and not by the framework: it may be long."""
    content = answers.placement_json(stored, services.acknowledgements.is_prepared)
    headers = {"Location": f"/v1/placements/{stored.placement_id}"} if status == 201 else {}
    return Response(content, status, headers, media_type="application/json")


@router.post(
    "/placements",
    status_code=201,
    response_model=rest.Placement,
    responses={200: {"model": rest.Placement, "description": "The answer to a dry run"}},
    dependencies=[operator],
    tags=["placements"],
)
async def make_placement(
    body: rest.PlacementRequest, services: ServicesDep, idempotency_key: IdempotencyKey = None
) -> Response:
    """Find the best placement for what is known now. With an `Idempotency-Key` the request may be sent again: it is
    solved once. A dry run (200) is not kept."""
    stored = await services.placements.make(body, idempotency_key)
    return _answer(stored, services, 200 if body.dry_run else 201)


@router.get("/placements", dependencies=[viewer], tags=["placements"])
async def list_placements(services: ServicesDep, before: Before = None, limit: Limit = 100) -> rest.PlacementPage:
    """The placements that are kept, newest first."""
    found = await services.placements.page(before, limit)
    return rest.PlacementPage(items=found, next=found[-1].made_at if len(found) == limit else None)


@router.get("/placements/{placement_id}", response_model=rest.Placement, dependencies=[viewer], tags=["placements"])
async def get_placement(placement_id: PlacementId, services: ServicesDep) -> Response:
    """One placement: its cost and bound, and for each group why it has its helpers and not others."""
    return _answer(await services.placements.get(placement_id), services)


@router.post(
    "/placements/{placement_id}/apply", response_model=rest.Placement, dependencies=[operator], tags=["placements"]
)
async def apply_placement(placement_id: PlacementId, services: ServicesDep) -> Response:
    """Put it in force: all clients and helpers concerned hear of it. To apply the one that is in force changes nothing;
    409 if what it was made from is not so any more."""
    return _answer(await services.applying.apply(placement_id), services)


@router.get("/assignments", dependencies=[viewer], tags=["placements"])
async def list_assignments(
    services: ServicesDep,
    service: Annotated[Name | None, Query()] = None,
    group: Annotated[Name | None, Query()] = None,
) -> rest.Assignments:
    """Who uses which helper now."""
    return await services.placements.assignments(service, group)
