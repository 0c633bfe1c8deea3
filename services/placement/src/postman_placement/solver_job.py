# SPDX-License-Identifier: Apache-2.0
"""What goes between the service and its solver processes: a job, and what is said of it."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final, Literal

from postman_contracts import rest_placement as rest
from postman_placement.domain import Assignment, Options, Snapshot, Solution

FRAME_LENGTH: Final = struct.Struct(">Q")
"""Before each frame, which is a pickle."""

Said = Literal["improved", "answered", "invalid", "infeasible", "late", "failed"]


@dataclass(frozen=True, slots=True)
class Job:
    """A snapshot to be solved; or, with a solution of it, only to be explained."""

    snapshot: Snapshot
    options: Options
    solution: Solution | None = None


@dataclass(frozen=True, slots=True)
class Answered:
    """A solution with all that is said of it."""

    assignments: tuple[Assignment, ...]
    cost: rest.CostParts
    bound: float
    gap: float
    is_optimal: bool
    solve_s: float
    helpers: tuple[rest.UsedHelper, ...]
    explained: bytes
    """The explained assignments as a JSON list: there may be many, and nobody here looks into them."""
    notes: tuple[str, ...]
