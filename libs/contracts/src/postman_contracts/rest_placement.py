# SPDX-License-Identifier: Apache-2.0
"""Every REST body of placement, `/v1`. Latencies are round trips in microseconds, rates packets per second, and costs
packet-microseconds per second: a rate times a latency."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from postman_contracts.fields import (
    AssignmentRole,
    Epoch,
    HelperId,
    Microseconds,
    Name,
    PacketsPerSecond,
    Prefix,
    Text,
    Time,
)
from postman_contracts.rest import Answer, Request

Cost = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Weight = Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)]

# --- inputs ---------------------------------------------------------------------------------------


class Site(Request):
    """A place where clients, servers or helpers are."""

    name: Name
    domain: Name | None = None
    """What fails together; a site without one is a failure domain of its own."""
    helper_capacity_pps: PacketsPerSecond = 1e6
    """Of each helper at this site."""
    helper_cost: Annotated[float, Field(ge=0, le=1e30, allow_inf_nan=False)] = 0
    """Of each helper used there, in the unit of all costs; at most some hundred times the dearest way of a demand."""
    helper_delay_us: Microseconds = 0
    """What a helper there adds to a round trip."""


class Link(Request):
    """Two sites that reach each other, in both directions. Sites without a measurement are as far as the best path."""

    a: Name
    b: Name
    rtt_us: Microseconds


class Topology(Request):
    """`PUT /v1/topology` replaces all of it; `GET /v1/topology` answers with it."""

    sites: list[Site] = Field(max_length=5000)
    links: list[Link] = Field(default=[], max_length=50_000)


class TopologyAnswer(Answer):
    """The topology, and its version, which grows with each change."""

    version: int
    sites: list[Site]
    links: list[Link]


class Measurement(Request):
    """A round trip between two sites that somebody measured; both directions count as one."""

    a: Name
    b: Name
    rtt_us: Microseconds
    samples: int = Field(default=1, ge=1, le=1_000_000_000)
    at: Time


class Measurements(Request):
    """`POST /v1/measurements`: of each pair the newest counts, whatever the order of arrival."""

    items: list[Measurement] = Field(min_length=1, max_length=5000)


class MeasurementsTaken(Answer):
    """How many were newer than what was known, and how many were not."""

    taken: int
    outdated: int


class MeasurementPage(Answer):
    """`GET /v1/measurements?after=&limit=`, by pair; `next` is the `after` of the following page, null on the last."""

    items: list[Measurement]
    next: str | None = None
    """The last pair, as `a,b`."""


class Demand(Request):
    """What the clients of one group send to one service."""

    group: Name
    service: Name
    site: Name
    prefixes: list[Prefix] = Field(default=[], max_length=64)
    """Which clients are meant, by address; a client may also name its group or site itself."""
    server_site: Name | None = None
    """Where the service is; null: where the registry says that its servers are."""
    rate_pps: PacketsPerSecond
    weight: Weight = 1.0
    latency_us_max: Microseconds | None = None


class Demands(Request):
    """`PUT /v1/demands` replaces all of them."""

    items: list[Demand] = Field(max_length=20_000)


class DemandsAnswer(Answer):
    """The demands, and their version, which grows with each change."""

    version: int
    items: list[Demand]


# --- placements -----------------------------------------------------------------------------------


class PlacementRequest(Request):
    """`POST /v1/placements`: solve. With `dry_run` the answer is all that remains of it; else it can be applied."""

    dry_run: bool = False
    headroom: Annotated[float, Field(ge=0, lt=1)] = 0.3
    """Share of each helper's capacity that stays free while all helpers live."""
    backup_weight: Annotated[float, Field(ge=0, le=1)] = 0.1
    """What a microsecond to the backup counts beside one to the primary."""
    backup_required: bool = False
    """Refuse a placement in which a group has no backup; else such groups are named."""
    excluded_helpers: list[HelperId] = Field(default=[], max_length=1000)
    time_s_max: Annotated[float, Field(gt=0, le=60)] = 10.0


class CostParts(Answer):
    """What a cost is made of; the parts add up to the total."""

    primary: Cost
    """Rate times weight times round trip by the primary helper."""
    backup: Cost
    """The same by the backup, times `backup_weight`."""
    helpers: Cost
    """Of the helpers that are used."""
    missing_backups: Cost
    """The penalty for groups without a backup."""
    total: Cost


class Way(Answer):
    """The way of one group by one helper."""

    helper_id: HelperId
    site: Name
    client_leg_us: float
    helper_us: float
    server_leg_us: float
    total_us: float
    measured: bool
    """False if a leg is the best path over links and not a measurement."""
    cost: Cost


class Alternative(Answer):
    """A helper that was not chosen, and why not."""

    helper_id: HelperId
    site: Name
    total_us: float | None
    cost_difference: float | None
    """How much more this group's own cost would be; null if it cannot use that helper."""
    reason: Text


class ExplainedAssignment(Answer):
    """The decision for one group and service."""

    group: Name
    service: Name
    rate_pps: float
    weight: float
    primary: Way
    backup: Way | None
    backup_missing_reason: Text | None = None
    cost: Cost
    """primary.cost + backup.cost (which has the backup's weight in it) + penalty of a missing backup."""
    alternatives: list[Alternative] = Field(max_length=3)


class UsedHelper(Answer):
    """What becomes of one helper."""

    helper_id: HelperId
    name: Name
    site: Name
    role: AssignmentRole
    rate_pps: float
    capacity_pps: float
    worst_failure_rate_pps: float
    """Its load when the failure domain dies whose death brings it most."""
    cost: Cost
    is_acknowledged: bool | None = None
    """Whether it has said that it is prepared for this epoch; null before the placement is applied."""


PlacementState = Literal["dry-run", "proposed", "applied", "superseded"]


class Placement(Answer):
    """`GET /v1/placements/{id}`, and the answer of `POST /v1/placements`."""

    placement_id: UUID
    state: PlacementState
    made_at: Time
    applied_at: Time | None = None
    epoch: Epoch | None = None
    topology_version: int
    demands_version: int
    request: PlacementRequest
    is_optimal: bool
    """Cost and bound agree to a millionth, and the cost was computed again from the assignment itself."""
    cost: CostParts
    bound: float
    gap: float
    """(cost - bound) / cost."""
    solve_s: float
    helpers: list[UsedHelper]
    assignments: list[ExplainedAssignment]
    notes: tuple[Text, ...] = ()


class PlacementSummary(Answer):
    """A placement without its assignments."""

    placement_id: UUID
    state: PlacementState
    made_at: Time
    applied_at: Time | None = None
    epoch: Epoch | None = None
    cost: float
    gap: float
    assignments: int


class PlacementPage(Answer):
    """`GET /v1/placements?before=&limit=`, newest first; `next` is the `before` of the following page."""

    items: list[PlacementSummary]
    next: Time | None = None


class Assignments(Answer):
    """`GET /v1/assignments`: who uses which helper now; epoch null while no placement has been applied."""

    epoch: Epoch | None
    placement_id: UUID | None
    items: list[AssignmentAnswer]


class AssignmentAnswer(Answer):
    """One group's helpers for one service."""

    group: Name
    service: Name
    site: Name
    prefixes: list[Prefix]
    primary: HelperId
    backup: HelperId | None
