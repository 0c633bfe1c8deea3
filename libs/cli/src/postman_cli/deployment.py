# SPDX-License-Identifier: Apache-2.0
"""The installation that a command talks to, whichever way it runs, and its REST with errors in plain words.

Environment and postman.toml (POSTMAN_REGISTRY_URL, _PLACEMENT_URL, _HEALTH_URL, _API_KEY or _API_KEY_FILE) win over the
control plane that `postman up` runs in this checkout. So the same commands serve `up`, Compose and a cluster.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import httpx

from postman_cli.checkout import STATE
from postman_cli.control_plane import running
from postman_kit.settings import PostmanSettings

ANSWER_S_MAX: Final = 5.0
PAGES_MAX: Final = 1000

Service = Literal["registry", "placement", "health"]
SERVICES: Final[tuple[Service, ...]] = ("registry", "placement", "health")


class DeploymentError(Exception):
    """Nothing can be shown or done; the text says why and what to do."""


class Refused(DeploymentError):
    """A service answered with a problem document."""

    def __init__(self, what: str, status: int, problem: dict[str, Any]) -> None:
        fields = "".join(f"\n  {error['field']}: {error['message']}" for error in problem.get("errors") or [])
        super().__init__(f"{what}: {status} {problem.get('title', '')}: {problem.get('detail', '')}{fields}")
        self.status = status
        self.problem = problem


@dataclass(frozen=True)
class Deployment:
    """Where the services are, and the key to ask with."""

    urls: dict[Service, str]
    key: str = field(repr=False)

    @classmethod
    def find(cls, role: str) -> Deployment:
        """The one that the environment names, else the one of this checkout. `role` chooses among its key files."""
        settings = PostmanSettings.load()
        told = settings.model_fields_set
        local = running(STATE / "up")
        urls: dict[Service, str] = {
            service: getattr(local if local and f"{service}_url" not in told else settings, f"{service}_url")
            for service in SERVICES
        }
        if told & {"api_key", "api_key_file"}:
            return cls(urls, settings.client_api_key())
        if local and "registry_url" not in told:
            try:
                return cls(urls, Path(local.api_key_files[role]).read_text().strip())
            except (OSError, KeyError) as error:
                raise DeploymentError(f"no key for {local.registry_url}: {error}. Set POSTMAN_API_KEY_FILE") from None
        if "registry_url" not in told:
            raise DeploymentError(
                "no control plane runs in this checkout. Start one with: ./postman up; or name another one with "
                "POSTMAN_REGISTRY_URL, POSTMAN_PLACEMENT_URL, POSTMAN_HEALTH_URL and POSTMAN_API_KEY_FILE"
            )
        return cls(urls, settings.client_api_key())

    def ask(
        self,
        service: Service,
        method: str,
        path: str,
        *,
        params: dict[str, Any] | None = None,
        body: Any = None,
        timeout_s: float = ANSWER_S_MAX,
    ) -> dict[str, Any]:
        """One request; the JSON object of its answer. Refused for a problem document, DeploymentError for the rest."""
        with self._client(service, timeout_s) as client:
            answer = client.request(method, path, params=params, json=body)
        document = json_object(answer)
        if answer.is_error:
            raise Refused(f"{service} {path}", answer.status_code, document)
        return document

    def all_pages(self, service: Service, path: str) -> list[dict[str, Any]]:
        """The items of all pages of a list."""
        items: list[dict[str, Any]] = []
        after: int | None = None
        for _ in range(PAGES_MAX):
            page = self.ask(service, "GET", path, params={} if after is None else {"after": after})
            items += page.get("items", [])
            after = page.get("next")
            if after is None:
                return items
        raise DeploymentError(f"{path}: more than {PAGES_MAX} pages")

    def readiness(self, service: Service) -> dict[str, Any]:
        """`{"ready": bool, "checks": {...}}` of a service, or with `error` in it when it does not answer."""
        try:
            with self._client(service, ANSWER_S_MAX) as client:
                document = json_object(client.get("/readyz"))
        except DeploymentError as error:
            return {"url": self.urls[service], "ready": False, "checks": {}, "error": str(error)}
        checks = document.get("checks")
        return {
            "url": self.urls[service],
            "ready": document.get("status") == "ready",
            "checks": checks if isinstance(checks, dict) else {},
        }

    @contextmanager
    def stream(self, service: Service, path: str, params: dict[str, Any]) -> Iterator[Iterator[str]]:
        """The lines of an answer that does not end by itself."""
        with (
            self._client(service, None) as client,
            client.stream("GET", path, params=params) as answer,
        ):
            if answer.is_error:
                answer.read()
                raise Refused(f"{service} {path}", answer.status_code, json_object(answer))
            yield answer.iter_lines()

    @contextmanager
    def _client(self, service: Service, timeout_s: float | None) -> Iterator[httpx.Client]:
        url = self.urls[service]
        try:
            with httpx.Client(
                base_url=url,
                timeout=httpx.Timeout(timeout_s, connect=ANSWER_S_MAX),
                headers={"Authorization": f"Bearer {self.key}"},
                trust_env=False,  # a proxy for the web is no way to the services
                verify=ssl.create_default_context(),  # the system's authorities, or those of SSL_CERT_FILE
            ) as client:
                yield client
        except httpx.ConnectError:
            raise DeploymentError(
                f"no {service} answers on {url}. Start one with ./postman up, or correct POSTMAN_{service.upper()}_URL"
            ) from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise DeploymentError(f"{url}: {error or type(error).__name__}") from None


def json_object(answer: httpx.Response) -> dict[str, Any]:
    """The answer's JSON object; DeploymentError if it has none, as something else's answer would."""
    if answer.status_code == httpx.codes.NO_CONTENT:
        return {}
    try:
        body = answer.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise DeploymentError(
            f"{answer.url}: the answer ({answer.status_code}) is not one of Postman's services. Correct the URL"
        )
    return body
