# SPDX-License-Identifier: Apache-2.0
"""The failure detector: all helpers, and whose silence means something. Pure: messages and ticks in, changes out.

Think of a night watch that listens to guards who call each minute. One that does not call while the others do is in
trouble. When nobody calls, the watch has gone deaf, or the wind has turned: nothing is known of the guards. So the
silence of a helper is measured by the calls of others: from its own last heartbeat to the last one that anybody sent.
When all fall silent together that difference is less than one interval, and nobody is suspected. A helper that is alone
is measured by the time in which we could have heard it (hearing.py).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from postman_contracts.fields import VerdictName
from postman_contracts.messages import HelperHeartbeat, HelperReport
from postman_health import domain
from postman_health.domain import INCARNATION_KEPT_S, Helper, Lease, State
from postman_health.hearing import Hearing

REPEAT_S: Final = 1.0
REPEATS_PER_TICK_MAX: Final = 100
"""2000 a second at the usual tick: thousands of dead helpers must not keep us from hearing the living."""

_EXPECTED: Final = frozenset({State.UP, State.SUSPECT, State.PROVING})

Evidence = dict[str, str | int | float | None]


@dataclass(frozen=True, slots=True)
class Moment:
    """Now, by both clocks: only the monotonic one decides, the other is for people and for the serial."""

    s: float
    at: datetime


@dataclass(frozen=True, slots=True)
class Change:
    """A verdict is another one than before."""

    helper_id: int
    incarnation: int
    previous: VerdictName | None
    verdict: VerdictName
    reason: str
    at: datetime
    serial: int
    deaths_recent: int
    evidence: Evidence


@dataclass(frozen=True, slots=True)
class Forgotten:
    """A helper ended in order, or is down for so long that nobody waits for it: nothing more is said of it."""

    helper_id: int


@dataclass(frozen=True, slots=True)
class Standing:
    """A verdict as it stands: to be shown, to be said again, to be kept over a restart."""

    helper_id: int
    incarnation: int
    verdict: VerdictName
    reason: str
    since: datetime
    serial: int
    deaths_recent: int


News = Change | Standing | Forgotten
"""What must be told. A standing: the verdict is as before, but on an incarnation for which nobody has heard it."""

Outcome = News | None


@dataclass(slots=True)
class _Watched:
    helper: Helper
    heard_s: float
    """By the clock of hearing."""
    since: datetime
    changed_s: float


class Detector:
    """One per process. `counters`: heartbeats, late, reports, repeated_reports, stale_facts."""

    def __init__(self, now: Moment, *, down_kept_s: float) -> None:
        self.counters: Counter[str] = Counter()
        self._down_kept_s = down_kept_s
        self._hearing = Hearing(now.s)
        self._watched: dict[int, _Watched] = {}
        self._leases: dict[int, Lease] = {}
        self._gone: dict[int, tuple[int, float]] = {}
        self._repeated_s: dict[int, float] = {}  # who is not up, and when that was said: the longest ago first
        self._newest_s = 0.0  # when anybody was heard, by the clock of hearing
        self._serial = 0

    @property
    def stalls(self) -> int:
        """How often we stood still for so long that silence was not judged."""
        return self._hearing.stalls

    # --- messages ------------------------------------------------------------------------------------

    def heartbeat(self, beat: HelperHeartbeat, now: Moment) -> Outcome:
        """A helper says that it lives."""
        self.counters["heartbeats"] += 1
        self._newest_s = self._hearing.at(now.s)
        watched = self._known(beat.helper_id, beat.incarnation, now)
        after = None
        if watched is not None:
            is_lease_over = self._is_lease_over(beat.helper_id, beat.incarnation)
            after = domain.on_heartbeat(
                watched.helper, beat.incarnation, beat.interval_s, is_lease_over=is_lease_over, now_s=now.s
            )
        if watched is None or after is None:
            self.counters["late"] += 1
            return None
        watched.heard_s = self._newest_s
        return self._settle(watched, after, now)

    def report(self, report: HelperReport, now: Moment) -> Outcome:
        """A supervisor saw something of its worker."""
        self.counters["reports"] += 1
        watched = self._known(report.helper_id, report.incarnation, now)
        after = None
        if watched is not None:
            after = domain.on_report(watched.helper, report.incarnation, report.event, report.detail, now_s=now.s)
        if watched is None or after is None:
            self.counters["repeated_reports"] += 1
            return None
        return self._settle(watched, after, now)

    def fact(self, helper_id: int, lease: Lease, now: Moment) -> Outcome:
        """The registry's word. It may come twice, and late: once at once, once through the stream."""
        known = self._leases.get(helper_id)
        if known is not None and not known.is_followed_by(lease):
            self.counters["stale_facts"] += 1
            return None
        self._leases[helper_id] = lease
        watched = self._watched.get(helper_id)
        if lease.kind != "gone" or (watched and watched.helper.incarnation > lease.incarnation):
            return None
        self._gone[helper_id] = (lease.incarnation, now.s)
        return self._forget(helper_id)

    # --- time ----------------------------------------------------------------------------------------

    def tick(self, now: Moment, *, is_connected: bool) -> list[News]:
        """Judge who is silent. Call often, also while NATS is away: then with `is_connected` false."""
        may_judge = self._hearing.tick(now.s, is_connected)
        for helper_id in [key for key, (_, at_s) in self._gone.items() if now.s - at_s > INCARNATION_KEPT_S]:
            del self._gone[helper_id]
        if not may_judge:
            return []
        heard_s = self._hearing.at(now.s)
        is_alone = sum(watched.helper.state in _EXPECTED for watched in self._watched.values()) == 1
        outcomes: list[Outcome] = []
        for watched in list(self._watched.values()):
            if watched.helper.state in _EXPECTED:
                outcomes.append(self._judge(watched, heard_s, is_alone, now))
            elif now.s - watched.changed_s > self._down_kept_s:
                outcomes.append(self._forget(watched.helper.helper_id))
        return [outcome for outcome in outcomes if outcome is not None]

    def due(self, now: Moment) -> list[Standing]:
        """The verdicts to be said again now, each with a fresh serial."""
        due: list[int] = []
        for helper_id, said_s in self._repeated_s.items():
            if now.s - said_s < REPEAT_S or len(due) == REPEATS_PER_TICK_MAX:
                break
            due.append(helper_id)
        found = []
        for helper_id in due:
            del self._repeated_s[helper_id]
            self._repeated_s[helper_id] = now.s
            found.append(self._standing(self._watched[helper_id], now, self._next_serial(now)))
        return [standing for standing in found if standing is not None]

    def _judge(self, watched: _Watched, heard_s: float, is_alone: bool, now: Moment) -> Outcome:
        helper = watched.helper
        from_s = max(watched.heard_s, self._hearing.judged_from_s)
        unheard_s = heard_s - from_s
        after = domain.on_silence(
            helper,
            unheard_s if is_alone else self._newest_s - from_s,
            unheard_s,
            is_lease_over=self._is_lease_over(helper.helper_id, helper.incarnation),
            now_s=now.s,
        )
        return self._settle(watched, after, now)

    # --- what is known -------------------------------------------------------------------------------

    def standing(self, helper_id: int, now: Moment) -> tuple[Standing, Evidence] | None:
        """The verdict on one helper, and what it rests on."""
        watched = self._watched.get(helper_id)
        standing = watched and self._standing(watched, now, self._serial)
        return (standing, self._evidence(watched, now)) if watched and standing else None

    def standings(self, after: int, limit: int, now: Moment) -> list[tuple[Standing, Evidence]]:
        """The verdicts on the next `limit` helpers with ids above `after`."""
        ids = sorted(key for key, watched in self._watched.items() if key > after and watched.helper.verdict)
        found = (self.standing(helper_id, now) for helper_id in ids[:limit])
        return [standing for standing in found if standing is not None]

    def by_verdict(self) -> Iterator[tuple[VerdictName, int]]:
        """How many helpers have which verdict."""
        counts = Counter(watched.helper.verdict for watched in list(self._watched.values()))
        names: tuple[VerdictName, ...] = ("up", "suspect", "down")
        return ((name, counts[name]) for name in names)

    def restore(self, kept: Sequence[Standing], leases: dict[int, Lease], now: Moment) -> list[News]:
        """After a restart: what was known before, beside what was heard since."""
        ended = {helper_id: lease.incarnation for helper_id, lease in leases.items() if lease.kind == "gone"}
        for helper_id, lease in leases.items():
            if helper_id not in ended:
                self._leases.setdefault(helper_id, lease)
        outcomes: list[Outcome] = []
        for standing in kept:
            self._serial = max(self._serial, standing.serial)
            gone, _ = self._gone.get(standing.helper_id, (0, 0.0))
            if standing.incarnation <= max(gone, ended.get(standing.helper_id, 0)):  # it left while we were away
                if standing.helper_id not in self._watched:
                    outcomes.append(Forgotten(standing.helper_id))
                continue
            known = domain.restored(
                standing.helper_id,
                standing.incarnation,
                standing.verdict,
                standing.reason,
                standing.deaths_recent,
                now.s,
            )
            watched = self._watched.get(standing.helper_id)
            if watched is None:
                self._watched[standing.helper_id] = _Watched(known, self._hearing.at(now.s), standing.since, now.s)
                if known.verdict != "up":
                    self._repeated_s[standing.helper_id] = now.s - REPEAT_S
                continue
            outcomes.append(self._settle(watched, domain.restore(watched.helper, known, now.s), now))
        return [outcome for outcome in outcomes if outcome is not None]

    # --- inside --------------------------------------------------------------------------------------

    def _known(self, helper_id: int, incarnation: int, now: Moment) -> _Watched | None:
        """The helper, new if need be; None if this is a late word of one that is gone."""
        watched = self._watched.get(helper_id)
        if watched is None:
            gone, gone_at_s = self._gone.get(helper_id, (0, now.s))
            if incarnation <= gone and now.s - gone_at_s <= INCARNATION_KEPT_S:
                return None
            watched = _Watched(Helper(helper_id, incarnation), self._hearing.at(now.s), now.at, now.s)
            self._watched[helper_id] = watched
        return watched

    def _settle(self, watched: _Watched, after: Helper, now: Moment) -> Outcome:
        before, watched.helper = watched.helper, after
        if after.verdict is None:
            return None
        if after.verdict == before.verdict:
            is_other = after.incarnation != before.incarnation and after.verdict != "up"
            return self._standing(watched, now, self._next_serial(now)) if is_other else None
        watched.since, watched.changed_s = now.at, now.s
        self._repeated_s.pop(after.helper_id, None)
        if after.verdict != "up":
            self._repeated_s[after.helper_id] = now.s
        return Change(
            helper_id=after.helper_id,
            incarnation=after.incarnation,
            previous=before.verdict,
            verdict=after.verdict,
            reason=after.reason,
            at=now.at,
            serial=self._next_serial(now),
            deaths_recent=domain.deaths_recent(after, now.s),
            evidence=self._evidence(watched, now),
        )

    def _forget(self, helper_id: int) -> Forgotten | None:
        self._leases.pop(helper_id, None)
        self._repeated_s.pop(helper_id, None)
        return Forgotten(helper_id) if self._watched.pop(helper_id, None) else None

    def _is_lease_over(self, helper_id: int, incarnation: int) -> bool:
        lease = self._leases.get(helper_id)
        return lease is not None and lease.is_over(incarnation)

    def _next_serial(self, now: Moment) -> int:
        """Grows over restarts, too: by the wall clock, and never less than what was written."""
        self._serial = max(self._serial + 1, int(now.at.timestamp() * 1000))
        return self._serial

    def _standing(self, watched: _Watched, now: Moment, serial: int) -> Standing | None:
        helper = watched.helper
        if helper.verdict is None:
            return None
        return Standing(
            helper_id=helper.helper_id,
            incarnation=helper.incarnation,
            verdict=helper.verdict,
            reason=helper.reason,
            since=watched.since,
            serial=serial,
            deaths_recent=domain.deaths_recent(helper, now.s),
        )

    def _evidence(self, watched: _Watched, now: Moment) -> Evidence:
        helper, lease = watched.helper, self._leases.get(watched.helper.helper_id)
        is_current = lease is not None and lease.incarnation == helper.incarnation
        steady_s = None if helper.steady_since_s is None else round(now.s - helper.steady_since_s, 3)
        return {
            "state": helper.state.value,
            "silent_s": None if helper.heard_at_s is None else round(now.s - helper.heard_at_s, 3),
            "heartbeat_interval_s": helper.rhythm.interval_s if helper.heartbeats else None,
            "heartbeats": helper.heartbeats,
            "suspect_after_s": helper.rhythm.suspect_after_s,
            "down_after_s": helper.rhythm.down_after_s,
            "worker_ended": int(helper.ended_at_s is not None),
            "lease": lease.kind if lease is not None and is_current else None,
            "deaths_recent": domain.deaths_recent(helper, now.s),
            "proof_s": helper.proof_s,
            "steady_s": steady_s if helper.state in (State.UP, State.PROVING) else None,
        }
