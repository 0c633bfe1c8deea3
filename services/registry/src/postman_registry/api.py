# SPDX-License-Identifier: Apache-2.0
"""All HTTP of the registry, `/v1`: parse, authorise, call a use-case, answer. Bodies are in postman_contracts.rest."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Path, Query, Request

from postman_contracts import rest
from postman_contracts.fields import HelperId, HostName, Incarnation, Name, ServerId
from postman_contracts.problems import FieldError, ProblemType
from postman_kit.auth import Role, require
from postman_kit.bus import Bus
from postman_kit.errors import ProblemError
from postman_registry import answers
from postman_registry.assignments import ClientPlace
from postman_registry.bus import order
from postman_registry.domain import HelperSpec, ServerSpec
from postman_registry.service.context import Context
from postman_registry.service.helpers import Helpers
from postman_registry.service.resolve import Resolver
from postman_registry.service.servers import Servers


@dataclass(frozen=True, slots=True)
class Services:
    """What the routes call; the application's `state.services`."""

    context: Context
    helpers: Helpers
    servers: Servers
    resolver: Resolver
    bus: Bus


async def _services(request: Request) -> Services:
    services: Services = request.app.state.services
    services.context.required_cid_key()  # 503 until the database has been reached
    return services


ServicesDep = Annotated[Services, Depends(_services)]
HelperIdPath = Annotated[HelperId, Path()]
ServerIdPath = Annotated[ServerId, Path()]
IncarnationQuery = Annotated[Incarnation, Query()]
After = Annotated[int, Query(ge=0, le=65535, description="`next` of the page before")]
Limit = Annotated[int, Query(ge=1, le=500)]
IdempotencyKey = Annotated[str | None, Header(min_length=8, max_length=128, pattern=r"^[\x21-\x7e]+$")]

router = APIRouter(prefix="/v1")
viewer = Depends(require(Role.VIEWER))
agent = Depends(require(Role.AGENT))
operator = Depends(require(Role.OPERATOR))


# --- helpers --------------------------------------------------------------------------------------


@router.post("/helpers", status_code=201, dependencies=[agent], tags=["helpers"])
async def register_helper(body: rest.HelperRegistration, services: ServicesDep) -> rest.HelperGrant:
    """A helper starts. The same name gets the same id and the next incarnation."""
    view = await services.helpers.register(HelperSpec(**body.model_dump()))
    context = services.context
    return answers.helper_grant(view, context.required_cid_key(), context.policy.helper_lease_ttl)


@router.put("/helpers/{helper_id}/lease", dependencies=[agent], tags=["helpers"])
async def renew_helper(
    helper_id: HelperIdPath, body: rest.HelperLeaseRenewal, services: ServicesDep
) -> rest.HelperLease:
    """A helper renews its lease."""
    view = await services.helpers.renew(helper_id, body.incarnation, body.state, body.stats, body.servers_version)
    return answers.helper_lease(view, services.context.policy.helper_lease_ttl)


@router.delete("/helpers/{helper_id}", status_code=204, dependencies=[agent], tags=["helpers"])
async def remove_helper(helper_id: HelperIdPath, incarnation: IncarnationQuery, services: ServicesDep) -> None:
    """A helper ends in order."""
    await services.helpers.leave(helper_id, incarnation)


@router.post("/helpers/{helper_id}/drain", status_code=202, dependencies=[operator], tags=["helpers"])
async def drain_helper(helper_id: HelperIdPath, services: ServicesDep) -> rest.HelperOrdered:
    """Take no more sessions to this helper, until the order to serve again, whether it restarts or not.

    It hears so on the bus and with its next lease renewal.
    """
    await services.helpers.order_drain(helper_id)
    await order(services.bus, helper_id, "drain")
    return rest.HelperOrdered(desired_state="draining")


@router.post("/helpers/{helper_id}/undrain", status_code=202, dependencies=[operator], tags=["helpers"])
async def undrain_helper(helper_id: HelperIdPath, services: ServicesDep) -> rest.HelperOrdered:
    """Take sessions to this helper again. It is offered once its supervisor says that it serves."""
    await services.helpers.order_undrain(helper_id)
    await order(services.bus, helper_id, "undrain")
    return rest.HelperOrdered(desired_state="up")


@router.get("/helpers", dependencies=[viewer], tags=["helpers"])
async def list_helpers(services: ServicesDep, after: After = 0, limit: Limit = 100) -> rest.HelperPage:
    """All helpers, also those that are down or gone."""
    found, epoch = await services.helpers.page(after, limit)
    items = [answers.helper_answer(helper) for helper in found]
    following = found[-1].helper_id if len(found) == limit else None
    return rest.HelperPage(items=items, next=following, assignment_epoch=epoch)


@router.get("/helpers/{helper_id}", dependencies=[viewer], tags=["helpers"])
async def get_helper(helper_id: HelperIdPath, services: ServicesDep) -> rest.Helper:
    """One helper."""
    return answers.helper_answer(await services.helpers.get(helper_id))


# --- servers --------------------------------------------------------------------------------------


@router.post("/servers", status_code=201, dependencies=[agent], tags=["servers"])
async def register_server(
    body: rest.ServerRegistration, services: ServicesDep, idempotency_key: IdempotencyKey = None
) -> rest.ServerGrant:
    """A server begins to listen. With an `Idempotency-Key` the request may be sent again: same server, same answer."""
    if body.udp_port + body.shards - 1 > 65535:
        raise _invalid("udp_port", f"{body.shards} shards from this port on go beyond 65535")
    digest = sha256(body.model_dump_json().encode()).digest()
    granted = await services.servers.register(ServerSpec(**body.model_dump()), idempotency_key, digest)
    context = services.context
    return answers.server_grant(granted, context.required_cid_key(), context.policy.server_lease_ttl)


@router.put("/servers/{server_id}/lease", dependencies=[agent], tags=["servers"])
async def renew_server(
    server_id: ServerIdPath, body: rest.ServerLeaseRenewal, services: ServicesDep
) -> rest.ServerLease:
    """A server renews its lease."""
    keys = await services.servers.renew(server_id, body.incarnation)
    ttl = services.context.policy.server_lease_ttl
    return rest.ServerLease(lease_ttl_s=ttl.total_seconds(), keys=answers.server_keys(keys))


@router.delete("/servers/{server_id}", status_code=204, dependencies=[agent], tags=["servers"])
async def remove_server(server_id: ServerIdPath, incarnation: IncarnationQuery, services: ServicesDep) -> None:
    """A server ends in order."""
    await services.servers.leave(server_id, incarnation)


@router.get("/servers", dependencies=[viewer], tags=["servers"])
async def list_servers(services: ServicesDep, after: After = 0, limit: Limit = 100) -> rest.ServerPage:
    """All servers that live or ended within the last hour."""
    found = await services.servers.page(after, limit)
    items = [answers.server_answer(server) for server in found]
    return rest.ServerPage(items=items, next=found[-1].server_id if len(found) == limit else None)


# --- clients --------------------------------------------------------------------------------------


@router.get("/resolve", dependencies=[agent], tags=["clients"])
async def resolve(
    request: Request,
    services: ServicesDep,
    host: Annotated[HostName | None, Query()] = None,
    port: Annotated[int | None, Query(ge=1, le=65535)] = None,
    service: Annotated[Name | None, Query()] = None,
    agent_name: Annotated[Name | None, Query(alias="agent")] = None,
    group: Annotated[Name | None, Query(description="the client's group at placement")] = None,
    site: Annotated[Name | None, Query(description="where the client is")] = None,
) -> rest.Resolution:
    """Where a server is, by which helpers, with which token. Either `host` and `port`, or `service`."""
    client = _client(request, agent_name)
    place = ClientPlace(group, site, request.client.host if request.client else None)
    if service is not None and host is None and port is None:
        return answers.resolution(await services.resolver.by_service(service, client, place))
    if service is None and host is not None and port is not None:
        return answers.resolution(await services.resolver.by_host(host, port, client, place))
    raise _invalid("host" if host is None else "port", "give either host and port, or service")


@router.post("/tokens", dependencies=[agent], tags=["clients"])
async def renew_token(
    request: Request,
    body: rest.TokenRequest,
    services: ServicesDep,
    agent_name: Annotated[Name | None, Query(alias="agent")] = None,
) -> rest.TokenGrant:
    """A fresh token for a server that the client talks to already."""
    return answers.token_grant(await services.resolver.renew_token(body.server_id, _client(request, agent_name)))


def _client(request: Request, agent_name: str | None) -> str:
    return agent_name or (request.client.host if request.client else "unknown")


def _invalid(field: str, message: str) -> ProblemError:
    return ProblemError(
        ProblemType.INVALID_REQUEST,
        422,
        "The request is not valid",
        f"Correct and send again: {field}: {message}.",
        errors=[FieldError(field=field, message=message)],
    )
