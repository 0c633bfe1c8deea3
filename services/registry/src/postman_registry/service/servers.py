# SPDX-License-Identifier: Apache-2.0
"""Use-cases of servers: register (idempotent with a key), renew, leave, look."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Final

from postman_contracts.problems import ProblemType
from postman_contracts.tokens import KEY_BYTES
from postman_kit.db import Connection
from postman_kit.errors import ProblemError
from postman_registry import store_servers as store
from postman_registry.domain import (
    Server,
    ServerEvent,
    ServerSpec,
    StaleIncarnation,
    server_leave,
    server_register,
    server_renew,
    server_supersede,
)
from postman_registry.keys import SigningKey, first_key, rotate
from postman_registry.service.context import Context
from postman_registry.store_servers import EarlierRequest, TrunkEnd

PREDECESSORS_MAX: Final = 8
"""So many registrations at one address within the hour are told to the next; older ones have few clients left."""


@dataclass(frozen=True, slots=True)
class ServerGranted:
    """A server with its secrets."""

    server: Server
    trunk_secret: bytes = field(repr=False)
    keys: list[SigningKey]
    predecessors: list[TrunkEnd]
    """Registrations that ended at its address: it answers for their connections (rule C9)."""


class Servers:
    """Use-cases of servers."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def register(self, spec: ServerSpec, idempotency_key: str | None, request_digest: bytes) -> ServerGranted:
        """A server begins to listen. With the key of an earlier request, its answer again."""
        context, now = self._context, self._context.clock()
        async with context.database.transaction() as connection:
            await store.lock_registrations(connection)
            if idempotency_key is not None:
                earlier = await store.find_earlier(connection, idempotency_key)
                if earlier is not None and earlier.server.is_live:
                    return await self._again(connection, earlier, request_digest)
            server, events = await self._new(connection, spec)
            granted = ServerGranted(
                server,
                secrets.token_bytes(KEY_BYTES),
                [first_key(secrets.token_bytes(KEY_BYTES), now=now)],
                await self._predecessors(connection, spec),
            )
            await store.add(
                connection,
                server,
                granted.trunk_secret,
                granted.keys[0],
                idempotency_key=idempotency_key,
                request_digest=request_digest,
            )
            await context.record(connection, events, now)
        context.committed(events)
        return granted

    async def _new(self, connection: Connection, spec: ServerSpec) -> tuple[Server, list[ServerEvent]]:
        """A server under a free id; whoever else claims its UDP port has lost it."""
        context, now = self._context, self._context.clock()
        events: list[ServerEvent] = []
        for other in await store.live_on_port(connection, spec.data_address, spec.udp_port):
            ended, ended_events = server_supersede(other, now=now)
            await store.save(connection, ended)
            events += ended_events
        server_id = await store.free_id(connection, now - context.policy.server_id_rest)
        if server_id is None:
            raise ProblemError(
                ProblemType.NO_FREE_ID, 503, "No free server id", "65,535 servers live. Stop some of them."
            )
        incarnation = await store.next_incarnation(connection)
        server, up = server_register(server_id, incarnation, spec, now=now, lease_ttl=context.policy.server_lease_ttl)
        return server, events + up

    async def _again(self, connection: Connection, earlier: EarlierRequest, request_digest: bytes) -> ServerGranted:
        if earlier.request_digest != request_digest:
            raise ProblemError(
                ProblemType.IDEMPOTENCY_KEY_REUSED,
                422,
                "The Idempotency-Key belongs to another request",
                "A different body was sent with this key before. Use a new key for each registration.",
            )
        server_id = earlier.server.server_id
        return ServerGranted(
            earlier.server,
            await store.trunk_secret(connection, server_id),
            await store.keys(connection, server_id),
            await self._predecessors(connection, earlier.server.spec),
        )

    async def _predecessors(self, connection: Connection, spec: ServerSpec) -> list[TrunkEnd]:
        since = self._context.clock() - self._context.policy.server_id_rest  # as long as their ids rest
        return await store.ended_on_port(connection, spec.data_address, spec.udp_port, since, PREDECESSORS_MAX)

    async def renew(self, server_id: int, incarnation: int) -> list[SigningKey]:
        """A server renews its lease and hears which keys are valid."""
        context, now = self._context, self._context.clock()
        async with context.database.transaction() as connection:
            server = await _required(connection, server_id, lock=True)
            try:
                server, events = server_renew(server, incarnation, now=now, lease_ttl=context.policy.server_lease_ttl)
            except StaleIncarnation:
                raise _stale(server, incarnation) from None
            await store.save(connection, server)
            keys = await store.keys(connection, server_id)
            rotated = rotate(keys, secrets.token_bytes(KEY_BYTES), context.policy.rotation, now=now)
            if rotated is not keys:
                await store.save_keys(connection, server_id, rotated)
            await context.record(connection, events, now)
        context.committed(events)
        return rotated

    async def leave(self, server_id: int, incarnation: int) -> None:
        """A server ends in order. No effect if that incarnation has ended already."""
        context, now = self._context, self._context.clock()
        async with context.database.transaction() as connection:
            server = await _required(connection, server_id, lock=True)
            try:
                server, events = server_leave(server, incarnation, now=now)
            except StaleIncarnation:
                raise _stale(server, incarnation) from None
            await store.save(connection, server)
            await context.record(connection, events, now)
        context.committed(events)

    async def page(self, after: int, limit: int) -> list[Server]:
        """Servers with ids above `after`."""
        async with self._context.database.transaction() as connection:
            return await store.page(connection, after, limit)


async def _required(connection: Connection, server_id: int, *, lock: bool) -> Server:
    server = await store.find(connection, server_id, lock=lock)
    if server is None:
        raise ProblemError(
            ProblemType.UNKNOWN_SERVER,
            404,
            "No such server",
            f"The registry does not know a server {server_id}. A server that still listens should register again.",
        )
    return server


def _stale(server: Server, incarnation: int) -> ProblemError:
    return ProblemError(
        ProblemType.STALE_INCARNATION,
        409,
        "Not the current incarnation",
        f"Server {server.server_id} is at incarnation {server.incarnation} ({server.status}); {incarnation} may not "
        "act for it. Register again.",
    )
