# SPDX-License-Identifier: Apache-2.0
"""Domain objects as REST answers, and as server-sent events. Pure."""

from __future__ import annotations

from typing import Final

from postman_contracts import rest_health as rest
from postman_health.detector import Evidence, Standing
from postman_health.store_events import Event

KEEPALIVE: Final = ": keepalive\n\n"
RETRY: Final = "retry: 1000\n\n"
"""A listener whose connection ended comes back after a second."""


def verdict(standing: Standing, evidence: Evidence) -> rest.Verdict:
    """What health holds of one helper."""
    return rest.Verdict(
        helper_id=standing.helper_id,
        incarnation=standing.incarnation,
        verdict=standing.verdict,
        since=standing.since,
        reason=standing.reason,
        evidence=evidence,
    )


def event(recorded: Event) -> rest.Event:
    """One event of the history."""
    return rest.Event(
        number=recorded.number,
        event_id=recorded.event_id,
        kind=recorded.kind,
        at=recorded.at,
        recorded_at=recorded.recorded_at,
        trace_id=recorded.trace_id,
        body=recorded.body,
    )


def sent_event(recorded: Event) -> str:
    """The same as the HTML standard's event stream wants it. JSON has no line ends, nor has a kind."""
    return f"id: {recorded.number}\nevent: {recorded.kind}\ndata: {event(recorded).model_dump_json()}\n\n"
