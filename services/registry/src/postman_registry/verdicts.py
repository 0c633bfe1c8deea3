# SPDX-License-Identifier: Apache-2.0
"""What health holds of the helpers: advice that goes stale (docs/decisions/0006). No database, no waiting."""

from __future__ import annotations

import time
from collections.abc import Callable

from postman_contracts.fields import VerdictName
from postman_contracts.messages import HelperVerdict


class HelperVerdicts:
    """The newest verdict on each helper, until it has gone stale. At most 65,535 entries: one for each id."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._verdicts: dict[int, tuple[float, HelperVerdict]] = {}

    async def on_verdict(self, _subject: str, verdict: HelperVerdict) -> None:
        """Keep it, unless one with a higher serial still counts (a late message; a health that began anew does not)."""
        now = self._clock()
        stale_at, known = self._verdicts.get(verdict.helper_id, (now, verdict))
        if stale_at <= now or verdict.serial >= known.serial:
            self._verdicts[verdict.helper_id] = (now + verdict.lasts_s, verdict)

    def on_helper(self, helper_id: int, incarnation: int) -> VerdictName:
        """The verdict on this incarnation; `up` if there is none that counts."""
        stale_at, verdict = self._verdicts.get(helper_id, (0.0, None))
        if verdict is None or verdict.incarnation != incarnation or stale_at <= self._clock():
            return "up"
        return verdict.verdict
