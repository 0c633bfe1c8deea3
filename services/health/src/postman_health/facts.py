# SPDX-License-Identifier: Apache-2.0
"""Facts on the bus: any of them as the history keeps it, and ours. Pure."""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Annotated, Any, Final
from uuid import UUID

from pydantic import (
    BaseModel,
    ConfigDict,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)

from postman_contracts import subjects
from postman_contracts.fields import Time
from postman_contracts.messages import HelperFact, HelperVerdict, VerdictFact
from postman_health.detector import Change, Standing
from postman_health.domain import Lease

KIND_MAX: Final = 64
_FACTS: Final = subjects.FACTS_ALL.removesuffix(">")
_KIND: Final = re.compile(rf"[A-Za-z0-9_-][A-Za-z0-9_.-]{{0,{KIND_MAX - 1}}}")
_ID_MAX: Final = 65535


def _or_none(value: Any, validate: ValidatorFunctionWrapHandler) -> datetime | None:
    try:
        found: datetime | None = validate(value)
    except ValidationError:
        return None
    return found


class AnyFact(BaseModel):
    """A fact of whatever kind, also one that only a newer release knows: an object with an `event_id`."""

    model_config = ConfigDict(frozen=True)

    event_id: UUID
    at: Annotated[Time | None, WrapValidator(_or_none)] = None
    """None if it does not say when, or not in a way that can be understood."""
    body: dict[str, Any]
    """The whole of it, as it was said."""

    @model_validator(mode="before")
    @classmethod
    def _take(cls, value: Any) -> dict[str, Any]:
        """Postgres's JSON has no NaN, no infinity and no NUL; whoever sends one is malformed."""
        if not isinstance(value, dict):
            raise ValueError("a fact is an object")
        text = json.dumps(value, allow_nan=False)
        if r"\u0000" in text.replace(r"\\", ""):
            raise ValueError("a string has the character NUL")
        return {"event_id": value.get("event_id"), "at": value.get("at"), "body": value}


def kind_of(subject: str) -> str | None:
    """What an event of this subject is called, such as `helper.down`; None if that is no name."""
    kind = subject.removeprefix(_FACTS)
    return kind if kind != subject and _KIND.fullmatch(kind) else None


def id_in(body: dict[str, Any], name: str) -> int | None:
    """A helper's or server's id, if the fact has one."""
    value = body.get(name)
    return value if type(value) is int and 1 <= value <= _ID_MAX else None


def lease_of(kind: str, fact: HelperFact, *, is_ordered: bool) -> Lease | None:
    """The registry's word in a fact `helper.KIND`; None if it says nothing of a lease."""
    match kind:
        case "up" | "down" | "draining" | "gone":
            return Lease(kind, fact.incarnation, fact.at, is_ordered)
        case _:
            return None


def verdict_message(said: Change | Standing, at: datetime) -> HelperVerdict:
    """A verdict, to be pushed."""
    return HelperVerdict(
        helper_id=said.helper_id,
        incarnation=said.incarnation,
        serial=said.serial,
        verdict=said.verdict,
        at=at,
        reason=said.reason,
    )


def verdict_fact(change: Change, event_id: UUID) -> tuple[str, VerdictFact]:
    """Subject and message of a change, for the history."""
    return subjects.verdict_fact(change.verdict), VerdictFact(
        event_id=event_id,
        at=change.at,
        helper_id=change.helper_id,
        incarnation=change.incarnation,
        previous=change.previous,
        reason=change.reason,
        evidence=change.evidence,
    )
