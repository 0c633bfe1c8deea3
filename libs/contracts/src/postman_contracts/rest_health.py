# SPDX-License-Identifier: Apache-2.0
"""Every REST body of health, `/v1`."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from pydantic import Field

from postman_contracts.fields import HelperId, Incarnation, Seconds, Text, Time, VerdictName
from postman_contracts.rest import Answer


class Verdict(Answer):
    """What health holds of one helper, and why."""

    helper_id: HelperId
    incarnation: Incarnation
    verdict: VerdictName
    since: Time
    reason: Text
    evidence: dict[str, str | int | float | None]
    """Such as `silent_s`, `heartbeat_interval_s`, `heartbeats`, `worker_ended`, `lease`, `deaths_recent`, `proof_s`."""


class VerdictPage(Answer):
    """`GET /v1/verdicts?after=&limit=`: by helper id; `next` is the `after` of the following page, null on the last."""

    items: list[Verdict]
    next: int | None = None


class Event(Answer):
    """One fact of the installation, as it was published: `kind` is such as `helper.down` or `assignment.changed`."""

    number: int = Field(ge=1)
    """Grows with each event that health has recorded; what `after` means."""
    event_id: UUID
    kind: str
    at: Time
    """When it became true, by the clock of the service that said so."""
    recorded_at: Time
    trace_id: str | None = None
    body: dict[str, Any]


class EventPage(Answer):
    """`GET /v1/events?after=&limit=&newest=&kind=&helper_id=&server_id=`, oldest first.

    With `newest=true` the newest `limit` of those that pass the filters, still oldest first; `next` is null then.

    `GET /v1/events/live` sends the same events as server-sent events: `id` is the number (so `Last-Event-ID` resumes),
    `event` the kind, `data` the Event as JSON; a comment line each `keepalive_s` seconds.
    """

    items: list[Event]
    next: int | None = None


LIVE_KEEPALIVE_S: Seconds = 15.0
