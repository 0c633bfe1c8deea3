# SPDX-License-Identifier: Apache-2.0
"""An epoch of assignments as the messages that carry it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID, uuid5

from postman_contracts.messages import ASSIGNMENTS_PER_PART_MAX, Assigned, AssignmentsChanged, HelperRole
from postman_kit.bus import MESSAGE_BYTES_MAX

_FRAME_BYTES: Final = 512
"""More than the fields of a message besides its two lists take."""


def parts_of(
    placement_id: UUID, epoch: int, assigned: Sequence[Assigned], helpers: Sequence[HelperRole], *, now: datetime
) -> list[AssignmentsChanged]:
    """The messages of this epoch: as few as their limits on assignments and bytes allow, at least one.

    The same part of the same epoch always has the same `event_id`: whoever has heard it need not hear it again.
    """
    helpers_bytes = sum(len(helper.model_dump_json()) + 1 for helper in helpers)
    room_bytes = MESSAGE_BYTES_MAX - _FRAME_BYTES - helpers_bytes
    groups: list[list[Assigned]] = [[]]
    free_bytes = room_bytes
    for item in assigned:
        item_bytes = len(item.model_dump_json()) + 1
        if groups[-1] and (item_bytes > free_bytes or len(groups[-1]) == ASSIGNMENTS_PER_PART_MAX):
            groups.append([])
            free_bytes = room_bytes
        groups[-1].append(item)
        free_bytes -= item_bytes
    return [
        AssignmentsChanged(
            event_id=uuid5(placement_id, f"epoch {epoch} part {part}"),
            at=now,
            epoch=epoch,
            placement_id=placement_id,
            part=part,
            parts=len(groups),
            assignments=tuple(group),
            helpers=tuple(helpers),
        )
        for part, group in enumerate(groups)
    ]
