# SPDX-License-Identifier: Apache-2.0
"""The agent's calls to the registry (docs/architecture.md, REST), as coroutines. Answers are checked by the contracts
and turned into the plain values of agent_types.py; every failure is a RestError of one of four kinds."""

from __future__ import annotations

import ssl
import uuid
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from postman_contracts import rest
from postman_contracts.problems import Problem, ProblemType
from vcl import agent_trace
from vcl.agent_types import (
    REASON_MALFORMED,
    REASON_REFUSED_KEY,
    REASON_UNREACHABLE,
    HelperPath,
    Resolution,
    ServerGrant,
    ServerKey,
    ServerPredecessor,
)

Model = TypeVar("Model", bound=BaseModel)

# An embedded or same-site registry answers in milliseconds; a connect() of the application waits for this at worst.
CONNECT_TIMEOUT_S = 1.0
CALL_TIMEOUT_S = 2.0


class Failure(Enum):
    """Why a call brought no answer."""

    UNREACHABLE = "unreachable"  # no answer, or one that says "later": ask again
    REFUSED = "refused"  # the API key
    PROBLEM = "problem"  # the registry said no; `problem` says why
    MALFORMED = "malformed"


class RestError(Exception):
    """A call failed; `reason` is fit for the application's log."""

    def __init__(self, failure: Failure, reason: str, problem: str = "") -> None:
        super().__init__(reason)
        self.failure = failure
        self.reason = reason
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Token:
    """A renewed token."""

    token: bytes
    token_key: bytes
    expires_at: float  # Unix seconds


class Rest:
    """One HTTP client, used on one loop."""

    def __init__(self, url: str, api_key: str, who: dict[str, str]) -> None:
        """`who` says who resolves: `agent`, and `group` or `site` if they are known."""
        self._who = who
        self._http = httpx.AsyncClient(
            base_url=url,
            headers={"Authorization": f"Bearer {api_key}"} if api_key else {},
            timeout=httpx.Timeout(CALL_TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
            trust_env=False,  # a proxy for the web is no way to the registry
            verify=ssl.create_default_context(),  # the system's authorities, or those of SSL_CERT_FILE
        )

    async def close(self) -> None:
        """Closes the connections."""
        await self._http.aclose()

    async def resolve(self, host: str, port: int) -> Resolution:
        """Where the VCL server for (host, port) is; RestError with problem `no-vcl-server` if there is none."""
        params = {"host": host, "port": str(port), **self._who}
        answer = await self._call(rest.Resolution, "GET", "/v1/resolve", params=params)
        return Resolution(
            server_id=answer.server_id,
            shard=answer.shard,
            service=answer.service,
            data_address=answer.data_address,
            udp_port=answer.udp_port,
            token=answer.token,
            token_key=answer.token_key,
            token_expires_at=answer.token_expires_at.timestamp(),
            helpers=tuple(HelperPath(h.helper_id, h.data_address, h.client_port, h.rank) for h in answer.helpers),
            assignment_epoch=answer.assignment_epoch or 0,
        )

    async def renew_token(self, server_id: int) -> Token:
        """A fresh token for a server that a session already talks to."""
        body = rest.TokenRequest(server_id=server_id)
        answer = await self._call(rest.TokenGrant, "POST", "/v1/tokens", body=body)
        return Token(answer.token, answer.token_key, answer.token_expires_at.timestamp())

    async def register_server(self, registration: rest.ServerRegistration) -> ServerGrant:
        """Registers a listening server: always a new server id."""
        answer = await self._call(rest.ServerGrant, "POST", "/v1/servers", body=registration)
        return ServerGrant(
            server_id=answer.server_id,
            service_id=answer.service_id,
            incarnation=answer.incarnation,
            lease_ttl_s=answer.lease_ttl_s,
            cid_key=answer.cid_key,
            trunk_secret=answer.trunk_secret,
            keys=_keys(answer.keys),
            predecessors=tuple(ServerPredecessor(one.server_id, one.reset_key) for one in answer.predecessors),
        )

    async def renew_lease(self, server_id: int, incarnation: int) -> tuple[float, tuple[ServerKey, ...]]:
        """Keeps a server's lease: (seconds until it ends, keys that are valid now)."""
        body = rest.ServerLeaseRenewal(incarnation=incarnation)
        answer = await self._call(rest.ServerLease, "PUT", f"/v1/servers/{server_id}/lease", body=body)
        return answer.lease_ttl_s, _keys(answer.keys)

    async def end_lease(self, server_id: int, incarnation: int) -> None:
        """Ends a server's lease cleanly."""
        await self._send("DELETE", f"/v1/servers/{server_id}", params={"incarnation": str(incarnation)})

    async def _call(
        self,
        model: type[Model],
        method: str,
        path: str,
        *,
        params: dict[str, str] | None = None,
        body: BaseModel | None = None,
    ) -> Model:
        response = await self._send(method, path, params=params, body=body)
        try:
            return model.model_validate_json(response.content)
        except ValidationError:
            raise RestError(Failure.MALFORMED, REASON_MALFORMED) from None

    async def _send(
        self, method: str, path: str, *, params: dict[str, str] | None = None, body: BaseModel | None = None
    ) -> httpx.Response:
        headers = agent_trace.inject({})
        if body is not None:
            headers["Content-Type"] = "application/json"
        if method == "POST":
            headers["Idempotency-Key"] = str(uuid.uuid4())
        content = body.model_dump_json() if body is not None else None
        try:
            response = await self._http.request(method, path, params=params, content=content, headers=headers)
        except (httpx.HTTPError, RuntimeError) as error:  # RuntimeError: closed, or the interpreter is ending
            raise RestError(Failure.UNREACHABLE, f"{REASON_UNREACHABLE}: {_text(error)}") from error
        if response.is_success:
            return response
        raise _refusal(response)


def _refusal(response: httpx.Response) -> RestError:
    status = response.status_code
    if status >= 500 or status == 429:
        return RestError(Failure.UNREACHABLE, f"{REASON_UNREACHABLE}: it answers {status}")
    if status in (401, 403):
        return RestError(Failure.REFUSED, REASON_REFUSED_KEY)
    try:
        problem = Problem.model_validate_json(response.content)
    except ValidationError:
        return RestError(Failure.MALFORMED, f"{REASON_MALFORMED}: status {status} without a problem document")
    return RestError(Failure.PROBLEM, problem.detail or problem.title, problem.kind)


def is_lease_lost(error: RestError) -> bool:
    """Whether the registry knows this lease no more: renewing on is of no use, only registering again is."""
    return error.problem in (ProblemType.STALE_INCARNATION, ProblemType.UNKNOWN_SERVER)


def _keys(keys: list[rest.ServerKey]) -> tuple[ServerKey, ...]:
    return tuple(ServerKey(key.key_id, key.key) for key in keys)


def _text(error: Exception) -> str:
    return str(error) or type(error).__name__
