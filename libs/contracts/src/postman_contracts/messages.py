# SPDX-License-Identifier: Apache-2.0
"""Every NATS message. Each carries `v`; unknown fields are ignored, so that a newer peer may add some."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from postman_contracts.fields import (
    HelperId,
    HelperReportedState,
    Incarnation,
    Name,
    ServerId,
    Stats,
    Text,
    Time,
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


class HelperOrder(Message):
    """What a helper's supervisor must do: drain, or fetch its server table again."""

    order: Literal["drain", "refresh"]


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
