# SPDX-License-Identifier: Apache-2.0
"""Who may say and hear what on NATS: one user for each kind of process, all in one account.

Replies come on inboxes with the user's own prefix, so that nobody can listen to another's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from postman_contracts.subjects import (
    ASSIGNMENT_FACTS_ALL,
    FACTS_ALL,
    FACTS_STREAM,
    HELPER_FACTS_ALL,
    HELPER_HEARTBEATS_ALL,
    HELPER_REPORTS_ALL,
    HELPER_VERDICTS_ALL,
    PREFIX,
    SERVER_FACTS_ALL,
    VERDICT_FACTS_ALL,
)

_JETSTREAM: Final = (
    "$JS.API.INFO",
    *(f"$JS.API.STREAM.{call}.{FACTS_STREAM}" for call in ("CREATE", "UPDATE", "INFO")),
    *(f"$JS.API.CONSUMER.{call}.{FACTS_STREAM}.>" for call in ("CREATE", "INFO", "MSG.NEXT")),
    f"$JS.ACK.{FACTS_STREAM}.>",
)
"""What a service needs that keeps the stream, publishes to it and consumes it; nobody may purge or delete it."""


@dataclass(frozen=True, slots=True)
class NatsUser:
    """A user, what it may publish and what it may subscribe to (besides its own inbox)."""

    name: str
    publish: tuple[str, ...]
    subscribe: tuple[str, ...]

    @property
    def inbox_prefix(self) -> str:
        """What its inboxes begin with."""
        return f"_INBOX_{self.name}"


USERS: Final = {
    user.name: user
    for user in (
        NatsUser(
            "registry",
            (HELPER_FACTS_ALL, SERVER_FACTS_ALL, f"{PREFIX}.order.helper.*", *_JETSTREAM),
            (HELPER_HEARTBEATS_ALL, HELPER_VERDICTS_ALL, ASSIGNMENT_FACTS_ALL),
        ),
        NatsUser("placement", (ASSIGNMENT_FACTS_ALL, *_JETSTREAM), (HELPER_HEARTBEATS_ALL,)),
        NatsUser(
            "health",
            (VERDICT_FACTS_ALL, HELPER_VERDICTS_ALL, *_JETSTREAM),
            (HELPER_HEARTBEATS_ALL, HELPER_REPORTS_ALL, FACTS_ALL),
        ),
        NatsUser(
            "helper",
            (HELPER_HEARTBEATS_ALL, HELPER_REPORTS_ALL),
            (f"{PREFIX}.order.helper.*", SERVER_FACTS_ALL, ASSIGNMENT_FACTS_ALL),
        ),
        NatsUser("agent", (), (FACTS_ALL, HELPER_VERDICTS_ALL)),
    )
}
