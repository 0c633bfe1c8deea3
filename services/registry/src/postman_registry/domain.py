# SPDX-License-Identifier: Apache-2.0
"""Helpers, servers and their leases: what may happen to them, and what becomes true by it. Pure; `now` is an argument.

A node is `up` (or `draining`) while its lease runs, `down` when it ran out, `gone` after a clean end. A helper is
`starting` between its registration, which names its incarnation, and its first renewal, when its worker serves. Each
start of a node is an incarnation; only the current one may renew or end. A `down` incarnation that renews is up again:
it had only been cut off. Each change returns the new state and the events that it is.

          register            renews          drain              lease runs out
    (none) ------> starting ------> up <-------- draining     all three ------> down
                                    |  --------->  |                 up <------ renews
                                    +---- leaves --+---> gone

An operator's order to drain belongs to the helper's name: it holds through restarts until the order to serve again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Literal


class HelperStatus(StrEnum):
    """State of a helper."""

    STARTING = "starting"
    UP = "up"
    DRAINING = "draining"
    DOWN = "down"
    GONE = "gone"


class ServerStatus(StrEnum):
    """State of a server."""

    UP = "up"
    DOWN = "down"
    GONE = "gone"


class StaleIncarnation(Exception):
    """The caller is not the current incarnation, or that one has ended."""


class NotDrainable(Exception):
    """The helper has ended: there is nothing that could drain."""


@dataclass(frozen=True, slots=True)
class HelperEvent:
    """Something that became true of a helper."""

    kind: Literal["up", "down", "draining", "gone"]
    helper_id: int
    incarnation: int
    reason: str


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """Something that became true of a server."""

    kind: Literal["up", "down", "gone"]
    server_id: int
    service: str
    incarnation: int
    reason: str


# --- helpers --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class HelperSpec:
    """What a helper says of itself when it starts."""

    name: str
    site: str | None
    data_address: str
    client_port: int
    trunk_port: int
    workers: int
    version: str


@dataclass(frozen=True, slots=True)
class Helper:
    """One helper in its current incarnation. `status` is what it is, `is_draining_ordered` what it shall be."""

    helper_id: int
    incarnation: int
    spec: HelperSpec
    status: HelperStatus
    is_draining_ordered: bool
    lease_expires_at: datetime
    stats: dict[str, int | float]

    @property
    def is_live(self) -> bool:
        """Whether its incarnation has not ended and its lease was running when last looked at."""
        return self.status in (HelperStatus.STARTING, HelperStatus.UP, HelperStatus.DRAINING)


HelperChange = tuple[Helper, list[HelperEvent]]


def helper_register(
    previous: Helper | None, helper_id: int, spec: HelperSpec, *, now: datetime, lease_ttl: timedelta
) -> HelperChange:
    """A helper starts. `previous` is what had this id before; its incarnation ends here."""
    is_same = previous is not None and previous.spec.name == spec.name  # else another name got the id of a dead one
    events = []
    if previous is not None and previous.status in (HelperStatus.UP, HelperStatus.DRAINING):
        events.append(HelperEvent("down", helper_id, previous.incarnation, "superseded"))
    helper = Helper(
        helper_id=helper_id,
        incarnation=previous.incarnation + 1 if previous else 1,
        spec=spec,
        status=HelperStatus.STARTING,
        is_draining_ordered=previous is not None and is_same and previous.is_draining_ordered,
        lease_expires_at=now + lease_ttl,
        stats={},
    )
    return helper, events


def helper_renew(
    helper: Helper,
    incarnation: int,
    reported: Literal["up", "draining"],
    stats: dict[str, int | float] | None,
    *,
    now: datetime,
    lease_ttl: timedelta,
) -> HelperChange:
    """A helper renews its lease. Ordered to drain, it counts as draining whatever it reports."""
    if incarnation != helper.incarnation or helper.status is HelperStatus.GONE:
        raise StaleIncarnation
    status = HelperStatus.DRAINING if helper.is_draining_ordered else HelperStatus(reported)
    renewed = replace(
        helper,
        status=status,
        lease_expires_at=now + lease_ttl,
        stats=helper.stats if stats is None else stats,
    )
    if status is helper.status:
        return renewed, []
    kind: Literal["up", "draining"] = "draining" if status is HelperStatus.DRAINING else "up"
    return renewed, [HelperEvent(kind, helper.helper_id, incarnation, _renewal_reason(helper, kind))]


def _renewal_reason(was: Helper, kind: Literal["up", "draining"]) -> str:
    if was.status is HelperStatus.DOWN:
        return "lease-renewed"
    if kind == "draining" and was.is_draining_ordered:
        return "ordered"
    return "serving" if was.status is HelperStatus.STARTING else "reported"


def helper_order_drain(helper: Helper) -> HelperChange:
    """An operator wants it to take no more sessions, now and after each restart, until `helper_order_undrain`."""
    if helper.status is HelperStatus.GONE:
        raise NotDrainable
    drained = replace(helper, is_draining_ordered=True)
    if helper.status is not HelperStatus.UP:
        return drained, []
    drained = replace(drained, status=HelperStatus.DRAINING)
    return drained, [HelperEvent("draining", helper.helper_id, helper.incarnation, "ordered")]


def helper_order_undrain(helper: Helper) -> Helper:
    """An operator wants it to serve again. It is `up` once it says so itself, with its next renewal."""
    return replace(helper, is_draining_ordered=False)


def helper_leave(helper: Helper, incarnation: int) -> HelperChange:
    """A clean end. An earlier incarnation has ended already: nothing changes."""
    if incarnation > helper.incarnation:
        raise StaleIncarnation
    if incarnation < helper.incarnation or helper.status is HelperStatus.GONE:
        return helper, []
    gone = replace(helper, status=HelperStatus.GONE)
    return gone, [HelperEvent("gone", helper.helper_id, helper.incarnation, "left")]


def helper_expire(helper: Helper, *, now: datetime) -> HelperChange:
    """Its lease may have run out."""
    if not helper.is_live or helper.lease_expires_at > now:
        return helper, []
    down = replace(helper, status=HelperStatus.DOWN)
    return down, [HelperEvent("down", helper.helper_id, helper.incarnation, "lease-expired")]


# --- servers --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ServerSpec:
    """What a server says of itself when it begins to listen. Shard i has UDP port `udp_port + i`."""

    service: str
    host: str
    tcp_port: int
    data_address: str
    udp_port: int
    shards: int
    site: str | None


@dataclass(frozen=True, slots=True)
class Server:
    """One registration of a listening server. Its incarnation is unique among all servers, ever."""

    server_id: int
    incarnation: int
    spec: ServerSpec
    status: ServerStatus
    lease_expires_at: datetime
    ended_at: datetime | None

    @property
    def is_live(self) -> bool:
        """Whether its lease was running when last looked at."""
        return self.status is ServerStatus.UP

    def event(self, kind: Literal["up", "down", "gone"], reason: str) -> ServerEvent:
        """An event about it."""
        return ServerEvent(kind, self.server_id, self.spec.service, self.incarnation, reason)


ServerChange = tuple[Server, list[ServerEvent]]


def server_register(
    server_id: int, incarnation: int, spec: ServerSpec, *, now: datetime, lease_ttl: timedelta
) -> ServerChange:
    """A server begins to listen."""
    server = Server(server_id, incarnation, spec, ServerStatus.UP, now + lease_ttl, None)
    return server, [server.event("up", "registered")]


def server_supersede(server: Server, *, now: datetime) -> ServerChange:
    """Another registration has this server's UDP port, which only one process can have: this one is no more."""
    ended = replace(server, status=ServerStatus.GONE, ended_at=now)
    return ended, [server.event("down", "superseded")]


def server_renew(server: Server, incarnation: int, *, now: datetime, lease_ttl: timedelta) -> ServerChange:
    """A server renews its lease."""
    if incarnation != server.incarnation or server.status is ServerStatus.GONE:
        raise StaleIncarnation
    renewed = replace(server, status=ServerStatus.UP, lease_expires_at=now + lease_ttl, ended_at=None)
    return renewed, [] if server.is_live else [server.event("up", "lease-renewed")]


def server_leave(server: Server, incarnation: int, *, now: datetime) -> ServerChange:
    """A clean end. An earlier owner of this id has ended already: nothing changes."""
    if incarnation > server.incarnation:
        raise StaleIncarnation
    if incarnation < server.incarnation or server.status is ServerStatus.GONE:
        return server, []
    gone = replace(server, status=ServerStatus.GONE, ended_at=server.ended_at or now)
    return gone, [server.event("gone", "left")]


def server_expire(server: Server, *, now: datetime) -> ServerChange:
    """Its lease may have run out."""
    if not server.is_live or server.lease_expires_at > now:
        return server, []
    down = replace(server, status=ServerStatus.DOWN, ended_at=now)
    return down, [server.event("down", "lease-expired")]
