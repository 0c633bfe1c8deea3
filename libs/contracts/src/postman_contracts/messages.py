# SPDX-License-Identifier: Apache-2.0
"""Every NATS message. Each carries `v`; unknown fields are ignored, so that a newer peer may add some."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from postman_contracts.fields import (
    AssignmentRole,
    Epoch,
    HelperId,
    HelperReportedState,
    Incarnation,
    Name,
    PacketsPerSecond,
    Prefix,
    Seconds,
    ServerId,
    Stats,
    Text,
    Time,
    VerdictName,
)


class Message(BaseModel):
    """Base of all messages: version 1, tolerant of fields that a newer peer adds."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    v: Literal[1] = 1


class HelperHeartbeat(Message):
    """A helper lives; on `subjects.helper_heartbeat`, each 20 to 1000 ms."""

    helper_id: HelperId
    incarnation: Incarnation
    state: HelperReportedState
    at: Time
    stats: Stats = Field(default_factory=dict)
    interval_s: Seconds | None = None
    """The next one comes after about this long."""
    assignment_epoch: Epoch | None = None
    """The newest epoch of assignments that this helper has prepared for."""


class HelperReport(Message):
    """What a supervisor saw of its worker, on `subjects.helper_report`: faster than a heartbeat that does not come."""

    helper_id: HelperId
    incarnation: Incarnation
    event: Literal["worker-ended", "worker-silent"]
    at: Time
    detail: Text = ""


class HelperVerdict(Message):
    """What health holds of a helper, on `subjects.helper_verdict`: at each change, and each second while not up.

    Each has a higher serial than the one before, repetitions too. Advice that goes stale: it counts for `lasts_s` from
    its arrival, and of two about one helper the higher serial counts.
    """

    helper_id: HelperId
    incarnation: Incarnation
    serial: int = Field(ge=0, lt=1 << 63)
    verdict: VerdictName
    at: Time
    reason: Text
    lasts_s: Seconds = 5.0


class HelperOrder(Message):
    """What a helper's supervisor must do: drain, serve again, or fetch its server table again."""

    order: Literal["drain", "undrain", "refresh"]


class HelperFact(Message):
    """Something that became true of a helper; the subject says what."""

    event_id: UUID
    at: Time
    helper_id: HelperId
    incarnation: Incarnation
    reason: Text


class ServerFact(Message):
    """Something that became true of a server; the subject says what."""

    event_id: UUID
    at: Time
    server_id: ServerId
    service: Name
    incarnation: Incarnation
    reason: Text = ""


class VerdictFact(Message):
    """Health's verdict on a helper changed; the subject says to what."""

    event_id: UUID
    at: Time
    helper_id: HelperId
    incarnation: Incarnation
    previous: VerdictName | None
    reason: Text
    evidence: dict[str, str | int | float | None] = Field(default_factory=dict, max_length=32)


class Assigned(BaseModel):
    """Which helpers the clients of one group shall use for one service."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    service: Name
    group: Name
    site: Name
    prefixes: tuple[Prefix, ...] = Field(default=(), max_length=64)
    primary: HelperId
    backup: HelperId | None = None


class HelperRole(BaseModel):
    """What one helper is for in an epoch, and the packets per second that it is assigned as primary."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    helper_id: HelperId
    role: AssignmentRole
    rate_pps: PacketsPerSecond | Literal[0] = 0


ASSIGNMENTS_PER_PART_MAX = 100
"""So that a message with the longest names stays below the bus's 64 KiB in all ordinary cases."""


class AssignmentsChanged(Message):
    """One part of an epoch of assignments. The epoch counts once all its `parts` have come; then no other does.

    Part `part` of 0 to parts - 1; every part names all helpers of this installation that the epoch concerns.
    """

    event_id: UUID
    at: Time
    epoch: Epoch
    placement_id: UUID
    part: int = Field(ge=0, lt=100_000)
    parts: int = Field(ge=1, le=100_000)
    assignments: tuple[Assigned, ...] = Field(max_length=ASSIGNMENTS_PER_PART_MAX)
    helpers: tuple[HelperRole, ...] = Field(max_length=1000)
