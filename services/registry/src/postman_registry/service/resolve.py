# SPDX-License-Identifier: Apache-2.0
"""Use-cases of clients: where is this server, by which helpers, with which token. Read-only, and cheap.

What the database says is kept for a moment (FreshCache), so its load does not grow with the number of clients. A lease
is compared with the clock at each use: nothing expired is ever offered.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Final

from postman_contracts.problems import ProblemType
from postman_contracts.tokens import Token, client_id_of, service_id_of, token_encode, token_key
from postman_kit.db import Connection
from postman_kit.errors import ProblemError
from postman_registry import store_helpers as helper_store
from postman_registry import store_servers as store
from postman_registry.assignments import ClientPlace
from postman_registry.bus import HelperPulse
from postman_registry.choice import RankedHelper, choose_server, choose_shard, helpers_in_order
from postman_registry.domain import Helper, Server
from postman_registry.fresh_cache import FreshCache
from postman_registry.keys import SigningKey, signing_key
from postman_registry.service.assignments import Assignments
from postman_registry.service.context import Context
from postman_registry.verdicts import HelperVerdicts

_QUESTIONS_MAX: Final = 4096
_NOWHERE: Final = ClientPlace()


@dataclass(frozen=True, slots=True)
class TokenGranted:
    """A token, its key, and when it stops opening connections."""

    token: bytes = field(repr=False)
    token_key: bytes = field(repr=False)
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Resolved:
    """The answer to "where is this server?"."""

    server: Server
    shard: int
    granted: TokenGranted
    helpers: Sequence[RankedHelper]
    assignment_epoch: int | None
    """The epoch that gave the helpers their ranks; None if no assignment concerns this client."""


class Resolver:
    """Use-cases of clients. `client` is what a client is known by; equal clients get equal answers.

    A helper that health holds to be down is offered to nobody, even if none is left: the direct path remains, and the
    verdict goes stale within seconds if it was wrong. One that it suspects is offered last.

    `counters`: found, not_found, without_helper.
    """

    def __init__(
        self,
        context: Context,
        pulse: HelperPulse,
        verdicts: HelperVerdicts,
        assignments: Assignments,
        *,
        age_s_max: float,
    ) -> None:
        self.counters: Counter[str] = Counter()
        self._context = context
        self._pulse = pulse
        self._verdicts = verdicts
        self._assignments = assignments
        self._servers: FreshCache[tuple[str, object], list[Server]] = FreshCache(age_s_max, _QUESTIONS_MAX)
        self._keys: FreshCache[int, list[SigningKey]] = FreshCache(age_s_max, _QUESTIONS_MAX)
        self._helpers: FreshCache[str, list[Helper]] = FreshCache(age_s_max, 1)

    def forget(self) -> None:
        """Something changed in this process: answer from the database next time."""
        for cache in (self._servers, self._keys, self._helpers):
            cache.clear()

    async def by_host(self, host: str, tcp_port: int, client: str, place: ClientPlace = _NOWHERE) -> Resolved:
        """The server that a client means by host and TCP port."""

        async def load(connection: Connection, now: datetime) -> list[Server]:
            return await store.live_by_host(connection, host, tcp_port, now)

        return await self._resolve(("host", (host, tcp_port)), load, client, place)

    async def by_service(self, service: str, client: str, place: ClientPlace = _NOWHERE) -> Resolved:
        """A server of this service."""

        async def load(connection: Connection, now: datetime) -> list[Server]:
            return await store.live_by_service(connection, service, now)

        return await self._resolve(("service", service), load, client, place)

    async def renew_token(self, server_id: int, client: str) -> TokenGranted:
        """A fresh token for a server that the client talks to already."""

        async def load(connection: Connection, now: datetime) -> list[Server]:
            return await store.live_by_id(connection, server_id, now)

        server = await self._find(("id", server_id), load, client)
        return await self._grant(server, client)

    async def _resolve(
        self,
        question: tuple[str, object],
        load: Callable[[Connection, datetime], Awaitable[list[Server]]],
        client: str,
        place: ClientPlace,
    ) -> Resolved:
        server = await self._find(question, load, client)
        granted = await self._grant(server, client)
        assignments = await self._assignments.of_service(server.spec.service)
        assignment = assignments.match(place)
        usable, suspects = await self._usable(server)
        offered = helpers_in_order(usable, client, assignment, suspects)
        self.counters["found" if offered else "without_helper"] += 1
        epoch = assignments.epoch if assignment else None
        return Resolved(server, choose_shard(server, client), granted, offered, epoch)

    async def _usable(self, server: Server) -> tuple[list[Helper], set[int]]:
        """The helpers that may be offered now for this server, and which of them health suspects. A helper has one IP
        version and reaches servers of that one only."""
        version = ip_address(server.spec.data_address).version
        helpers, now = await self._helpers.get("usable", self._load_helpers), self._context.clock()
        usable, suspects = [], set()
        for known in helpers:
            helper = self._with_pulse(known) if known.lease_expires_at > now else None
            verdict = self._verdicts.on_helper(known.helper_id, known.incarnation)
            same_version = ip_address(known.spec.data_address).version == version
            if helper is not None and verdict != "down" and same_version:
                usable.append(helper)
                if verdict == "suspect":
                    suspects.add(helper.helper_id)
        return usable, suspects

    async def _find(
        self,
        question: tuple[str, object],
        load: Callable[[Connection, datetime], Awaitable[list[Server]]],
        client: str,
    ) -> Server:
        self._context.required_cid_key()

        async def ask() -> list[Server]:
            async with self._context.database.transaction() as connection:
                return await load(connection, self._context.clock())

        found = await self._servers.get(question, ask)
        now = self._context.clock()
        server = choose_server((server for server in found if server.lease_expires_at > now), client)
        if server is None:
            self.counters["not_found"] += 1
            raise ProblemError(
                ProblemType.NO_VCL_SERVER,
                404,
                "No such server is registered",
                "Use plain TCP. A server of ours registers when it begins to listen with VCL.",
            )
        return server

    async def _load_helpers(self) -> list[Helper]:
        async with self._context.database.transaction() as connection:
            return await helper_store.usable(connection, self._context.clock())

    def _with_pulse(self, helper: Helper) -> Helper | None:
        """The helper with the newest statistics; None if it has said since that it drains."""
        beat = self._pulse.latest(helper.helper_id, helper.incarnation)
        if beat is None:
            return helper
        return replace(helper, stats=beat.stats) if beat.state == "up" else None

    async def _grant(self, server: Server, client: str) -> TokenGranted:
        async def ask() -> list[SigningKey]:
            async with self._context.database.transaction() as connection:
                return await store.keys(connection, server.server_id)

        policy, now = self._context.policy, self._context.clock()
        keys = await self._keys.get(server.incarnation, ask)
        if not keys:  # the server's row went between the two looks
            raise ProblemError(ProblemType.NO_VCL_SERVER, 404, "The server has just ended", "Resolve again.")
        signer = signing_key(keys, now=now)
        fields = Token(
            key_id=signer.key_id,
            client_id=client_id_of(client),
            service_id=service_id_of(server.spec.service),
            server_id=server.server_id,
            not_before_s=int(now.timestamp()),
            lifetime_s=int(policy.token_lifetime.total_seconds()),
            max_conns=policy.token_conns_max,
            random=secrets.token_bytes(16),
        )
        token = token_encode(fields, signer.key)
        expires_at = datetime.fromtimestamp(fields.expires_at_s, UTC)
        return TokenGranted(token, token_key(signer.key, token), expires_at)
