# SPDX-License-Identifier: Apache-2.0
"""SQL about servers and their keys. Every function runs in its caller's transaction."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, delete, insert, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from postman_registry.domain import Server, ServerStatus
from postman_registry.keys import SigningKey
from postman_registry.rows import key_from, server_from, server_values
from postman_registry.tables import server_incarnations, server_keys, servers

SERVER_ID_MAX: Final = 65535
_UP: Final = ServerStatus.UP.value
_REGISTER_LOCK: Final = 0x706D7301
_GUESSES: Final = 32  # with half of all ids in use, all guesses fail once in 4e9 registrations


@dataclass(frozen=True, slots=True)
class TrunkEnd:
    """A server with the secret of its trunks."""

    server: Server
    trunk_secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class EarlierRequest:
    """What an idempotency key stands for."""

    server: Server
    request_digest: bytes


async def lock_registrations(connection: AsyncConnection) -> None:
    """Registrations go one by one: so the choice of an id, and an idempotency key, need no retry."""
    await connection.execute(text(f"SELECT pg_advisory_xact_lock({_REGISTER_LOCK})"))


async def next_incarnation(connection: AsyncConnection) -> int:
    """Unique among all registrations, ever: an id that is used again cannot be mistaken for its earlier owner."""
    value = await connection.scalar(select(server_incarnations.next_value()))
    assert value is not None
    return int(value)


async def free_id(connection: AsyncConnection, rested_since: datetime) -> int | None:
    """An id that no server has had since `rested_since`; if there is none, the one that rests longest; else None."""
    resting = select(servers.c.server_id).where(or_(servers.c.ended_at.is_(None), servers.c.ended_at > rested_since))
    guesses = random.sample(range(1, SERVER_ID_MAX + 1), _GUESSES)
    taken = set((await connection.scalars(resting.where(servers.c.server_id.in_(guesses)))).all())
    for guess in guesses:
        if guess not in taken:
            return guess
    every = set((await connection.scalars(resting)).all())
    if len(every) < SERVER_ID_MAX:
        return next(server_id for server_id in range(1, SERVER_ID_MAX + 1) if server_id not in every)
    ended = select(servers.c.server_id).where(servers.c.status != _UP).order_by(servers.c.ended_at).limit(1)
    return await connection.scalar(ended)


async def add(
    connection: AsyncConnection,
    server: Server,
    trunk_secret: bytes,
    key: SigningKey,
    *,
    idempotency_key: str | None,
    request_digest: bytes,
) -> None:
    """A new server, in place of what had its id or its idempotency key before."""
    stale = [servers.c.server_id == server.server_id]
    if idempotency_key is not None:
        stale.append(servers.c.idempotency_key == idempotency_key)
    await connection.execute(delete(servers).where(or_(*stale), servers.c.status != _UP))
    await connection.execute(
        insert(servers).values(
            server_id=server.server_id,
            trunk_secret=trunk_secret,
            idempotency_key=idempotency_key,
            request_digest=request_digest,
            **server_values(server),
        )
    )
    await save_keys(connection, server.server_id, [key])


async def save(connection: AsyncConnection, server: Server) -> None:
    """A server that changed."""
    await connection.execute(
        update(servers).where(servers.c.server_id == server.server_id).values(**server_values(server))
    )


async def find(connection: AsyncConnection, server_id: int, *, lock: bool) -> Server | None:
    """The server of this id; locked for the transaction if it will be changed."""
    query = select(servers).where(servers.c.server_id == server_id)
    row = (await connection.execute(query.with_for_update() if lock else query)).one_or_none()
    return server_from(row) if row else None


async def find_earlier(connection: AsyncConnection, idempotency_key: str) -> EarlierRequest | None:
    """The server that a request with this idempotency key made, locked."""
    query = select(servers).where(servers.c.idempotency_key == idempotency_key).with_for_update()
    row = (await connection.execute(query)).one_or_none()
    return EarlierRequest(server_from(row), row.request_digest) if row else None


async def trunk_secret(connection: AsyncConnection, server_id: int) -> bytes:
    """The secret from which this server's trunk keys are derived."""
    query = select(servers.c.trunk_secret).where(servers.c.server_id == server_id)
    return bytes((await connection.execute(query)).scalar_one())


async def live_on_port(connection: AsyncConnection, data_address: str, udp_port: int) -> list[Server]:
    """Live servers that claim this UDP port, locked."""
    query = (
        select(servers)
        .where(servers.c.status == _UP, servers.c.data_address == data_address, servers.c.udp_port == udp_port)
        .order_by(servers.c.server_id)
        .with_for_update()
    )
    return [server_from(row) for row in await connection.execute(query)]


async def ended_on_port(
    connection: AsyncConnection, data_address: str, udp_port: int, since: datetime, limit: int
) -> list[TrunkEnd]:
    """Servers that had this UDP port and ended after `since`, the latest first."""
    query = (
        select(servers)
        .where(servers.c.data_address == data_address, servers.c.udp_port == udp_port, servers.c.ended_at > since)
        .order_by(servers.c.ended_at.desc(), servers.c.incarnation.desc())
        .limit(limit)
    )
    return [TrunkEnd(server_from(row), row.trunk_secret) for row in await connection.execute(query)]


async def live_by_host(connection: AsyncConnection, host: str, tcp_port: int, now: datetime) -> list[Server]:
    """Servers that a client means by this host (a name given at registration, or the data address) and TCP port."""
    place = or_(servers.c.host == host, servers.c.data_address == host)
    return await _live(connection, now, place, servers.c.tcp_port == tcp_port)


async def live_by_service(connection: AsyncConnection, service: str, now: datetime) -> list[Server]:
    """Servers of a service."""
    return await _live(connection, now, servers.c.service == service)


async def live_by_id(connection: AsyncConnection, server_id: int, now: datetime) -> list[Server]:
    """The server of this id if it lives."""
    return await _live(connection, now, servers.c.server_id == server_id)


async def _live(connection: AsyncConnection, now: datetime, *conditions: ColumnElement[bool]) -> list[Server]:
    query = select(servers).where(servers.c.status == _UP, servers.c.lease_expires_at > now, *conditions)
    return [server_from(row) for row in await connection.execute(query.order_by(servers.c.server_id))]


async def trunk_ends(connection: AsyncConnection) -> list[TrunkEnd]:
    """All live servers, as helpers need them."""
    query = select(servers).where(servers.c.status == _UP).order_by(servers.c.server_id)
    return [TrunkEnd(server_from(row), row.trunk_secret) for row in await connection.execute(query)]


async def page(connection: AsyncConnection, after: int, limit: int) -> list[Server]:
    """Servers with ids above `after`, in order of id."""
    query = select(servers).where(servers.c.server_id > after).order_by(servers.c.server_id).limit(limit)
    return [server_from(row) for row in await connection.execute(query)]


async def expired(connection: AsyncConnection, now: datetime, limit: int) -> list[Server]:
    """Live servers whose lease has run out, locked; what somebody else has locked is left for the next time."""
    query = (
        select(servers)
        .where(servers.c.status == _UP, servers.c.lease_expires_at <= now)
        .order_by(servers.c.server_id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return [server_from(row) for row in await connection.execute(query)]


async def forget_ended(connection: AsyncConnection, before: datetime) -> int:
    """Remove servers that ended before this time: their ids have rested long enough."""
    return (await connection.execute(delete(servers).where(servers.c.ended_at < before))).rowcount


async def grant_leases(connection: AsyncConnection, until: datetime) -> int:
    """Every live server's lease ends at `until`; returns how many there are."""
    done = await connection.execute(update(servers).where(servers.c.status == _UP).values(lease_expires_at=until))
    return done.rowcount


async def keys(connection: AsyncConnection, server_id: int) -> list[SigningKey]:
    """The valid keys of a server, oldest first."""
    query = select(server_keys).where(server_keys.c.server_id == server_id).order_by(server_keys.c.made_at)
    return [key_from(row) for row in await connection.execute(query)]


async def save_keys(connection: AsyncConnection, server_id: int, valid: list[SigningKey]) -> None:
    """These keys, and no others."""
    await connection.execute(delete(server_keys).where(server_keys.c.server_id == server_id))
    rows: list[dict[str, Any]] = [
        {
            "server_id": server_id,
            "key_id": key.key_id,
            "key": key.key,
            "made_at": key.made_at,
            "usable_from": key.usable_from,
        }
        for key in valid
    ]
    await connection.execute(insert(server_keys), rows)
