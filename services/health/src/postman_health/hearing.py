# SPDX-License-Identifier: Apache-2.0
"""The time during which we could have heard a heartbeat. Only that counts as silence of a helper. Pure.

It stands while NATS is away and while we stand still ourselves (a stopped machine, a full core): what was said
meanwhile lies in a buffer, or was said to nobody. Whoever hears nothing should first ask whether it is deaf (Lifeguard:
distrust the local observer).
"""

from __future__ import annotations

from typing import Final

from postman_health.rhythm import SUSPECT_S_MIN

LATE_S: Final = SUSPECT_S_MIN / 2
"""A tick that comes so long after the one before is late: our own pause must not make up most of a helper's silence."""

RECONNECT_GRACE_S: Final = 2.0
"""When NATS is back, the helpers are not yet: their clients try again each 0.25 s, a closed one after 1 s (kit)."""


class Hearing:
    """A clock of this time, in seconds. `stalls` counts late ticks."""

    def __init__(self, now_s: float) -> None:
        """Deaf until the first tick that says otherwise. `now_s` is monotonic, here and below."""
        self.stalls = 0
        self.judged_from_s = 0.0
        """By this clock: silence before counts for nothing."""
        self._total_s = 0.0
        self._ticked_at_s = now_s
        self._is_deaf = True

    def at(self, now_s: float) -> float:
        """What this clock shows."""
        if self._is_deaf:
            return self._total_s
        return self._total_s + min(max(now_s - self._ticked_at_s, 0.0), LATE_S)

    def tick(self, now_s: float, is_connected: bool) -> bool:
        """Call often. Whether silence may be judged now."""
        elapsed_s, was_deaf = now_s - self._ticked_at_s, self._is_deaf
        self._total_s = self.at(now_s)
        self._ticked_at_s = now_s
        self._is_deaf = not is_connected
        if self._is_deaf:
            return False
        if was_deaf:
            self.judged_from_s = self._total_s + RECONNECT_GRACE_S
            return False
        if elapsed_s > LATE_S:
            self.stalls += 1
            return False
        return True
