# SPDX-License-Identifier: Apache-2.0
"""Rows to domain objects and back."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row

from postman_contracts.messages import Assigned
from postman_registry.assignments import Assignment
from postman_registry.domain import Helper, HelperSpec, HelperStatus, Server, ServerSpec, ServerStatus
from postman_registry.keys import SigningKey


def helper_from(row: Row[Any]) -> Helper:
    """A helper from its row."""
    return Helper(
        helper_id=row.helper_id,
        incarnation=row.incarnation,
        spec=HelperSpec(
            name=row.name,
            site=row.site,
            data_address=row.data_address,
            client_port=row.client_port,
            trunk_port=row.trunk_port,
            workers=row.workers,
            version=row.version,
        ),
        status=HelperStatus(row.status),
        is_draining_ordered=row.is_draining_ordered,
        lease_expires_at=row.lease_expires_at,
        stats=row.stats,
    )


def helper_values(helper: Helper) -> dict[str, Any]:
    """All columns of a helper but its id."""
    spec = helper.spec
    return {
        "name": spec.name,
        "site": spec.site,
        "incarnation": helper.incarnation,
        "status": helper.status.value,
        "is_draining_ordered": helper.is_draining_ordered,
        "data_address": spec.data_address,
        "client_port": spec.client_port,
        "trunk_port": spec.trunk_port,
        "workers": spec.workers,
        "version": spec.version,
        "lease_expires_at": helper.lease_expires_at,
        "stats": helper.stats,
    }


def server_from(row: Row[Any]) -> Server:
    """A server from its row."""
    return Server(
        server_id=row.server_id,
        incarnation=row.incarnation,
        spec=ServerSpec(
            service=row.service,
            host=row.host,
            tcp_port=row.tcp_port,
            data_address=row.data_address,
            udp_port=row.udp_port,
            shards=row.shards,
            site=row.site,
        ),
        status=ServerStatus(row.status),
        lease_expires_at=row.lease_expires_at,
        ended_at=row.ended_at,
    )


def server_values(server: Server) -> dict[str, Any]:
    """All columns of a server but its id, its secrets and what belongs to the request that made it."""
    spec = server.spec
    return {
        "incarnation": server.incarnation,
        "service": spec.service,
        "host": spec.host,
        "tcp_port": spec.tcp_port,
        "data_address": spec.data_address,
        "udp_port": spec.udp_port,
        "shards": spec.shards,
        "site": spec.site,
        "status": server.status.value,
        "lease_expires_at": server.lease_expires_at,
        "ended_at": server.ended_at,
    }


def assignment_from(row: Row[Any]) -> Assignment:
    """An assignment from its row."""
    return Assignment(
        group=row.group_name,
        site=row.site,
        prefixes=tuple(row.prefixes),
        primary=row.primary_helper,
        backup=row.backup_helper,
    )


def assignment_values(assigned: Assigned) -> dict[str, Any]:
    """All columns of an assignment but its epoch."""
    return {
        "service": assigned.service,
        "group_name": assigned.group,
        "site": assigned.site,
        "prefixes": list(assigned.prefixes),
        "primary_helper": assigned.primary,
        "backup_helper": assigned.backup,
    }


def key_from(row: Row[Any]) -> SigningKey:
    """A K_srv from its row."""
    return SigningKey(key_id=row.key_id, key=row.key, made_at=row.made_at, usable_from=row.usable_from)
