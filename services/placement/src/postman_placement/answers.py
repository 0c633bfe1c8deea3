# SPDX-License-Identifier: Apache-2.0
"""Placements as REST answers. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from postman_contracts import rest_placement as rest
from postman_contracts.messages import Assigned
from postman_placement.rows import Stored

Prepared = Callable[[int, int], bool]
"""Whether a helper says that it is prepared for an epoch."""


def document_of(placement: rest.Placement) -> dict[str, Any]:
    """What is kept of a placement besides its assignments."""
    return placement.model_dump(mode="json", exclude={"assignments"})


def placement_json(stored: Stored, is_prepared: Prepared) -> bytes:
    """The answer as JSON: the document as it was made with what has changed since, and the assignments as they were.

    These may be many, so they are passed on as the bytes that they are kept as.
    """
    made = rest.Placement.model_validate(stored.document | {"assignments": []})
    helpers = made.helpers
    if stored.state == "applied" and stored.epoch is not None:
        epoch = stored.epoch
        helpers = [
            helper.model_copy(update={"is_acknowledged": is_prepared(helper.helper_id, epoch)}) for helper in helpers
        ]
    now = made.model_copy(
        update={"state": stored.state, "applied_at": stored.applied_at, "epoch": stored.epoch, "helpers": helpers}
    )
    return now.model_dump_json(exclude={"assignments"}).encode()[:-1] + b',"assignments":' + stored.explained + b"}"


def assignment(assigned: Assigned) -> rest.AssignmentAnswer:
    """One group's helpers."""
    return rest.AssignmentAnswer(
        group=assigned.group,
        service=assigned.service,
        site=assigned.site,
        prefixes=list(assigned.prefixes),
        primary=assigned.primary,
        backup=assigned.backup,
    )
