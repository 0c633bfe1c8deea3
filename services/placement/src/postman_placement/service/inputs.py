# SPDX-License-Identifier: Apache-2.0
"""Use-cases of what a placement is made from: topology, measurements, demands."""

from __future__ import annotations

from hashlib import sha256
from typing import Final

from pydantic import BaseModel

from postman_contracts import rest_placement as rest
from postman_contracts.problems import FieldError
from postman_placement import checks, refusals, store
from postman_placement import store_inputs as inputs
from postman_placement.service.context import Context
from postman_placement.store import Version

MEASUREMENTS_MAX: Final = 200_000
"""Most pairs of sites that have a measurement: all pairs of 632 sites."""


class Inputs:
    """Use-cases of the inputs."""

    def __init__(self, context: Context, *, measurements_max: int = MEASUREMENTS_MAX) -> None:
        self._context = context
        self._measurements_max = measurements_max

    async def put_topology(self, topology: rest.Topology) -> rest.TopologyAnswer:
        """Replace it. The version grows only if something is different."""
        checks.check_topology(topology)
        digest = _digest(topology)
        async with self._context.database.transaction() as connection:
            version = await store.lock_version(connection, "topology")
            if version.digest != digest:
                version = Version(version.value + 1, digest)
                await store.save_version(connection, "topology", version)
                await inputs.replace_topology(connection, topology.sites, topology.links)
        return rest.TopologyAnswer(version=version.value, sites=topology.sites, links=topology.links)

    async def topology(self) -> rest.TopologyAnswer:
        """The topology."""
        async with self._context.database.transaction() as connection:
            version = await store.read_version(connection, "topology")
            sites = await inputs.read_sites(connection)
            links = await inputs.read_links(connection)
        return rest.TopologyAnswer(version=version, sites=sites, links=links)

    async def take(self, measurements: rest.Measurements) -> rest.MeasurementsTaken:
        """Keep what is newer than what is known."""
        checks.check_measurements(measurements.items, now=self._context.clock())
        newest = checks.newest_of_pairs(measurements.items)
        async with self._context.database.transaction() as connection:
            await store.read_version(connection, "topology")  # its sites stay until we are done
            known = await inputs.known_sites(connection)
            checks.check_measured_sites(measurements.items, known)
            taken = await inputs.take_measurements(connection, newest)
            pairs_max = len(known) * (len(known) - 1) // 2
            if pairs_max > self._measurements_max:
                await self._require_room(await inputs.count_measurements(connection))
        return rest.MeasurementsTaken(taken=taken, outdated=len(measurements.items) - taken)

    async def _require_room(self, count: int) -> None:
        if count > self._measurements_max:
            raise refusals.invalid(
                [
                    FieldError(
                        field="items",
                        message=f"measurements of {self._measurements_max} pairs are kept at most; measure only "
                        "between sites of clients or servers and sites of helpers",
                    )
                ]
            )

    async def measurements(self, after: tuple[str, str], limit: int) -> list[rest.Measurement]:
        """Measurements of pairs above `after`."""
        async with self._context.database.transaction() as connection:
            return await inputs.page_measurements(connection, after, limit)

    async def put_demands(self, demands: rest.Demands) -> rest.DemandsAnswer:
        """Replace them. The version grows only if something is different."""
        checks.check_demands(demands.items)
        digest = _digest(demands)
        async with self._context.database.transaction() as connection:
            await store.read_version(connection, "topology")  # its sites stay until we are done
            checks.check_demanded_sites(demands.items, await inputs.known_sites(connection))
            version = await store.lock_version(connection, "demands")
            if version.digest != digest:
                version = Version(version.value + 1, digest)
                await store.save_version(connection, "demands", version)
                await inputs.replace_demands(connection, demands.items)
        return rest.DemandsAnswer(version=version.value, items=demands.items)

    async def demands(self) -> rest.DemandsAnswer:
        """The demands."""
        async with self._context.database.transaction() as connection:
            version = await store.read_version(connection, "demands")
            items = await inputs.read_demands(connection)
        return rest.DemandsAnswer(version=version, items=items)


def _digest(body: BaseModel) -> bytes:
    return sha256(body.model_dump_json().encode()).digest()
