# SPDX-License-Identifier: Apache-2.0
"""What the embedded agent tells the binding: plain, immutable values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

FactKind = Literal[
    "helper_up",
    "helper_suspect",
    "helper_down",
    "helper_draining",
    "helper_gone",
    "server_up",
    "server_down",
    "server_gone",
    "assignment_changed",
]

REASON_NO_REGISTRY = "no registry configured"
REASON_UNREACHABLE = "registry unreachable"
REASON_NO_SERVER = "no VCL server there"
REASON_REFUSED_KEY = "the registry refused the API key"
REASON_MALFORMED = "the registry's answer is malformed"
REASON_CLOSED = "the agent is closed"
REASON_OWN_THREAD = "called on the agent's own thread"


class AgentError(OSError):
    """A registration could not be made; `reason` says why in a few words."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class HelperPath:
    """One helper that may carry a session, in the registry's order of preference."""

    helper_id: int
    data_address: str
    client_port: int
    rank: int = 0
    """Lower is better; among equals the order decides, and only at first."""


@dataclass(frozen=True, slots=True)
class Resolution:
    """Where a VCL server is, the token that opens connections to it, and the helpers on the way."""

    server_id: int
    shard: int
    service: str
    data_address: str
    udp_port: int
    token: bytes = field(repr=False)
    token_key: bytes = field(repr=False)
    token_expires_at: float  # Unix seconds
    helpers: tuple[HelperPath, ...]
    assignment_epoch: int = 0  # of the assignments that `helpers` follow; 0: none concerns this client


@dataclass(frozen=True, slots=True)
class Lookup:
    """The outcome of a resolve. `reason` is empty for an answer of the registry and says why there is none, or why the
    resolution comes from the cache, otherwise."""

    resolution: Resolution | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ServerKey:
    """One K_srv (docs/protocol.md K1); two are valid during rotation, the newest first."""

    key_id: int
    key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class ServerPredecessor:
    """A registration that ended at this server's address; it answers for its connections (docs/protocol.md C9)."""

    server_id: int
    reset_key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class ServerGrant:
    """The identity of a registered server."""

    server_id: int
    service_id: int
    incarnation: int
    lease_ttl_s: float
    cid_key: bytes = field(repr=False)
    trunk_secret: bytes = field(repr=False)
    keys: tuple[ServerKey, ...]
    predecessors: tuple[ServerPredecessor, ...] = ()


@dataclass(frozen=True, slots=True)
class Fact:
    """Something the control plane found out: about one helper or one server (the other id is None), or about who uses
    which helpers (both are)."""

    kind: FactKind
    helper_id: int | None
    server_id: int | None
    incarnation: int
    reason: str
    traceparent: str = ""
    """W3C trace context of the message, if it had one."""
    services: tuple[str, ...] = ()
    """assignment_changed: the services that it names."""
    epoch: int = 0
    """assignment_changed: which assignments are new."""
