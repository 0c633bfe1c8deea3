# SPDX-License-Identifier: Apache-2.0
"""All NATS of placement: the stream of facts, and which epoch each helper says it is prepared for."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from postman_contracts import subjects
from postman_contracts.messages import HelperHeartbeat
from postman_kit.bus import Bus
from postman_kit.facts import FACTS

_BEAT_AGE_S_MAX: Final = 5.0  # five of the slowest heartbeats


class Acknowledgements:
    """What the newest heartbeat of each helper says of its epoch. At most 65,535 entries; old ones do not count."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._beats: dict[int, tuple[float, HelperHeartbeat]] = {}

    async def on_heartbeat(self, _subject: str, beat: HelperHeartbeat) -> None:
        """Keep it, unless it is of an earlier incarnation than one that lives (ids begin anew with a new database)."""
        at_s, known = self._beats.get(beat.helper_id, (0.0, None))
        if known is None or beat.incarnation >= known.incarnation or self._clock() - at_s > _BEAT_AGE_S_MAX:
            self._beats[beat.helper_id] = (self._clock(), beat)

    def is_prepared(self, helper_id: int, epoch: int) -> bool:
        """Whether this helper lives and has said that it is prepared for the epoch."""
        at_s, beat = self._beats.get(helper_id, (0.0, None))
        if beat is None or beat.assignment_epoch is None or self._clock() - at_s > _BEAT_AGE_S_MAX:
            return False
        return beat.assignment_epoch >= epoch


async def subscribe(bus: Bus, acknowledgements: Acknowledgements) -> None:
    """Make the stream, listen to heartbeats."""
    await bus.ensure_stream(FACTS)
    await bus.subscribe(subjects.HELPER_HEARTBEATS_ALL, HelperHeartbeat, acknowledgements.on_heartbeat)
