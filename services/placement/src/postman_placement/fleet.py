# SPDX-License-Identifier: Apache-2.0
"""Which helpers may be used and where services are: asked of the registry, and of health, by REST.

The registry must answer: without it nobody knows which helpers there are. Health's verdicts are advice (a helper that
it holds for down is left out); if it does not answer, that is noted and the registry's word counts.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

import httpx
import structlog
from pydantic import ValidationError

from postman_contracts.rest import HelperPage, Server, ServerPage
from postman_contracts.rest_health import VerdictPage
from postman_kit.errors import ProblemError, unavailable
from postman_kit.settings import SettingsError

_PAGE: Final = 500
_ID_MAX: Final = 65535  # of helpers and of servers: more answers than that are no answer

P = TypeVar("P", HelperPage, ServerPage, VerdictPage)

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class FleetHelper:
    """A helper that serves, and where; None: it did not say."""

    helper_id: int
    name: str
    site: str | None


@dataclass(frozen=True, slots=True)
class Fleet:
    """What runs now."""

    helpers: tuple[FleetHelper, ...]
    """Those that take sessions, by id."""
    service_sites: dict[str, tuple[str, ...]]
    """Where the servers of a service are that said so."""
    notes: tuple[str, ...] = ()
    epoch: int = 0
    """Of assignments, in force at the registry; 0 if none is."""


class FleetSource:
    """Asks the registry and health; one connection pool each, closed with `close`."""

    def __init__(
        self,
        registry_url: str,
        health_url: str,
        api_key: Callable[[], str],
        *,
        registry_timeout_s: float,
        health_timeout_s: float,
    ) -> None:
        """`api_key` is called for each look, so that a key that was replaced is taken up."""
        self._api_key = api_key
        self._registry_timeout_s = registry_timeout_s
        self._health_timeout_s = health_timeout_s
        # No proxy for the web is a way to them; authorities are the system's, or those of SSL_CERT_FILE.
        authorities = ssl.create_default_context()
        self._registry, self._health = (
            httpx.AsyncClient(base_url=url, timeout=timeout_s, trust_env=False, verify=authorities)
            for url, timeout_s in ((registry_url, registry_timeout_s), (health_url, health_timeout_s))
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._registry.aclose()
        await self._health.aclose()

    async def look(self) -> Fleet:
        """What runs now. A 503 problem if the registry does not say, in bounded time."""
        (pages, servers), (down, notes) = await asyncio.gather(self._ask_registry(), self._ask_health())
        helpers = [helper for page in pages for helper in page.items]
        serving = [
            FleetHelper(helper.helper_id, helper.name, helper.site)
            for helper in helpers
            if helper.state == "up" and helper.desired_state == "up"
            if (helper.helper_id, helper.incarnation) not in down
        ]
        sites: dict[str, set[str]] = {}
        for server in servers:
            if server.state == "up" and server.site is not None:
                sites.setdefault(server.service, set()).add(server.site)
        return Fleet(
            helpers=tuple(sorted(serving, key=lambda helper: helper.helper_id)),
            service_sites={service: tuple(sorted(found)) for service, found in sites.items()},
            notes=notes,
            epoch=pages[-1].assignment_epoch or 0,
        )

    async def _ask_registry(self) -> tuple[list[HelperPage], list[Server]]:
        try:
            async with asyncio.timeout(self._registry_timeout_s):
                pages = await self._pages(self._registry, "/v1/helpers", HelperPage)
                server_pages = await self._pages(self._registry, "/v1/servers", ServerPage)
                return pages, [server for page in server_pages for server in page.items]
        except (_Refused, SettingsError) as error:
            _log.error("no API key that the registry accepts", error=str(error))
            raise unavailable(
                "Placement has no API key that the registry accepts. Set POSTMAN_API_KEY_FILE of placement to a "
                "file with a key of the role viewer."
            ) from None
        except _NO_ANSWER as error:
            _log.warning("the registry does not answer", error=repr(error))
            raise _registry_away() from None

    async def _ask_health(self) -> tuple[set[tuple[int, int]], tuple[str, ...]]:
        """Helpers that are down, each with its incarnation; and a note if health does not say."""
        try:
            async with asyncio.timeout(self._health_timeout_s):
                pages = await self._pages(self._health, "/v1/verdicts", VerdictPage)
        except (*_NO_ANSWER, _Refused, SettingsError) as error:
            _log.info("health does not answer", error=repr(error))
            return set(), ("health did not answer: helpers count as the registry has them",)
        verdicts = [verdict for page in pages for verdict in page.items]
        return {(one.helper_id, one.incarnation) for one in verdicts if one.verdict == "down"}, ()

    async def _pages(self, client: httpx.AsyncClient, path: str, model: type[P]) -> list[P]:
        pages: list[P] = []
        after: int | None = 0
        while after is not None:
            answer = await client.get(
                path,
                params={"after": after, "limit": _PAGE},
                headers={"Authorization": f"Bearer {self._api_key()}"},
            )
            if answer.status_code in (401, 403):
                raise _Refused(answer.status_code)
            answer.raise_for_status()
            page = model.model_validate_json(answer.content)
            if page.next is not None and not after < page.next <= _ID_MAX:
                raise ValueError(f"{path}: next={page.next} does not follow after={after}")
            pages.append(page)
            after = page.next
        return pages


class _Refused(Exception):
    """The key is not valid there."""

    def __init__(self, status: int) -> None:
        super().__init__(f"HTTP status {status}")
        self.status = status


_NO_ANSWER: Final = (httpx.HTTPError, httpx.InvalidURL, OSError, TimeoutError, ValidationError, ValueError)


def _registry_away() -> ProblemError:
    return unavailable("The registry does not say which helpers there are. Send the same request again shortly.")
