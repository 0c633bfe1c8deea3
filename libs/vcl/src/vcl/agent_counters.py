# SPDX-License-Identifier: Apache-2.0
"""What the agent counts. Written on the agent's thread only; readers take a copy."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Counters:
    """Every outcome that is no answer has a name."""

    resolves: int = 0
    resolve_cached: int = 0
    resolve_fallbacks: int = 0  # from the cache, because the registry did not answer
    registry_unreachable: int = 0
    registry_refused: int = 0
    registry_malformed: int = 0
    lease_renewals: int = 0
    lease_errors: int = 0
    leases_lost: int = 0
    facts: int = 0
    facts_malformed: int = 0
    verdicts: int = 0
    verdicts_repeated: int = 0  # or older than one that still counts
    verdicts_malformed: int = 0
    callback_errors: int = 0
    nats_connects: int = 0
    nats_errors: int = 0
