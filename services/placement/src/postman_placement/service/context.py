# SPDX-License-Identifier: Apache-2.0
"""What all use-cases share: the database, the clock, whether the tables are there, and who publishes what was saved."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from postman_kit.db import Database
from postman_kit.errors import unavailable


@dataclass(slots=True)
class Context:
    """One per process."""

    database: Database
    clock: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))
    on_committed: list[Callable[[], None]] = field(default_factory=list)
    is_ready: bool = False
    """False until the database has been reached and has got this release's tables; from then on true."""

    def require_ready(self) -> None:
        """A 503 problem until the tables are there."""
        if not self.is_ready:
            raise unavailable("Placement has not reached its database yet. Send the same request again shortly.")

    def committed(self) -> None:
        """Call when a transaction with facts has committed: publish them now."""
        for notify in self.on_committed:
            notify()
