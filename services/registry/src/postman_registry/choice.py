# SPDX-License-Identifier: Apache-2.0
"""Which server, which shard, which helpers in which order: pure, the same answer to the same client, clients spread.

Rendezvous hashing (Thaler and Ravishankar 1998): of several equals a client takes the one with the highest hash of the
two names, so that a helper that comes or goes moves only its own clients.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Final

from postman_contracts.fields import STAT_LOAD
from postman_registry.domain import Helper, Server

HELPERS_OFFERED_MAX: Final = 7
"""A session has at most 8 paths (VCL_PATHS_MAX in engine.h), one of them direct."""

_LOAD_STEPS: Final = 4
"""Loads are compared in quarters: finer, and all clients would run after the least loaded helper of the moment."""


def weight(client: str, candidate: str) -> int:
    """How much this client prefers this candidate: a hash of both."""
    return int.from_bytes(blake2b(f"{client}\0{candidate}".encode(), digest_size=8).digest(), "big")


def choose_server(servers: Iterable[Server], client: str) -> Server | None:
    """One of several servers that all are what the client asked for."""
    return max(servers, key=lambda server: weight(client, f"server {server.server_id}"), default=None)


def choose_shard(server: Server, client: str) -> int:
    """The shard that serves this client."""
    return weight(client, f"shard of {server.server_id}") % server.spec.shards


def load_step(stats: dict[str, int | float]) -> int:
    """The quarter in which a helper's load is; 0 if it does not say."""
    load = min(max(float(stats.get(STAT_LOAD, 0.0)), 0.0), 1.0)
    return min(int(load * _LOAD_STEPS), _LOAD_STEPS - 1)


def helpers_in_order(helpers: Iterable[Helper], client: str) -> Sequence[Helper]:
    """The helpers to offer, best first: less loaded ones before, equals in this client's own order."""

    def rank(helper: Helper) -> tuple[int, int]:
        return load_step(helper.stats), -weight(client, f"helper {helper.helper_id}")

    return sorted(helpers, key=rank)[:HELPERS_OFFERED_MAX]
