# SPDX-License-Identifier: Apache-2.0
"""RFC 9457 problem documents and the closed list of their types."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

MEDIA_TYPE: Final = "application/problem+json"
TYPE_PREFIX: Final = "urn:postman:problem:"


class ProblemType(StrEnum):
    """The last part of a problem's `type`; clients decide by it, never by the text."""

    INVALID_REQUEST = "invalid-request"
    UNAUTHORISED = "unauthorised"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not-found"
    METHOD_NOT_ALLOWED = "method-not-allowed"
    BODY_TOO_LARGE = "body-too-large"
    UNAVAILABLE = "unavailable"
    INTERNAL = "internal"
    HTTP_ERROR = "http-error"
    STALE_INCARNATION = "stale-incarnation"
    UNKNOWN_HELPER = "unknown-helper"
    UNKNOWN_SERVER = "unknown-server"
    NO_VCL_SERVER = "no-vcl-server"
    IDEMPOTENCY_KEY_REUSED = "idempotency-key-reused"
    NO_FREE_ID = "no-free-id"
    UNKNOWN_PLACEMENT = "unknown-placement"
    UNKNOWN_SITE = "unknown-site"
    UNKNOWN_EVENT = "unknown-event"
    INFEASIBLE_PLACEMENT = "infeasible-placement"
    STALE_PLACEMENT = "stale-placement"
    NOTHING_TO_PLACE = "nothing-to-place"
    NOT_DRAINABLE = "not-drainable"


class FieldError(BaseModel):
    """One field of a request that is wrong."""

    model_config = ConfigDict(extra="ignore")

    field: str
    message: str


class Problem(BaseModel):
    """What went wrong, and in `detail` what to do about it."""

    model_config = ConfigDict(extra="ignore")

    type: str
    title: str
    status: int = Field(ge=400, le=599)
    detail: str
    errors: list[FieldError] | None = None

    @property
    def kind(self) -> str:
        """The type without its prefix, to compare with `ProblemType`."""
        return self.type.removeprefix(TYPE_PREFIX)


def problem_type(kind: ProblemType) -> str:
    """The `type` URI of a kind."""
    return TYPE_PREFIX + kind.value
