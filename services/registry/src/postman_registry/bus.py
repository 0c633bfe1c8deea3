# SPDX-License-Identifier: Apache-2.0
"""All NATS of the registry: the stream of facts, orders to helpers, and what it hears of helpers and assignments."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, Literal

from postman_contracts import subjects
from postman_contracts.messages import AssignmentsChanged, HelperHeartbeat, HelperOrder, HelperVerdict
from postman_kit.bus import Bus
from postman_kit.facts import FACTS
from postman_registry.service.assignments import Assignments
from postman_registry.verdicts import HelperVerdicts

DURABLE: Final = "registry"
"""The name under which NATS keeps which facts the registry has taken."""

_PULSE_AGE_S_MAX: Final = 5.0  # five of the slowest heartbeats


class HelperPulse:
    """The newest heartbeat of each helper: fresher than its lease, and lost without harm. At most 65,535 entries."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._beats: dict[int, tuple[float, HelperHeartbeat]] = {}

    async def on_heartbeat(self, _subject: str, beat: HelperHeartbeat) -> None:
        """Keep it, unless it is of an earlier incarnation than one that lives (ids begin anew with a new database)."""
        at_s, known = self._beats.get(beat.helper_id, (0.0, None))
        if known is None or beat.incarnation >= known.incarnation or self._clock() - at_s > _PULSE_AGE_S_MAX:
            self._beats[beat.helper_id] = (self._clock(), beat)

    def latest(self, helper_id: int, incarnation: int) -> HelperHeartbeat | None:
        """The newest one of this incarnation, if it is fresh."""
        at_s, beat = self._beats.get(helper_id, (0.0, None))
        if beat is None or beat.incarnation != incarnation or self._clock() - at_s > _PULSE_AGE_S_MAX:
            return None
        return beat


async def subscribe(bus: Bus, pulse: HelperPulse, verdicts: HelperVerdicts, assignments: Assignments) -> None:
    """Make the stream; listen to heartbeats and verdicts; take the assignments, each once and in order."""
    await bus.ensure_stream(FACTS)
    await bus.subscribe(subjects.HELPER_HEARTBEATS_ALL, HelperHeartbeat, pulse.on_heartbeat)
    await bus.subscribe(subjects.HELPER_VERDICTS_ALL, HelperVerdict, verdicts.on_verdict)
    await bus.subscribe_durable(
        FACTS, subjects.ASSIGNMENT_FACTS_ALL, AssignmentsChanged, assignments.on_changed, durable=DURABLE
    )


async def order(bus: Bus, helper_id: int, what: Literal["drain", "undrain"]) -> None:
    """Tell a helper what to do. It may be lost: the answer to its next lease renewal says the same."""
    await bus.publish(subjects.helper_order(helper_id), HelperOrder(order=what))
