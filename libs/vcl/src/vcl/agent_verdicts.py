# SPDX-License-Identifier: Apache-2.0
"""Which of health's verdicts are news. Pure: the times are arguments.

A verdict is said again each second while a helper is not up, each time with a higher serial, so most are repetitions;
and what comes late must not undo what came since: of two about one helper the higher serial counts, for as long as the
verdict lasts. After that health itself may have started over, and whatever it says is news.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from vcl.agent_types import FactKind

VERDICT_KINDS: Final[dict[str, FactKind]] = {"suspect": "helper_suspect", "down": "helper_down", "up": "helper_up"}

Said = tuple[int, str]
"""An incarnation, and the verdict on it."""


@dataclass(slots=True)
class _Held:
    said: Said
    serial: int
    until_s: float


class Verdicts:
    """The verdicts that count now, by helper id (so at most 65,535)."""

    def __init__(self) -> None:
        self._held: dict[int, _Held] = {}

    def is_news(self, helper_id: int, said: Said, serial: int, lasts_s: float, now_s: float) -> bool:
        """Takes one verdict; whether anybody must hear of it."""
        held = self._held.get(helper_id)
        counts = held if held is not None and now_s < held.until_s else None
        if counts is not None and (serial < counts.serial or (serial == counts.serial and said != counts.said)):
            return False
        self._held[helper_id] = _Held(said, serial, now_s + lasts_s)
        return counts is None or said != counts.said
