# SPDX-License-Identifier: Apache-2.0
"""Rows to what is in them, and back."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from postman_contracts import rest_placement as rest
from postman_contracts.messages import Assigned


@dataclass(frozen=True, slots=True)
class Stored:
    """A placement as it is kept. `explained` and `assigned` are JSON lists."""

    placement_id: UUID
    state: rest.PlacementState
    made_at: datetime
    applied_at: datetime | None
    epoch: int | None
    topology_version: int
    demands_version: int
    usable_helpers: dict[int, str]
    """Of each helper that could be used: its site."""
    cost: float
    gap: float
    assignments: int
    document: dict[str, Any]
    """The answer as it was made, without its assignments."""
    explained: bytes
    assigned: bytes
    request_digest: bytes


def site_from(row: Row[Any]) -> rest.Site:
    """A site from its row."""
    return rest.Site(
        name=row.name,
        domain=row.domain,
        helper_capacity_pps=row.helper_capacity_pps,
        helper_cost=row.helper_cost,
        helper_delay_us=row.helper_delay_us,
    )


def link_from(row: Row[Any]) -> rest.Link:
    """A link from its row."""
    return rest.Link(a=row.a, b=row.b, rtt_us=row.rtt_us)


def measurement_from(row: Row[Any]) -> rest.Measurement:
    """A measurement from its row."""
    return rest.Measurement(a=row.a, b=row.b, rtt_us=row.rtt_us, samples=row.samples, at=row.measured_at)


def demand_from(row: Row[Any]) -> rest.Demand:
    """A demand from its row."""
    return rest.Demand(
        group=row.group_name,
        service=row.service,
        site=row.site,
        prefixes=row.prefixes,
        server_site=row.server_site,
        rate_pps=row.rate_pps,
        weight=row.weight,
        latency_us_max=row.latency_us_max,
    )


def demand_values(demand: rest.Demand) -> dict[str, Any]:
    """All columns of a demand."""
    return {"group_name": demand.group} | demand.model_dump(exclude={"group"})


def assigned_from(row: Row[Any]) -> Assigned:
    """An assignment in force, from its row."""
    return Assigned(
        service=row.service,
        group=row.group_name,
        site=row.site,
        prefixes=row.prefixes,
        primary=row.primary_helper,
        backup=row.backup_helper,
    )


def assigned_values(assigned: Assigned) -> dict[str, Any]:
    """All columns of an assignment."""
    return {
        "service": assigned.service,
        "group_name": assigned.group,
        "site": assigned.site,
        "prefixes": list(assigned.prefixes),
        "primary_helper": assigned.primary,
        "backup_helper": assigned.backup,
    }


def summary_from(row: Row[Any]) -> rest.PlacementSummary:
    """What a list says of a placement."""
    return rest.PlacementSummary(
        placement_id=row.placement_id,
        state=row.state,
        made_at=row.made_at,
        applied_at=row.applied_at,
        epoch=row.epoch,
        cost=row.cost,
        gap=row.gap,
        assignments=row.assignments,
    )


def stored_from(row: Row[Any]) -> Stored:
    """A placement from its row."""
    return Stored(
        placement_id=row.placement_id,
        state=row.state,
        made_at=row.made_at,
        applied_at=row.applied_at,
        epoch=row.epoch,
        topology_version=row.topology_version,
        demands_version=row.demands_version,
        usable_helpers={int(helper_id): site for helper_id, site in row.usable_helpers.items()},
        cost=row.cost,
        gap=row.gap,
        assignments=row.assignments,
        document=row.document,
        explained=row.explained,
        assigned=row.assigned,
        request_digest=row.request_digest,
    )


def stored_values(stored: Stored) -> dict[str, Any]:
    """All columns of a placement but its Idempotency-Key."""
    return {
        "placement_id": stored.placement_id,
        "state": stored.state,
        "made_at": stored.made_at,
        "applied_at": stored.applied_at,
        "epoch": stored.epoch,
        "topology_version": stored.topology_version,
        "demands_version": stored.demands_version,
        "usable_helpers": {str(helper_id): site for helper_id, site in stored.usable_helpers.items()},
        "cost": stored.cost,
        "gap": stored.gap,
        "assignments": stored.assignments,
        "document": stored.document,
        "explained": stored.explained,
        "assigned": stored.assigned,
        "request_digest": stored.request_digest,
    }
