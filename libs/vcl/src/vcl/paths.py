# SPDX-License-Identifier: Apache-2.0
"""Whom a session talks to, and by which ways, in order of preference: helpers as the registry lists and ranks them, the
direct path last. VCL_PATHS=direct or VCL_PATHS=helpers restricts them, for tests and comparisons."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vcl.agent_types import Resolution

__all__ = ["DIRECT", "PATHS_MAX", "RANK_DIRECT", "Path", "PathInfo", "Peer", "path_mode", "peer_of"]

DIRECT = 0
"""The helper id of the direct path."""

RANK_DIRECT = 255
"""VCL_RANK_DIRECT of vcl/engine.h: worse than any helper."""

PATHS_MAX = 8
"""VCL_PATHS_MAX of vcl/engine.h."""

_MODES = ("auto", "direct", "helpers")


@dataclass(frozen=True, slots=True)
class Path:
    """One way to a server: the UDP address of a helper, or of the server itself (helper_id 0)."""

    helper_id: int
    address: str
    port: int
    rank: int = 0
    """Lower is better (docs/protocol.md S15); of the direct path it is not asked."""


@dataclass(frozen=True, slots=True)
class PathInfo:
    """By which way a connection's bytes go now. The second half is known on clients only."""

    helper_id: int
    """0 = direct."""
    srtt_us: int
    resent_bytes: int
    session_id: int = 0
    epoch: int = 0
    state: str = ""
    """down, active, resuming, stalled or dead."""
    moves: int = 0


@dataclass(frozen=True, slots=True)
class Peer:
    """A server shard and the ways to it: what a session is made from."""

    server_id: int
    shard: int
    token: bytes = field(repr=False)
    token_key: bytes = field(repr=False)
    paths: tuple[Path, ...] = ()


def path_mode(environment: Mapping[str, str] = os.environ) -> str:
    """The value of VCL_PATHS; ValueError if it is none of auto, direct, helpers."""
    mode = environment.get("VCL_PATHS", "").strip().lower() or "auto"
    if mode not in _MODES:
        raise ValueError(f"VCL_PATHS must be one of {', '.join(_MODES)}, not {mode!r}")
    return mode


def paths_of(resolution: Resolution, mode: str) -> tuple[Path, ...]:
    """The candidates, best first; empty if the mode allows none."""
    helpers = [Path(h.helper_id, h.data_address, h.client_port, h.rank) for h in resolution.helpers]
    direct = [Path(DIRECT, resolution.data_address, resolution.udp_port, RANK_DIRECT)]
    if mode == "direct":
        return tuple(direct)
    if mode == "helpers":
        return tuple(helpers[:PATHS_MAX])
    return tuple(helpers[: PATHS_MAX - 1] + direct)


def peer_of(resolution: Resolution, mode: str) -> Peer:
    """The peer that a resolution of the registry names."""
    return Peer(
        server_id=resolution.server_id,
        shard=resolution.shard,
        token=resolution.token,
        token_key=resolution.token_key,
        paths=paths_of(resolution, mode),
    )
