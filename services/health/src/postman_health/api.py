# SPDX-License-Identifier: Apache-2.0
"""All HTTP of health, `/v1`: parse, authorise, call a use-case, answer. Bodies are in postman_contracts.rest_health."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Path, Query, Request
from fastapi.responses import StreamingResponse

from postman_contracts import rest_health as rest
from postman_contracts.fields import HelperId, ServerId
from postman_contracts.problems import ProblemType
from postman_health import answers
from postman_health.facts import KIND_MAX
from postman_health.service.history import History
from postman_health.service.live import Listener, Live
from postman_health.service.upkeep import Upkeep
from postman_health.service.watch import Watch
from postman_health.store_events import Filter
from postman_kit.auth import Role, require
from postman_kit.errors import ProblemError


@dataclass(frozen=True, slots=True)
class Services:
    """What the routes call; the application's `state.services`."""

    watch: Watch
    history: History
    live: Live
    upkeep: Upkeep


async def _services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


ServicesDep = Annotated[Services, Depends(_services)]


async def _recorded(services: ServicesDep) -> Services:
    services.upkeep.required()
    return services


RecordedDep = Annotated[Services, Depends(_recorded)]


async def _filter(
    kind: Annotated[
        str | None, Query(max_length=KIND_MAX, pattern=r"^[A-Za-z0-9_.-]+$", description="such as helper.down")
    ] = None,
    helper_id: Annotated[HelperId | None, Query()] = None,
    server_id: Annotated[ServerId | None, Query()] = None,
) -> Filter:
    return Filter(kind, helper_id, server_id)


FilterDep = Annotated[Filter, Depends(_filter)]
Limit = Annotated[int, Query(ge=1, le=500)]
Number = Annotated[int, Query(ge=0, lt=1 << 63, description="`next` of the page before, or any event's number")]
Newest = Annotated[bool, Query(description="the newest `limit` of those asked for, on one page, instead of the oldest")]
LastEventId = Annotated[int | None, Header(ge=0, lt=1 << 63, description="Set by browsers that connect again")]

router = APIRouter(prefix="/v1")
viewer = Depends(require(Role.VIEWER))


@router.get("/verdicts", dependencies=[viewer], tags=["verdicts"])
async def list_verdicts(
    services: ServicesDep,
    after: Annotated[int, Query(ge=0, le=65535, description="`next` of the page before")] = 0,
    limit: Limit = 100,
) -> rest.VerdictPage:
    """The verdicts on all helpers. From memory: also while the database is away."""
    found = services.watch.verdicts(after, limit)
    items = [answers.verdict(standing, evidence) for standing, evidence in found]
    return rest.VerdictPage(items=items, next=items[-1].helper_id if len(items) == limit else None)


@router.get("/verdicts/{helper_id}", dependencies=[viewer], tags=["verdicts"])
async def get_verdict(helper_id: Annotated[HelperId, Path()], services: ServicesDep) -> rest.Verdict:
    """The verdict on one helper, and what it rests on."""
    found = services.watch.verdict(helper_id)
    if found is None:
        raise ProblemError(
            ProblemType.UNKNOWN_HELPER,
            404,
            "Nothing is known of this helper",
            f"Health has not heard of a helper {helper_id}, or it ended in order. Those it knows: GET /v1/verdicts.",
        )
    return answers.verdict(*found)


@router.get("/events", dependencies=[viewer], tags=["events"])
async def list_events(
    services: RecordedDep, wanted: FilterDep, after: Number = 0, limit: Limit = 100, newest: Newest = False
) -> rest.EventPage:
    """What happened, oldest first."""
    found = await services.history.page(wanted, after, limit, newest=newest)
    items = [answers.event(event) for event in found]
    has_more = len(items) == limit and not newest
    return rest.EventPage(items=items, next=items[-1].number if has_more else None)


async def _listener(services: RecordedDep) -> AsyncIterator[Listener]:
    """A listener's place, from before the answer begins until it has ended, however it ends."""
    listener = services.live.enter()
    try:
        yield listener
    finally:
        services.live.leave(listener)


class EventStream(StreamingResponse):
    """Server-sent events (HTML standard, 9.2)."""

    media_type = "text/event-stream"


@router.get("/events/live", dependencies=[viewer], tags=["events"], response_class=EventStream)
async def follow_events(
    services: RecordedDep,
    listener: Annotated[Listener, Depends(_listener)],
    wanted: FilterDep,
    after: Number | None = None,
    last_event_id: LastEventId = None,
) -> EventStream:
    """What happens, as server-sent events: those after `Last-Event-ID` or `after`, or else those from now on."""
    start = last_event_id if last_event_id is not None else after
    if start is None:
        start = await services.history.newest_number()

    async def lines() -> AsyncIterator[str]:
        yield answers.RETRY
        async for events in services.live.follow(listener, wanted, start):
            yield "".join(map(answers.sent_event, events)) or answers.KEEPALIVE

    return EventStream(lines(), headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
