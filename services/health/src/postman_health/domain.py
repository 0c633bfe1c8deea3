# SPDX-License-Identifier: Apache-2.0
"""The verdict on one helper: a state machine. Pure; `now_s` is monotonic and an argument.

                  beat                        quiet, stalled, lost
    unknown ---------------------> up ------------------------------> suspect
      |  |                        ^  |  <----------------------------   |  |
      |  | stalled                |  |              beat                |  |
      |  +---> suspect            |  | ended                            |  | lost, ended, succeeded
      |                    proved |  v                                  |  |
      | ended                     |  down <-----------------------------+--+
      +----------------> down     |  |  ^
                                  |  |  | quiet, lost, stalled, ended, succeeded
                             beat |  v  |
                                 proving

Inputs: `beat`, a heartbeat; `proved`, the heartbeat that completes a proof; `succeeded`, the first sign of another
incarnation; `ended` and `stalled`, what a supervisor reports of its worker; `quiet` and `lost`, silence (rhythm.py).
What is not in the table changes nothing. Two things hold by it: from `down` nobody comes to `up` but by `proved`, and
silence makes `suspect` before it makes `down` (`lost` is the longer silence, or silence and a lease that ran out).

A helper is said to be `down` while it proves itself. The proof is a run of heartbeats without a gap, for one second and
twice as long for each further death within ten minutes, and a lease that is not over.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Final, Literal

from postman_contracts.fields import VerdictName
from postman_health.rhythm import Rhythm

PROOF_S_FIRST: Final = 1.0
PROOF_S_MAX: Final = 60.0
DEATHS_WITHIN_S: Final = 600.0
DEATHS_KEPT: Final = 7
"""1, 2, 4, ... seconds: with the seventh the longest proof is reached."""

INCARNATION_KEPT_S: Final = 5.0
"""So long after its last sign of life an incarnation keeps older ones out: five of the slowest heartbeats. Later a
lower number is not late but new: a new database of the registry counts from one again."""

REASON_MAX: Final = 200


class State(StrEnum):
    """What we hold of a helper."""

    UNKNOWN = "unknown"
    UP = "up"
    SUSPECT = "suspect"
    DOWN = "down"
    PROVING = "proving"


class Input(StrEnum):
    """What may happen to it."""

    BEAT = "beat"
    PROVED = "proved"
    SUCCEEDED = "succeeded"
    ENDED = "ended"
    STALLED = "stalled"
    QUIET = "quiet"
    LOST = "lost"


class Effect(StrEnum):
    """What else a step does."""

    NONE = "none"
    DEATH = "death"
    """Counts a death, once for each incarnation and each time that it was up."""


TABLE: Final[dict[tuple[State, Input], tuple[State, Effect]]] = {
    (State.UNKNOWN, Input.BEAT): (State.UP, Effect.NONE),
    (State.UNKNOWN, Input.ENDED): (State.DOWN, Effect.DEATH),
    (State.UNKNOWN, Input.STALLED): (State.SUSPECT, Effect.NONE),
    (State.UP, Input.BEAT): (State.UP, Effect.NONE),
    # Its heartbeats hardly paused: no reason to send anybody away, but the death counts.
    (State.UP, Input.SUCCEEDED): (State.UP, Effect.DEATH),
    (State.UP, Input.ENDED): (State.DOWN, Effect.DEATH),
    (State.UP, Input.STALLED): (State.SUSPECT, Effect.NONE),
    (State.UP, Input.QUIET): (State.SUSPECT, Effect.NONE),
    (State.UP, Input.LOST): (State.SUSPECT, Effect.NONE),
    (State.SUSPECT, Input.BEAT): (State.UP, Effect.NONE),
    (State.SUSPECT, Input.SUCCEEDED): (State.DOWN, Effect.DEATH),
    (State.SUSPECT, Input.ENDED): (State.DOWN, Effect.DEATH),
    (State.SUSPECT, Input.LOST): (State.DOWN, Effect.DEATH),
    (State.DOWN, Input.BEAT): (State.PROVING, Effect.NONE),
    (State.DOWN, Input.ENDED): (State.DOWN, Effect.DEATH),
    (State.PROVING, Input.BEAT): (State.PROVING, Effect.NONE),
    (State.PROVING, Input.PROVED): (State.UP, Effect.NONE),
    (State.PROVING, Input.SUCCEEDED): (State.DOWN, Effect.DEATH),
    (State.PROVING, Input.ENDED): (State.DOWN, Effect.DEATH),
    (State.PROVING, Input.STALLED): (State.DOWN, Effect.NONE),
    (State.PROVING, Input.QUIET): (State.DOWN, Effect.NONE),
    (State.PROVING, Input.LOST): (State.DOWN, Effect.NONE),
}

VERDICTS: Final[dict[State, VerdictName]] = {
    State.UP: "up",
    State.SUSPECT: "suspect",
    State.DOWN: "down",
    State.PROVING: "down",
}


@dataclass(frozen=True, slots=True)
class Lease:
    """The registry's last word on a helper."""

    kind: Literal["up", "down", "draining", "gone"]
    incarnation: int
    at: datetime
    is_ordered: bool
    """It came through the stream: what follows there is newer, whatever the clock of the registry does."""

    def is_followed_by(self, later: Lease) -> bool:
        """Whether another word counts after this one."""
        return later.at >= self.at or (later.is_ordered and self.is_ordered)

    def is_over(self, incarnation: int) -> bool:
        """Whether this incarnation's lease is known to have ended."""
        return self.incarnation > incarnation or (self.incarnation == incarnation and self.kind in ("down", "gone"))


@dataclass(frozen=True, slots=True)
class Helper:
    """One helper."""

    helper_id: int
    incarnation: int
    state: State = State.UNKNOWN
    reason: str = ""
    """Why the verdict is what it is."""
    rhythm: Rhythm = field(default_factory=Rhythm)
    heartbeats: int = 0
    heard_at_s: float | None = None
    steady_since_s: float | None = None
    """Since then its heartbeats have had no gap."""
    ended_at_s: float | None = None
    """When its supervisor said that the worker of this incarnation has ended."""
    deaths_s: tuple[float, ...] = ()
    is_death_counted: bool = False
    proof_s: float = PROOF_S_FIRST

    @property
    def verdict(self) -> VerdictName | None:
        """What the world is told; None while nothing is known."""
        return VERDICTS.get(self.state)


def on_heartbeat(
    helper: Helper, incarnation: int, interval_s: float | None, *, is_lease_over: bool, now_s: float
) -> Helper | None:
    """A heartbeat came; None if it is late: of an incarnation that is known to be over."""
    if is_late(helper, incarnation, now_s):
        return None
    if incarnation != helper.incarnation or helper.ended_at_s is not None:
        helper = _succeed(helper, incarnation, now_s)
    gap_s = None if helper.heard_at_s is None else now_s - helper.heard_at_s
    has_gap = gap_s is None or gap_s > helper.rhythm.suspect_after_s or helper.steady_since_s is None
    steady_since_s = now_s if has_gap or helper.steady_since_s is None else helper.steady_since_s
    helper = replace(
        helper,
        rhythm=helper.rhythm.heard(interval_s, gap_s),
        heartbeats=helper.heartbeats + 1,
        heard_at_s=now_s,
        steady_since_s=steady_since_s,
    )
    steady_s = now_s - steady_since_s
    if helper.state is State.PROVING and steady_s >= helper.proof_s and not is_lease_over:
        return _step(helper, Input.PROVED, f"heartbeats without a gap for {steady_s:.1f} s", now_s)
    reason = "first heartbeat" if helper.state is State.UNKNOWN else "heartbeats again"
    return _step(helper, Input.BEAT, reason, now_s)


def on_report(
    helper: Helper, incarnation: int, event: Literal["worker-ended", "worker-silent"], detail: str, *, now_s: float
) -> Helper | None:
    """A supervisor saw something of its worker; None if it is late or said before."""
    if is_late(helper, incarnation, now_s):
        return None
    if incarnation != helper.incarnation:
        helper = _succeed(helper, incarnation, now_s)
    if event == "worker-silent":
        return _step(helper, Input.STALLED, _reason("its worker does not answer", detail), now_s)
    return _step(replace(helper, ended_at_s=now_s), Input.ENDED, _reason("its worker ended", detail), now_s)


def on_silence(helper: Helper, silent_s: float, unheard_s: float, *, is_lease_over: bool, now_s: float) -> Helper:
    """Nothing was heard for `unheard_s`, and others were for `silent_s` of it (alone: all of it)."""
    rhythm = helper.rhythm
    if is_lease_over and unheard_s >= rhythm.suspect_after_s:
        # Two witnesses, also where all fell silent together: the registry did not hear of it either.
        return _step(helper, Input.LOST, f"its lease ran out, and no heartbeat for {unheard_s:.1f} s", now_s)
    if silent_s >= rhythm.down_after_s:
        return _step(helper, Input.LOST, f"no heartbeat for {silent_s:.1f} s", now_s)
    if silent_s >= rhythm.suspect_after_s:
        return _step(helper, Input.QUIET, f"no heartbeat for {silent_s:.1f} s", now_s)
    return helper


def is_late(helper: Helper, incarnation: int, now_s: float) -> bool:
    """Whether a message speaks for an incarnation that is over."""
    signs_s = [at_s for at_s in (helper.heard_at_s, helper.ended_at_s) if at_s is not None]
    if not signs_s or now_s - max(signs_s) > INCARNATION_KEPT_S:
        return False
    is_same = incarnation == helper.incarnation
    return incarnation < helper.incarnation or (is_same and helper.ended_at_s is not None)


def restore(helper: Helper | None, known: Helper, now_s: float) -> Helper:
    """After our restart: `known` is what was written of it, `helper` what was heard since.

    A `down` of before holds until proof; heartbeats that were heard meanwhile count for it.
    """
    if helper is None:
        return known
    is_steady = helper.steady_since_s is not None and now_s - helper.steady_since_s >= known.proof_s
    if helper.state is State.UP and known.verdict == "down" and not is_steady:
        return replace(
            helper,
            state=State.PROVING,
            reason=known.reason,
            deaths_s=known.deaths_s,
            is_death_counted=True,
            proof_s=known.proof_s,
        )
    return helper


def restored(helper_id: int, incarnation: int, verdict: VerdictName, reason: str, deaths: int, now_s: float) -> Helper:
    """A helper as it was written: its recent deaths count as if they were of now."""
    helper = Helper(helper_id, incarnation, State(verdict), reason, is_death_counted=verdict == "down")
    deaths_s = (now_s,) * min(deaths, DEATHS_KEPT)
    return replace(helper, deaths_s=deaths_s, proof_s=_proof_s(len(deaths_s)))


def deaths_recent(helper: Helper, now_s: float) -> int:
    """How often it died within the last ten minutes."""
    return sum(now_s - at_s <= DEATHS_WITHIN_S for at_s in helper.deaths_s)


def _succeed(helper: Helper, incarnation: int, now_s: float) -> Helper:
    """Another incarnation than the known one shows itself: that one is over."""
    is_unheard = helper.state is State.UP and helper.heartbeats == 0  # up before our restart: who knows what was since
    if not is_unheard:
        helper = _step(helper, Input.SUCCEEDED, "it began anew, and nobody had said that it ended", now_s)
    return replace(
        helper,
        incarnation=incarnation,
        rhythm=Rhythm(),
        heartbeats=0,
        heard_at_s=None,
        steady_since_s=None,
        ended_at_s=None,
        is_death_counted=False,
    )


def _step(helper: Helper, event: Input, reason: str, now_s: float) -> Helper:
    found = TABLE.get((helper.state, event))
    if found is None:
        return helper
    state, effect = found
    if effect is Effect.DEATH:
        helper = _count_death(helper, now_s)
    if VERDICTS[state] != helper.verdict:
        helper = replace(helper, reason=reason)
    if state is State.DOWN:
        helper = replace(helper, steady_since_s=None)
    if event is Input.PROVED:
        helper = replace(helper, is_death_counted=False)
    return helper if state is helper.state else replace(helper, state=state)


def _count_death(helper: Helper, now_s: float) -> Helper:
    if helper.is_death_counted:
        return helper
    recent_s = [at_s for at_s in helper.deaths_s if now_s - at_s <= DEATHS_WITHIN_S]
    deaths_s = (*recent_s, now_s)[-DEATHS_KEPT:]
    return replace(helper, deaths_s=deaths_s, is_death_counted=True, proof_s=_proof_s(len(deaths_s)))


def _proof_s(deaths: int) -> float:
    return min(PROOF_S_FIRST * 2.0 ** max(deaths - 1, 0), PROOF_S_MAX)


def _reason(what: str, detail: str) -> str:
    """With what the supervisor says; it may say anything, and reasons are shown and stored."""
    shown = "".join(character if character.isprintable() else "?" for character in detail)
    return f"{what}: {shown}"[:REASON_MAX] if shown else what
