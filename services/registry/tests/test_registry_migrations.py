# SPDX-License-Identifier: Apache-2.0
"""Migrations forward and back on data that the use-cases wrote: nothing of an earlier release's own is lost."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from registry_parts import Clock, helper_spec, register_server, serving
from sqlalchemy import text

from postman_contracts.messages import Assigned, AssignmentsChanged
from postman_kit.migrate import migrate
from postman_registry.assignments import ClientPlace
from postman_registry.service.assignments import Assignments
from postman_registry.service.context import Context
from postman_registry.service.helpers import Helpers
from postman_registry.service.servers import Servers
from postman_registry.tables import SCHEMA, SCRIPTS

TABLES_0001 = {
    "helpers": "helper_id",
    "servers": "server_id",
    "server_keys": "server_id, key_id",
    "secrets": "name",
    "counters": "name",
    "outbox": "id",
}


async def content(context: Context) -> dict[str, list[dict[str, Any]]]:
    """Everything that the first release's tables hold, in the columns and rows that it knew."""
    found = {}
    async with context.database.transaction() as connection:
        for table, order in TABLES_0001.items():
            rows = await connection.execute(text(f"SELECT * FROM {SCHEMA}.{table} ORDER BY {order}"))  # noqa: S608
            found[table] = [dict(row._mapping) for row in rows]
    for server in found["servers"]:
        server.pop("site", None)
    found["counters"] = [row for row in found["counters"] if row["name"] != "assignment_epoch"]
    return found


def changed(epoch: int) -> AssignmentsChanged:
    assigned = Assigned(service="echo", group="g", site="s", prefixes=("10.0.0.0/8",), primary=2, backup=1)
    return AssignmentsChanged(
        event_id=uuid4(),
        at=datetime.now(UTC),
        epoch=epoch,
        placement_id=uuid4(),
        part=0,
        parts=1,
        assignments=(assigned,),
        helpers=(),
    )


async def test_the_second_revision_goes_forward_and_back_on_real_data(
    context: Context, helpers: Helpers, servers: Servers, clock: Clock
) -> None:
    for name in ("a", "b"):
        await serving(helpers, name)
    await helpers.order_drain(2)
    granted = await register_server(servers, "a-key-1234", site="east")
    assignments = Assignments(context, age_s_max=0)
    await assignments.on_changed("", changed(7))
    before = await content(context)
    assert all(before.values())

    await migrate(context.database, schema=SCHEMA, scripts=SCRIPTS, revision="0001", back=True)
    assert await content(context) == before
    await migrate(context.database, schema=SCHEMA, scripts=SCRIPTS)
    assert await content(context) == before

    assert [server.spec.site for server in await servers.page(0, 10)] == [None]
    assert await servers.renew(granted.server.server_id, granted.server.incarnation)
    assert (await helpers.register(helper_spec("b"))).helper.is_draining_ordered
    assert (await assignments.of_service("echo")).epoch is None, "placement publishes its epoch again when it starts"
    await assignments.on_changed("", changed(7))
    match = (await assignments.of_service("echo")).match(ClientPlace(address="10.1.2.3"))
    assert match is not None
    assert (match.primary, match.backup) == (2, 1)
