# SPDX-License-Identifier: Apache-2.0
"""A part of the control plane that is started again when it ends, unless it ends at each start."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from postman_kit.embedded import EmbeddedError

EARLY_S: Final = 3.0
"""A part that ends so soon after its start has a cause that another start does not cure."""
EARLY_ENDS_MAX: Final = 5


@dataclass
class Revival:
    """`obituary` says how the part ended (empty while it runs); `start` starts it again."""

    name: str
    obituary: Callable[[], str]
    start: Callable[[], None]
    _started_s: float = field(default_factory=time.monotonic)
    _early_ends: int = 0

    def look(self) -> str:
        """Starts the part again if it has ended, and says so; EmbeddedError if that is of no use."""
        said = self.obituary()
        if not said:
            return ""
        is_early = time.monotonic() - self._started_s < EARLY_S
        self._early_ends = self._early_ends + 1 if is_early else 0
        if self._early_ends >= EARLY_ENDS_MAX:
            raise EmbeddedError(f"{said}\n{self.name} ended {self._early_ends} times in a row right after its start")
        try:
            self.start()
        except EmbeddedError as error:  # it ended while it was starting; the next look counts that
            said = f"{said}\n{error}"
        self._started_s = time.monotonic()  # only now: a start that fails may take longer than an early end
        return f"{said}\n{self.name} was started again"
