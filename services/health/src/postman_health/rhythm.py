# SPDX-License-Identifier: Apache-2.0
"""How often a helper says that it lives, and from that, when its silence says something. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

# The borders of the contract (docs/architecture.md, NATS subjects): a message that says otherwise is wrong.
INTERVAL_S_MIN: Final = 0.02
INTERVAL_S_MAX: Final = 1.0

GAPS_KEPT: Final = 8
"""Of a helper that does not say its interval, so many pauses are looked at; until then the longest legal one counts."""

# Three missed, as BFD (RFC 5880, 6.8.4: detection time = multiplier x interval, customarily 3) and VRRP (RFC 5798, 6.1:
# 3 x advertisement interval + skew) have it.
MISSED_SUSPECT: Final = 3

SUSPECT_S_MIN: Final = 0.25
"""A supervisor is an ordinary process: however often it speaks, waiting for a core on a busy machine is not death."""

DOWN_PER_SUSPECT: Final = 2
"""Another detection time: a suspect can still speak up before it is declared down, as in SWIM's suspicion."""


@dataclass(frozen=True, slots=True)
class Rhythm:
    """The rhythm of one incarnation's heartbeats."""

    declared_s: float | None = None
    gaps_s: tuple[float, ...] = ()

    def heard(self, declared_s: float | None, gap_s: float | None) -> Rhythm:
        """After a heartbeat, which may say its interval, and came `gap_s` after the one before (None: the first)."""
        gaps_s = self.gaps_s if gap_s is None else (*self.gaps_s[1 - GAPS_KEPT :], gap_s)
        return Rhythm(declared_s, gaps_s)

    @property
    def interval_s(self) -> float:
        """The pause to be expected: as declared, else the longest of the last ones."""
        if self.declared_s is not None:
            wanted_s = self.declared_s
        elif len(self.gaps_s) == GAPS_KEPT:
            wanted_s = max(self.gaps_s)
        else:
            wanted_s = INTERVAL_S_MAX
        return min(max(wanted_s, INTERVAL_S_MIN), INTERVAL_S_MAX)

    @property
    def suspect_after_s(self) -> float:
        """Silence that makes suspect."""
        return max(MISSED_SUSPECT * self.interval_s, SUSPECT_S_MIN)

    @property
    def down_after_s(self) -> float:
        """Silence that counts as death."""
        return DOWN_PER_SUSPECT * self.suspect_after_s
