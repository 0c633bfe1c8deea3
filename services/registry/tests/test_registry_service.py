# SPDX-License-Identifier: Apache-2.0
"""Use-cases and SQL on a real Postgres: leases, incarnations, ids, facts, tokens, what resolve offers."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from registry_parts import TTL, Clock, helper_spec, refused, register_server, serving
from sqlalchemy import Connection, insert, inspect, select, text

from postman_contracts import messages, subjects
from postman_contracts.problems import ProblemType
from postman_contracts.tokens import token_verify
from postman_kit.db import Database
from postman_kit.migrate import migrate
from postman_registry import store, store_servers
from postman_registry.domain import HelperStatus, ServerStatus
from postman_registry.service.context import Context
from postman_registry.service.helpers import Helpers
from postman_registry.service.resolve import Resolver
from postman_registry.service.servers import Servers
from postman_registry.service.upkeep import Upkeep
from postman_registry.tables import SCHEMA, SCRIPTS, metadata, outbox
from postman_registry.tables import helpers as helper_table
from postman_registry.tables import servers as server_table

SECOND = timedelta(seconds=1)


async def facts(context: Context) -> list[tuple[str, int, int, str]]:
    """What waits in the outbox: subject's end, id, incarnation, reason."""
    async with context.database.transaction() as connection:
        rows = (await connection.execute(select(outbox).order_by(outbox.c.id))).all()
    found = []
    for row in rows:
        about, kind = subjects.fact_kind(row.subject) or ("", "")
        if about == "helper":
            helper = messages.HelperFact.model_validate_json(row.payload)
            found.append((f"helper.{kind}", helper.helper_id, helper.incarnation, helper.reason))
        else:
            server = messages.ServerFact.model_validate_json(row.payload)
            found.append((f"server.{kind}", server.server_id, server.incarnation, server.reason))
    return found


# --- migrations -----------------------------------------------------------------------------------


async def test_migrations_make_the_tables_and_take_them_back(database_url: str) -> None:
    def difference(connection: Connection) -> list:
        options = {"include_schemas": True, "include_name": lambda name, kind, _: kind != "schema" or name == SCHEMA}
        found = compare_metadata(MigrationContext.configure(connection, opts=options), metadata)
        return [item for item in found if "alembic_version" not in str(item) and "index" not in str(item[0])]

    def tables(connection: Connection) -> set[str]:
        return set(inspect(connection).get_table_names(SCHEMA))

    database = Database(database_url, name="test")
    async with database.transaction() as connection:
        assert await connection.run_sync(difference) == []
    await migrate(database, schema=SCHEMA, scripts=SCRIPTS, revision="base", back=True)
    async with database.transaction() as connection:
        assert await connection.run_sync(tables) == {"alembic_version"}
    await asyncio.gather(*(migrate(database, schema=SCHEMA, scripts=SCRIPTS) for _ in range(3)))
    async with database.transaction() as connection:
        assert await connection.run_sync(tables) >= {"helpers", "servers", "outbox"}
    await database.close()


async def test_the_cid_key_stays(context: Context) -> None:
    first = context.required_cid_key()
    context.cid_key = None
    await Upkeep(context, sweep_interval_s=1).bring_up()
    assert context.required_cid_key() == first


# --- helpers --------------------------------------------------------------------------------------


async def test_ids_are_stable_by_name_and_incarnations_grow(helpers: Helpers, context: Context) -> None:
    first = await helpers.register(helper_spec("a"))
    second = await helpers.register(helper_spec("b"))
    again = await helpers.register(helper_spec("a", "198.18.0.99"))
    assert (first.helper.helper_id, second.helper.helper_id, again.helper.helper_id) == (1, 2, 1)
    assert (first.helper.incarnation, again.helper.incarnation) == (1, 2)
    assert (await helpers.get(1)).spec.data_address == "198.18.0.99"


async def test_a_start_is_told_when_the_worker_serves(helpers: Helpers, context: Context) -> None:
    view = await helpers.register(helper_spec())
    assert view.helper.status is HelperStatus.STARTING
    assert await facts(context) == []
    await helpers.renew(1, 1, "up", None, None)
    await serving(helpers)
    assert await facts(context) == [
        ("helper.up", 1, 1, "serving"),
        ("helper.down", 1, 1, "superseded"),
        ("helper.up", 1, 2, "serving"),
    ]


async def test_many_starts_at_once_get_different_ids_and_incarnations(helpers: Helpers) -> None:
    views = await asyncio.gather(*(helpers.register(helper_spec(f"h{number % 5}")) for number in range(20)))
    seen = {(view.helper.spec.name, view.helper.helper_id, view.helper.incarnation) for view in views}
    assert len(seen) == 20
    assert {helper_id for _, helper_id, _ in seen} == {1, 2, 3, 4, 5}


async def test_only_the_current_incarnation_renews(helpers: Helpers) -> None:
    await helpers.register(helper_spec())
    await helpers.register(helper_spec())
    await refused(ProblemType.STALE_INCARNATION, 409, helpers.renew(1, 1, "up", None, None))
    await refused(ProblemType.UNKNOWN_HELPER, 404, helpers.renew(2, 1, "up", None, None))
    assert (await helpers.renew(1, 2, "up", {"load": 0.5}, None)).helper.stats == {"load": 0.5}


async def test_an_expired_lease_is_down_once_and_may_come_back(
    helpers: Helpers, upkeep: Upkeep, clock: Clock, context: Context
) -> None:
    await serving(helpers)
    clock.turn(TTL - SECOND)
    await upkeep.sweep()
    assert (await helpers.get(1)).status is HelperStatus.UP
    clock.turn(SECOND)
    await upkeep.sweep()
    await upkeep.sweep()
    assert (await helpers.get(1)).status is HelperStatus.DOWN
    await helpers.renew(1, 1, "up", None, None)
    assert await facts(context) == [
        ("helper.up", 1, 1, "serving"),
        ("helper.down", 1, 1, "lease-expired"),
        ("helper.up", 1, 1, "lease-renewed"),
    ]


async def test_leaving_twice_is_one_fact(helpers: Helpers, context: Context) -> None:
    await serving(helpers)
    await helpers.leave(1, 1)
    await helpers.leave(1, 1)
    assert [fact[0] for fact in await facts(context)] == ["helper.up", "helper.gone"]


async def test_an_order_to_drain_is_told_with_the_lease_and_holds_until_it_is_taken_back(
    helpers: Helpers, context: Context
) -> None:
    await serving(helpers)
    await helpers.order_drain(1)
    assert (await helpers.renew(1, 1, "up", None, None)).helper.is_draining_ordered
    await serving(helpers)
    assert (await helpers.get(1)).status is HelperStatus.DRAINING
    await helpers.order_undrain(1)
    await helpers.order_undrain(1)
    assert not (await helpers.renew(1, 2, "draining", None, None)).helper.is_draining_ordered
    assert (await helpers.renew(1, 2, "up", None, None)).helper.status is HelperStatus.UP
    assert await facts(context) == [
        ("helper.up", 1, 1, "serving"),
        ("helper.draining", 1, 1, "ordered"),
        ("helper.down", 1, 1, "superseded"),
        ("helper.draining", 1, 2, "ordered"),
        ("helper.up", 1, 2, "reported"),
    ]


async def test_what_cannot_drain_is_said(helpers: Helpers) -> None:
    await refused(ProblemType.UNKNOWN_HELPER, 404, helpers.order_drain(1))
    await refused(ProblemType.UNKNOWN_HELPER, 404, helpers.order_undrain(1))
    await serving(helpers)
    await helpers.leave(1, 1)
    await refused(ProblemType.NOT_DRAINABLE, 409, helpers.order_drain(1))
    await helpers.order_undrain(1)


async def test_the_server_table_is_sent_when_it_changed(helpers: Helpers, servers: Servers) -> None:
    view = await helpers.register(helper_spec())
    assert view.trunk_ends == []
    granted = await register_server(servers, shards=2)
    view = await helpers.renew(1, 1, "up", None, view.servers_version)
    assert view.trunk_ends
    assert (view.trunk_ends[0].server, view.trunk_ends[0].trunk_secret) == (granted.server, granted.trunk_secret)
    assert (await helpers.renew(1, 1, "up", None, view.servers_version)).trunk_ends is None
    await servers.renew(granted.server.server_id, granted.server.incarnation)
    assert (await helpers.renew(1, 1, "up", None, view.servers_version)).trunk_ends is None
    await servers.leave(granted.server.server_id, granted.server.incarnation)
    assert (await helpers.renew(1, 1, "up", None, view.servers_version)).trunk_ends == []


async def test_with_all_ids_given_the_longest_dead_name_loses_its_own(
    helpers: Helpers, context: Context, clock: Clock
) -> None:
    await serving(helpers, "live")
    row = {
        "incarnation": 7,
        "status": "gone",
        "is_draining_ordered": False,
        "data_address": "198.18.0.1",
        "client_port": 1,
        "trunk_port": 2,
        "workers": 1,
        "version": "1",
        "stats": {},
    }
    rows = [
        row | {"helper_id": number, "name": f"n{number}", "lease_expires_at": clock.now - SECOND * (number % 1000)}
        for number in (2, 999, 65535)
    ]
    async with context.database.transaction() as connection:
        await connection.execute(insert(helper_table), rows)
    view = await helpers.register(helper_spec("late"))
    assert (view.helper.helper_id, view.helper.incarnation) == (999, 8)


# --- servers --------------------------------------------------------------------------------------


async def test_each_registration_is_a_new_server(servers: Servers) -> None:
    grants = [await register_server(servers, udp_port=100 + number) for number in range(3)]
    assert len({grant.server.server_id for grant in grants}) == 3
    assert [grant.server.incarnation for grant in grants] == [1, 2, 3]
    assert len({grant.trunk_secret for grant in grants} | {grant.keys[0].key for grant in grants}) == 6


async def test_a_udp_port_has_one_owner(servers: Servers, context: Context) -> None:
    first = (await register_server(servers)).server
    second = (await register_server(servers)).server
    await refused(ProblemType.STALE_INCARNATION, 409, servers.renew(first.server_id, first.incarnation))
    await servers.renew(second.server_id, second.incarnation)
    assert ("server.down", first.server_id, first.incarnation, "superseded") in await facts(context)


async def test_the_same_request_with_the_same_key_is_the_same_server(servers: Servers) -> None:
    first = await register_server(servers, "a-key-1234")
    assert await register_server(servers, "a-key-1234") == first
    await refused(ProblemType.IDEMPOTENCY_KEY_REUSED, 422, register_server(servers, "a-key-1234", tcp_port=8))
    await servers.leave(first.server.server_id, first.server.incarnation)
    later = await register_server(servers, "a-key-1234")
    assert later.server.incarnation > first.server.incarnation


async def test_the_same_request_sent_many_times_at_once_is_one_server(servers: Servers) -> None:
    grants = await asyncio.gather(*(register_server(servers, "a-key-1234") for _ in range(8)))
    assert len({grant.server.server_id for grant in grants}) == 1


async def test_registrations_without_a_key_do_not_remove_each_other(servers: Servers) -> None:
    first = (await register_server(servers, udp_port=1)).server
    await servers.leave(first.server_id, first.incarnation)
    await register_server(servers, udp_port=2)
    assert {server.server_id for server in await servers.page(0, 100)} >= {first.server_id}


async def test_ids_rest_for_an_hour(servers: Servers, context: Context, upkeep: Upkeep, clock: Clock) -> None:
    server = (await register_server(servers)).server
    await servers.leave(server.server_id, server.incarnation)
    clock.turn(timedelta(minutes=59))
    await upkeep.sweep()
    assert [found.status for found in await servers.page(0, 10)] == [ServerStatus.GONE]
    await refused(ProblemType.STALE_INCARNATION, 409, servers.renew(server.server_id, server.incarnation))
    clock.turn(timedelta(minutes=2))
    await upkeep.sweep()
    assert await servers.page(0, 10) == []
    await refused(ProblemType.UNKNOWN_SERVER, 404, servers.renew(server.server_id, server.incarnation))


async def test_the_last_free_ids_are_found_then_those_that_rest_longest(context: Context, clock: Clock) -> None:
    fill = text(
        "INSERT INTO registry.servers (server_id, incarnation, service, host, tcp_port, data_address, udp_port, shards,"
        " status, lease_expires_at, ended_at, trunk_secret)"
        " SELECT n, n, 's', 'h', 1, 'a', 1, 1, CASE WHEN n IN (70, 71) THEN 'gone' ELSE 'up' END, :now,"
        " CASE n WHEN 70 THEN CAST(:now AS timestamptz) - interval '1 minute'"
        " WHEN 71 THEN CAST(:now AS timestamptz) - interval '2 minutes' END, ''"
        " FROM generate_series(1, 65535) n WHERE n NOT IN (4242)"
    )
    rested_since = clock.now - timedelta(hours=1)
    async with context.database.transaction() as connection:
        await connection.execute(fill, {"now": clock.now})
        assert await store_servers.free_id(connection, rested_since) == 4242
        values = {"server_id": 4242, "incarnation": 1, "status": "up", "ended_at": None, "lease_expires_at": clock.now}
        other = {"service": "s", "host": "h", "tcp_port": 1, "data_address": "a", "udp_port": 1, "shards": 1}
        await connection.execute(insert(server_table), [values | other | {"trunk_secret": b""}])
        assert await store_servers.free_id(connection, rested_since) == 71
        await connection.execute(text("UPDATE registry.servers SET status = 'up', ended_at = NULL"))
        assert await store_servers.free_id(connection, rested_since) is None


async def test_keys_rotate_when_a_server_renews(servers: Servers, resolver: Resolver, clock: Clock) -> None:
    granted = await register_server(servers)
    server_id, incarnation = granted.server.server_id, granted.server.incarnation
    clock.turn(timedelta(days=1))
    keys = await servers.renew(server_id, incarnation)
    assert [key.key_id for key in keys] == [1, 2]
    token = (await resolver.renew_token(server_id, "c")).token
    assert token_verify(token, {1: keys[0].key}, server_id=server_id, now_s=clock.now.timestamp())
    clock.turn(TTL - SECOND)
    await servers.renew(server_id, incarnation)
    clock.turn(SECOND)
    resolver.forget()
    token = (await resolver.renew_token(server_id, "c")).token
    assert token_verify(token, {2: keys[1].key}, server_id=server_id, now_s=clock.now.timestamp())
    clock.turn(timedelta(minutes=11))
    assert [key.key_id for key in await servers.renew(server_id, incarnation)] == [2]


# --- upkeep ---------------------------------------------------------------------------------------


async def test_after_an_absence_every_live_node_gets_one_lease(
    servers: Servers, helpers: Helpers, upkeep: Upkeep, clock: Clock
) -> None:
    await serving(helpers)
    server = (await register_server(servers)).server
    clock.turn(timedelta(hours=3))
    await upkeep.bring_up()
    await upkeep.sweep()
    assert (await helpers.get(1)).status is HelperStatus.UP
    await servers.renew(server.server_id, server.incarnation)
    clock.turn(TTL)
    await upkeep.sweep()
    assert (await helpers.get(1)).status is HelperStatus.DOWN


@pytest.mark.parametrize("jump", [timedelta(hours=3), -timedelta(hours=3)])
async def test_a_clock_that_jumps_costs_nobody_its_lease_and_gives_nobody_a_longer_one(
    helpers: Helpers, upkeep: Upkeep, clock: Clock, jump: timedelta
) -> None:
    await serving(helpers)
    swept_at = clock.now
    clock.turn(jump)
    await upkeep.forgive_gap(swept_at)
    await upkeep.sweep()
    assert (await helpers.get(1)).status is HelperStatus.UP
    clock.turn(TTL)
    await upkeep.sweep()
    assert (await helpers.get(1)).status is HelperStatus.DOWN


async def test_an_ordinary_delay_between_sweeps_forgives_nothing(
    helpers: Helpers, upkeep: Upkeep, clock: Clock
) -> None:
    await serving(helpers)
    expires_at = (await helpers.get(1)).lease_expires_at
    swept_at = clock.now
    clock.turn(TTL / 2)
    await upkeep.forgive_gap(swept_at)
    assert (await helpers.get(1)).lease_expires_at == expires_at


async def test_two_sweeps_at_once_make_one_fact_each(
    servers: Servers, helpers: Helpers, upkeep: Upkeep, clock: Clock, context: Context
) -> None:
    for number in range(10):
        await serving(helpers, f"h{number}")
        await register_server(servers, udp_port=number + 1)
    clock.turn(TTL)
    await asyncio.gather(*(upkeep.sweep() for _ in range(4)))
    downs = [fact[:2] for fact in await facts(context) if fact[0].endswith(".down")]
    assert len(downs) == len(set(downs)) == 20


async def test_the_version_grows_with_each_change_of_the_server_set(
    servers: Servers, context: Context, upkeep: Upkeep, clock: Clock
) -> None:
    async def version() -> int:
        async with context.database.transaction() as connection:
            return await store.servers_version(connection)

    versions = [await version()]
    server = (await register_server(servers)).server
    versions.append(await version())
    clock.turn(TTL)
    await upkeep.sweep()
    versions.append(await version())
    await servers.renew(server.server_id, server.incarnation)
    versions.append(await version())
    assert versions == sorted(set(versions))
    await servers.renew(server.server_id, server.incarnation)
    assert await version() == versions[-1]
