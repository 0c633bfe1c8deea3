# SPDX-License-Identifier: Apache-2.0
"""Whom a server succeeds at its address: what the registry tells it, for stateless resets (rule C9)."""

from __future__ import annotations

from datetime import timedelta

from registry_parts import Clock, register_server

from postman_registry.service.servers import Servers

SECOND = timedelta(seconds=1)


async def test_c9_a_successor_hears_of_those_that_ended_at_its_address_within_the_hour(
    servers: Servers, clock: Clock
) -> None:
    assert (await register_server(servers)).predecessors == []
    clock.turn(timedelta(minutes=30))
    left = await register_server(servers)
    await servers.leave(left.server.server_id, left.server.incarnation)
    await register_server(servers, udp_port=8)  # another address has its own
    clock.turn(timedelta(minutes=29))
    crashed = await register_server(servers)  # the next one supersedes it
    clock.turn(timedelta(seconds=30))
    heard = (await register_server(servers, "a-key-1234")).predecessors
    assert [(one.server.server_id, one.trunk_secret) for one in heard] == [
        (crashed.server.server_id, crashed.trunk_secret),
        (left.server.server_id, left.trunk_secret),
        *[(one.server.server_id, one.trunk_secret) for one in left.predecessors],
    ]
    clock.turn(timedelta(minutes=31))  # the same request again: what is older than an hour by now is left out
    assert [one.server.server_id for one in (await register_server(servers, "a-key-1234")).predecessors] == [
        crashed.server.server_id
    ]


async def test_c9_predecessors_are_at_most_eight(servers: Servers, clock: Clock) -> None:
    ids = []
    for _ in range(10):
        ids.append((await register_server(servers)).server.server_id)
        clock.turn(SECOND)
    heard = [one.server.server_id for one in (await register_server(servers)).predecessors]
    assert heard == ids[:-9:-1]
