# SPDX-License-Identifier: Apache-2.0
"""What the domain's events are called on the bus. Pure."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from postman_contracts import subjects
from postman_contracts.messages import HelperFact, ServerFact
from postman_registry.domain import HelperEvent, ServerEvent


def fact_of(event: HelperEvent | ServerEvent, event_id: UUID, now: datetime) -> tuple[str, HelperFact | ServerFact]:
    """Subject and message of an event."""
    if isinstance(event, HelperEvent):
        return subjects.helper_fact(event.kind), HelperFact(
            event_id=event_id,
            at=now,
            helper_id=event.helper_id,
            incarnation=event.incarnation,
            reason=event.reason,
        )
    return subjects.server_fact(event.kind), ServerFact(
        event_id=event_id,
        at=now,
        server_id=event.server_id,
        service=event.service,
        incarnation=event.incarnation,
        reason=event.reason,
    )
