# SPDX-License-Identifier: Apache-2.0
"""The supervisor's calls to the registry: register, renew, end (docs/architecture.md, REST)."""

from __future__ import annotations

import ssl
import uuid
from typing import TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from postman_contracts import rest
from postman_contracts.problems import Problem, ProblemType

Model = TypeVar("Model", bound=BaseModel)

CONNECT_TIMEOUT_S = 1.0
CALL_TIMEOUT_S = 3.0


class RegistryError(Exception):
    """The registry did not do what was asked; the text says why and what to look at."""


class IdentityLost(RegistryError):
    """The registry knows a newer incarnation of this helper, or does not know the helper at all."""


class Registry:
    """One HTTP client with the agent's key."""

    def __init__(self, url: str, api_key: str) -> None:
        self._url = url
        self._http = httpx.AsyncClient(
            base_url=url,
            headers={"Authorization": f"Bearer {api_key}"},
            timeout=httpx.Timeout(CALL_TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
            trust_env=False,  # a proxy for the web is no way to the registry
            verify=ssl.create_default_context(),  # the system's authorities, or those of SSL_CERT_FILE
        )

    async def close(self) -> None:
        """Closes the connections."""
        await self._http.aclose()

    async def register(self, registration: rest.HelperRegistration) -> rest.HelperGrant:
        """The next incarnation of this name."""
        return await self._call(rest.HelperGrant, "POST", "/v1/helpers", registration)

    async def renew(self, helper_id: int, renewal: rest.HelperLeaseRenewal) -> rest.HelperLease:
        """Keeps the lease; IdentityLost when there is none to keep."""
        return await self._call(rest.HelperLease, "PUT", f"/v1/helpers/{helper_id}/lease", renewal)

    async def end(self, helper_id: int, incarnation: int) -> None:
        """Gives the lease back: clients hear at once that this helper is gone."""
        await self._send("DELETE", f"/v1/helpers/{helper_id}?incarnation={incarnation}", None)

    async def _call(self, model: type[Model], method: str, path: str, body: BaseModel) -> Model:
        response = await self._send(method, path, body)
        try:
            return model.model_validate_json(response.content)
        except ValidationError as error:
            fields = ", ".join(".".join(map(str, item["loc"])) for item in error.errors(include_input=False))
            raise RegistryError(f"{method} {path}: the answer of {self._url} is malformed: {fields}") from None

    async def _send(self, method: str, path: str, body: BaseModel | None) -> httpx.Response:
        headers = {"Content-Type": "application/json"} if body is not None else {}
        if method == "POST":
            headers["Idempotency-Key"] = str(uuid.uuid4())
        content = body.model_dump_json() if body is not None else None
        try:
            response = await self._http.request(method, path, content=content, headers=headers)
        except httpx.HTTPError as error:
            raise RegistryError(f"registry {self._url} unreachable: {error or type(error).__name__}") from None
        if response.is_success:
            return response
        raise self._refusal(method, path, response)

    def _refusal(self, method: str, path: str, response: httpx.Response) -> RegistryError:
        try:
            problem = Problem.model_validate_json(response.content)
        except ValidationError:
            return RegistryError(f"{method} {path}: {self._url} answers {response.status_code} and no reason")
        if problem.kind in (ProblemType.STALE_INCARNATION, ProblemType.UNKNOWN_HELPER):
            return IdentityLost(problem.detail)
        hint = ". Set POSTMAN_API_KEY to a key with the role 'agent'" if response.status_code in (401, 403) else ""
        return RegistryError(f"{method} {path}: {problem.detail or problem.title}{hint}")
