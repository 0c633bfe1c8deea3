# SPDX-License-Identifier: Apache-2.0
"""Which server, which shard, which helpers in which order: pure, the same answer to the same client, clients spread.

Rendezvous hashing (Thaler and Ravishankar 1998): of several equals a client takes the one with the highest hash of the
two names, so that a helper that comes or goes moves only its own clients.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

from postman_contracts.fields import STAT_LOAD
from postman_registry.assignments import Assignment
from postman_registry.domain import Helper, Server

HELPERS_OFFERED_MAX: Final = 7
"""A session has at most 8 paths (VCL_PATHS_MAX in engine.h), one of them direct."""

RANK_SUSPECT: Final = 254
"""Of a helper that health suspects, whatever it is assigned to: after all others, before the direct path (255)."""

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


@dataclass(frozen=True, slots=True)
class RankedHelper:
    """A helper as it is offered to one client; the ranks are those of the contract's HelperChoice."""

    helper: Helper
    rank: int


def helpers_in_order(
    helpers: Iterable[Helper],
    client: str,
    assignment: Assignment | None = None,
    suspects: AbstractSet[int] = frozenset(),
) -> Sequence[RankedHelper]:
    """The helpers to offer, best first: by rank, then less loaded ones before, equals in this client's own order.

    Without an assignment all have rank 0. An assigned helper that is not among `helpers` is simply absent.
    """

    def rank(helper: Helper) -> int:
        if helper.helper_id in suspects:
            return RANK_SUSPECT
        return assignment.rank(helper.helper_id) if assignment else 0

    def order(ranked: RankedHelper) -> tuple[int, int, int]:
        helper = ranked.helper
        return ranked.rank, load_step(helper.stats), -weight(client, f"helper {helper.helper_id}")

    ranked = (RankedHelper(helper, rank(helper)) for helper in helpers)
    return sorted(ranked, key=order)[:HELPERS_OFFERED_MAX]
