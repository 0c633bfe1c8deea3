# SPDX-License-Identifier: Apache-2.0
"""What all use-cases share: the database, the clock, the policy, and what must happen when events have committed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from postman_kit.db import Connection, Database
from postman_kit.errors import unavailable
from postman_registry import store as shared
from postman_registry.domain import HelperEvent, ServerEvent
from postman_registry.facts import fact_of
from postman_registry.keys import RotationPolicy


@dataclass(frozen=True, slots=True)
class Policy:
    """The times that decide."""

    helper_lease_ttl: timedelta
    server_lease_ttl: timedelta
    token_lifetime: timedelta
    token_conns_max: int
    key_rotation: timedelta
    server_id_rest: timedelta = timedelta(hours=1)

    @property
    def rotation(self) -> RotationPolicy:
        """What the keys of servers follow."""
        return RotationPolicy(self.key_rotation, self.server_lease_ttl, self.token_lifetime)


@dataclass(slots=True)
class Context:
    """One per process."""

    database: Database
    policy: Policy
    clock: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))
    on_committed: list[Callable[[], None]] = field(default_factory=list)
    cid_key: bytes | None = field(default=None, repr=False)
    """None until the database has been reached once; then the installation's key, for good."""

    def required_cid_key(self) -> bytes:
        """The key. A 503 problem while the registry has not reached its database yet."""
        if self.cid_key is None:
            raise unavailable("The registry has not reached its database yet. Send the same request again shortly.")
        return self.cid_key

    async def record(self, connection: Connection, events: Sequence[HelperEvent | ServerEvent], now: datetime) -> None:
        """Write events as facts in the transaction that makes them true."""
        for event in events:
            event_id = uuid4()
            subject, message = fact_of(event, event_id, now)
            await shared.add_fact(connection, event_id=event_id, subject=subject, message=message, now=now)
        if any(isinstance(event, ServerEvent) for event in events):
            await shared.bump_servers_version(connection)

    def committed(self, events: Sequence[HelperEvent | ServerEvent]) -> None:
        """Call when a transaction with these events has committed: publish, and forget what is no longer so."""
        if events:
            for notify in self.on_committed:
                notify()
