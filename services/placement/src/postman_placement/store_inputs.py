# SPDX-License-Identifier: Apache-2.0
"""SQL about what a placement is made from: sites, links, measurements, demands. Each in its caller's transaction."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import Table, delete, func, insert, or_, select, text, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from postman_contracts import rest_placement as rest
from postman_placement.rows import demand_from, demand_values, link_from, measurement_from, site_from
from postman_placement.store import streamed
from postman_placement.tables import demands, links, measurements, sites

# One statement whatever the number of rows; what is not newer changes nothing, and is not counted as a row.
_TAKE_NEWER = text("""
    INSERT INTO placement.measurements AS known (a, b, rtt_us, samples, measured_at)
    SELECT * FROM unnest(
        CAST(:a AS text[]), CAST(:b AS text[]), CAST(:rtt_us AS float8[]), CAST(:samples AS int[]),
        CAST(:measured_at AS timestamptz[]))
    ON CONFLICT (a, b) DO UPDATE
    SET rtt_us = excluded.rtt_us, samples = excluded.samples, measured_at = excluded.measured_at
    WHERE excluded.measured_at > known.measured_at
""")


async def read_sites(connection: AsyncConnection) -> list[rest.Site]:
    """All sites, by name."""
    return [site_from(row) async for row in streamed(connection, select(sites).order_by(sites.c.name))]


async def read_links(connection: AsyncConnection) -> list[rest.Link]:
    """All links, by name."""
    return [link_from(row) async for row in streamed(connection, select(links).order_by(links.c.a, links.c.b))]


async def known_sites(connection: AsyncConnection) -> set[str]:
    """The names of all sites."""
    return set(await connection.scalars(select(sites.c.name)))


async def replace_topology(
    connection: AsyncConnection, new_sites: Sequence[rest.Site], new_links: Sequence[rest.Link]
) -> None:
    """These sites and links and no others; what was measured at sites that are gone goes, too."""
    await _replace(connection, sites, [site.model_dump() for site in new_sites])
    await _replace(connection, links, [link.model_dump() for link in new_links])
    present = select(sites.c.name)
    await connection.execute(
        delete(measurements).where(or_(measurements.c.a.not_in(present), measurements.c.b.not_in(present)))
    )


async def read_demands(connection: AsyncConnection) -> list[rest.Demand]:
    """All demands, by group and service."""
    query = select(demands).order_by(demands.c.group_name, demands.c.service)
    return [demand_from(row) async for row in streamed(connection, query)]


async def replace_demands(connection: AsyncConnection, items: Sequence[rest.Demand]) -> None:
    """These demands, and no others."""
    await _replace(connection, demands, [demand_values(demand) for demand in items])


async def _replace(connection: AsyncConnection, table: Table, rows: list[dict[str, object]]) -> None:
    await connection.execute(delete(table))
    if rows:
        await connection.execute(insert(table), rows)


async def take_measurements(connection: AsyncConnection, items: Collection[rest.Measurement]) -> int:
    """Keep those that are newer than what is known; returns how many. At most one for each pair, and a < b."""
    # In one order for everybody: whoever posts the same pairs at the same time waits, and not in a circle.
    ordered = sorted(items, key=lambda item: (item.a, item.b))
    columns = {
        "a": [item.a for item in ordered],
        "b": [item.b for item in ordered],
        "rtt_us": [item.rtt_us for item in ordered],
        "samples": [item.samples for item in ordered],
        "measured_at": [item.at for item in ordered],
    }
    return (await connection.execute(_TAKE_NEWER, columns)).rowcount


async def count_measurements(connection: AsyncConnection) -> int:
    """How many pairs have a measurement."""
    return int((await connection.execute(select(func.count()).select_from(measurements))).scalar_one())


async def read_measurements(connection: AsyncConnection, ends: Collection[str]) -> list[rest.Measurement]:
    """The newest measurement of each pair of which one end is among these sites."""
    query = select(measurements).where(or_(measurements.c.a.in_(ends), measurements.c.b.in_(ends)))
    return [measurement_from(row) async for row in streamed(connection, query)]


async def page_measurements(connection: AsyncConnection, after: tuple[str, str], limit: int) -> list[rest.Measurement]:
    """Measurements of pairs above `after`, in order of the pair."""
    pair = tuple_(measurements.c.a, measurements.c.b)
    query = select(measurements).where(pair > tuple_(*after)).order_by(measurements.c.a, measurements.c.b).limit(limit)
    return [measurement_from(row) for row in await connection.execute(query)]
