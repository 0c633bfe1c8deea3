# SPDX-License-Identifier: Apache-2.0
"""The problem documents of placement: each says what is wrong, with names, and what to do. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from postman_contracts.problems import FieldError, ProblemType
from postman_kit.errors import ProblemError

_ERRORS_MAX = 20


def invalid(errors: Sequence[FieldError]) -> ProblemError:
    """422: fields that are each well-formed, and contradict each other or what is known."""
    return ProblemError(
        ProblemType.INVALID_REQUEST,
        422,
        "The request contradicts itself",
        f"Correct and send again: {errors[0].field}: {errors[0].message}{_more(errors)}",
        errors=list(errors[:_ERRORS_MAX]),
    )


def unknown_sites(errors: Sequence[FieldError]) -> ProblemError:
    """422: fields that name sites which the topology does not have."""
    return ProblemError(
        ProblemType.UNKNOWN_SITE,
        422,
        "No such site",
        f"{errors[0].field}: {errors[0].message}{_more(errors)} Correct the name, or add the site with "
        "PUT /v1/topology first.",
        errors=list(errors[:_ERRORS_MAX]),
    )


def _more(errors: Sequence[FieldError]) -> str:
    return "." if len(errors) == 1 else f" (and {len(errors) - 1} more, see 'errors')."


def unknown_placement(placement_id: UUID) -> ProblemError:
    """404."""
    return ProblemError(
        ProblemType.UNKNOWN_PLACEMENT,
        404,
        "No such placement",
        f"There is no placement {placement_id}: a dry run is not kept, and old ones are forgotten. GET /v1/placements "
        "lists those that are there; POST /v1/placements makes a new one.",
    )


def nothing_to_place(detail: str) -> ProblemError:
    """409: a part of the input is missing as a whole."""
    return ProblemError(ProblemType.NOTHING_TO_PLACE, 409, "Nothing to place", detail)


def infeasible(reasons: Sequence[str]) -> ProblemError:
    """409: no placement keeps all constraints."""
    errors = [FieldError(field="constraint", message=reason) for reason in reasons]
    return ProblemError(
        ProblemType.INFEASIBLE_PLACEMENT,
        409,
        "No placement keeps all constraints",
        f"{' '.join(_sentence(reason) for reason in reasons[:3])} Add helpers or capacity, or relax the constraint.",
        errors=errors[:_ERRORS_MAX],
    )


def _sentence(text: str) -> str:
    return text if text.endswith(".") else f"{text}."


def stale(placement_id: UUID, changes: Sequence[str]) -> ProblemError:
    """409: what the placement was made from is not so any more."""
    return ProblemError(
        ProblemType.STALE_PLACEMENT,
        409,
        "The placement is stale",
        f"Placement {placement_id} cannot be applied: {'; '.join(changes)}. Solve again with POST /v1/placements and "
        "apply the new one.",
    )


def key_reused() -> ProblemError:
    """422: one Idempotency-Key, two requests."""
    return ProblemError(
        ProblemType.IDEMPOTENCY_KEY_REUSED,
        422,
        "The Idempotency-Key belongs to another request",
        "A different body was sent with this key before. Use a new key for each placement.",
    )


def not_in_time(detail: str) -> ProblemError:
    """503: the solver had too little time; there is no Retry-After, since the same would happen again."""
    return ProblemError(ProblemType.UNAVAILABLE, 503, "No placement was found in the time allowed", detail)
