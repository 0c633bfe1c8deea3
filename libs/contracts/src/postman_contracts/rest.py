# SPDX-License-Identifier: Apache-2.0
"""Every REST body of the registry, `/v1`. Requests refuse unknown fields; answers tolerate them (newer registry)."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import BaseModel, ConfigDict, Field

from postman_contracts.fields import (
    Epoch,
    HelperId,
    HelperReportedState,
    HelperState,
    HostName,
    Incarnation,
    IpAddress,
    Key16,
    Key32,
    KeyId,
    Name,
    Port,
    Seconds,
    ServerId,
    ServerState,
    ServiceId,
    Shard,
    Stats,
    Time,
    TokenBytes,
)

ServersVersion = int
"""Grows with each change of the set of live servers; equal versions mean equal sets."""


class Request(BaseModel):
    """Base of request bodies: a field that we do not know is the caller's mistake."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Answer(BaseModel):
    """Base of answers: a newer registry may add fields."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    def __repr_args__(self) -> Iterator[tuple[str | None, object]]:
        """Keep keys and tokens (all our bytes are secrets) out of logs and tracebacks."""
        for name, value in super().__repr_args__():
            yield name, "<secret>" if isinstance(value, bytes) else value


# --- helpers --------------------------------------------------------------------------------------


class HelperRegistration(Request):
    """`POST /v1/helpers`: a helper starts. The same name gets the same id and the next incarnation."""

    name: Name
    site: Name | None = None
    data_address: IpAddress
    client_port: Port = 4701
    trunk_port: Port = 4702
    workers: int = Field(ge=1, le=256)
    version: str = Field(min_length=1, max_length=64, pattern=r"^[!-~]+$")


class TrunkServer(Answer):
    """One server shard as one helper incarnation sees it. The keys are derived for that helper and incarnation."""

    server_id: ServerId
    shard: Shard
    data_address: IpAddress
    udp_port: Port
    trunk_key_to_server: Key16
    trunk_key_to_helper: Key16


class HelperGrant(Answer):
    """Answer of `POST /v1/helpers`."""

    helper_id: HelperId
    incarnation: Incarnation
    lease_ttl_s: Seconds
    cid_key: Key16
    servers: list[TrunkServer]
    servers_version: ServersVersion
    desired_state: HelperReportedState = "up"
    """`draining`: an operator's order of before this start still holds."""


class HelperLeaseRenewal(Request):
    """`PUT /v1/helpers/{id}/lease`. With the `servers_version` that the helper has, an unchanged table is left out."""

    incarnation: Incarnation
    state: HelperReportedState
    stats: Stats | None = None
    servers_version: int | None = Field(default=None, ge=0, lt=1 << 63)


class HelperLease(Answer):
    """Answer of `PUT /v1/helpers/{id}/lease`. `servers` is null when the table is as the helper said it has."""

    lease_ttl_s: Seconds
    servers: list[TrunkServer] | None
    servers_version: ServersVersion
    desired_state: HelperReportedState
    assignment_epoch: Epoch | None = None
    """The epoch in force at the registry: a helper that missed its announcement is prepared for it with this answer."""


class HelperOrdered(Answer):
    """Answer of `POST /v1/helpers/{id}/drain` and `.../undrain`: what the helper shall be from now on."""

    desired_state: HelperReportedState


class Helper(Answer):
    """What everybody may know of a helper: never a key."""

    helper_id: HelperId
    name: Name
    site: Name | None = None
    incarnation: Incarnation
    state: HelperState
    desired_state: HelperReportedState
    data_address: IpAddress
    client_port: Port
    trunk_port: Port
    workers: int
    version: str
    lease_expires_at: Time
    stats: Stats


class HelperPage(Answer):
    """`GET /v1/helpers?after=&limit=`: `next` is the `after` of the following page, null on the last."""

    items: list[Helper]
    next: int | None = None
    assignment_epoch: Epoch | None = None
    """The epoch in force at the registry: the next one must be above it, also if placement's database was lost."""


# --- servers --------------------------------------------------------------------------------------


class ServerRegistration(Request):
    """`POST /v1/servers`: a server listens. Shard i has UDP port `udp_port + i`."""

    service: Name
    host: HostName
    tcp_port: Port
    data_address: IpAddress
    udp_port: Port
    shards: int = Field(default=1, ge=1, le=256)
    site: Name | None = None


class ServerKey(Answer):
    """One K_srv: checks the MAC of tokens that carry this key id."""

    key_id: KeyId
    key: Key32


class ServerPredecessor(Answer):
    """A registration that ended at the same address and UDP port: its clients may still send there (rule C9)."""

    server_id: ServerId
    reset_key: Key16
    """Makes the reset tokens of its connections; not its trunk secret."""


class ServerGrant(Answer):
    """Answer of `POST /v1/servers`."""

    server_id: ServerId
    service_id: ServiceId
    incarnation: Incarnation
    lease_ttl_s: Seconds
    cid_key: Key16
    trunk_secret: Key32
    keys: list[ServerKey]
    predecessors: list[ServerPredecessor] = Field(default=[], max_length=8)
    """Those that ended there within the last hour, the latest first."""


class ServerLeaseRenewal(Request):
    """`PUT /v1/servers/{id}/lease`."""

    incarnation: Incarnation


class ServerLease(Answer):
    """Answer of `PUT /v1/servers/{id}/lease`: the keys that are valid now."""

    lease_ttl_s: Seconds
    keys: list[ServerKey]


class Server(Answer):
    """What everybody may know of a server: never a key."""

    server_id: ServerId
    service: Name
    service_id: ServiceId
    incarnation: Incarnation
    state: ServerState
    host: HostName
    tcp_port: Port
    data_address: IpAddress
    udp_port: Port
    shards: int
    site: Name | None = None
    lease_expires_at: Time


class ServerPage(Answer):
    """`GET /v1/servers?after=&limit=`."""

    items: list[Server]
    next: int | None = None


# --- resolve and tokens -----------------------------------------------------------------------------


class HelperChoice(Answer):
    """A helper that may carry a client's session; the list is in order of preference."""

    helper_id: HelperId
    data_address: IpAddress
    client_port: Port
    rank: int = Field(default=0, ge=0, le=254)
    """Lower is better. A session on a path of a higher rank goes back to a lower one that has proved itself; among
    equals it stays where it is. The direct path has rank 255."""


class TokenGrant(Answer):
    """A token, and the key with which its client makes session keys."""

    token: TokenBytes
    token_key: Key32
    token_expires_at: Time


class Resolution(TokenGrant):
    """`GET /v1/resolve?host=&port=` or `?service=`; optional `agent=`, any stable name, spreads clients of one host.

    Optional `group=` or `site=` say for which assignment the client counts; else its address does, by prefix.
    """

    server_id: ServerId
    shard: Shard
    service: Name
    data_address: IpAddress
    udp_port: Port
    helpers: list[HelperChoice]
    assignment_epoch: int | None = None
    """The epoch of placement's assignments that this answer follows; null if none concerns this client."""


class TokenRequest(Request):
    """`POST /v1/tokens`: a fresh token for a server that one already talks to."""

    server_id: ServerId
