# SPDX-License-Identifier: Apache-2.0
"""The detector: whose silence means something, what is said again, what is forgotten, what survives a restart."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from health_parts import INTERVAL_S, NOW, Scene, beat_of, report_of
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from postman_health.detector import REPEAT_S, REPEATS_PER_TICK_MAX, Change, Detector, Forgotten, Moment, Standing
from postman_health.domain import INCARNATION_KEPT_S, Lease
from postman_health.hearing import LATE_S, RECONNECT_GRACE_S

DOWN_AFTER_S = 6 * INTERVAL_S


def lease(kind: Any, incarnation: int = 1, at: Any = NOW) -> Lease:
    return Lease(kind, incarnation, at, is_ordered=True)


def test_one_of_two_falls_silent() -> None:
    scene = Scene(1, 2)
    del scene.speakers[1]
    scene.run(2 * DOWN_AFTER_S)
    assert scene.changes == [(1, "suspect"), (1, "down")]
    assert scene.verdict(2) == "up"


def test_a_lone_helper_is_judged_by_our_own_hearing() -> None:
    scene = Scene(1)
    scene.speakers.clear()
    scene.run(2 * DOWN_AFTER_S)
    assert scene.changes == [(1, "suspect"), (1, "down")]


@pytest.mark.parametrize("helpers", [2, 3, 50])
def test_when_all_fall_silent_at_once_nothing_is_known(helpers: int) -> None:
    scene = Scene(*range(1, helpers + 1))
    scene.speakers.clear()
    scene.run(60.0)
    assert scene.changes == []


def test_when_all_fall_silent_and_their_leases_run_out_they_are_down() -> None:
    scene = Scene(1, 2)
    scene.speakers.clear()
    scene.run(5.0)
    for helper_id in (1, 2):
        scene.take(scene.detector.fact(helper_id, lease("down"), scene.now))
    scene.run(1.0)
    assert sorted(scene.changes) == [(1, "down"), (1, "suspect"), (2, "down"), (2, "suspect")]


def test_a_lease_that_ran_out_is_no_verdict_while_heartbeats_come() -> None:
    scene = Scene(1, 2)
    scene.take(scene.detector.fact(1, lease("down"), scene.now))
    scene.run(5.0)
    assert scene.changes == []
    assert scene.evidence()["lease"] == "down"


def test_helpers_with_different_rhythms_fall_silent_together() -> None:
    scene = Scene(1)
    for _ in range(100):
        scene.take(scene.detector.heartbeat(beat_of(2, interval_s=0.02), scene.now))
        scene.run(0.05)
    scene.speakers.clear()
    scene.run(60.0)
    assert scene.changes == [(2, "up")]


def test_while_nats_is_away_and_just_after_nobody_is_silent() -> None:
    scene = Scene(1, 2)
    scene.connected = False
    scene.run(60.0)
    scene.connected = True
    del scene.speakers[1]  # comes back later than the other
    scene.run(RECONNECT_GRACE_S)
    scene.speakers[1] = 1
    scene.run(10.0)
    assert scene.changes == []
    del scene.speakers[1]
    scene.run(2 * DOWN_AFTER_S)
    assert scene.changes == [(1, "suspect"), (1, "down")]


@pytest.mark.parametrize("stall_s", [2 * LATE_S, 1.0, 3600.0])
def test_after_our_own_stall_nobody_is_silent(stall_s: float) -> None:
    scene = Scene(1, 2)
    for _ in range(5):
        scene.jump(stall_s)
        scene.tick()  # before what lay in the buffers was read
        scene.beat(2)
        scene.tick()
        scene.beat(1)
        scene.run(0.3)
    assert scene.changes == []
    assert scene.detector.stalls >= 5


def test_the_wall_clock_may_jump() -> None:
    scene = Scene(1, 2)
    serials = []
    for jump in (timedelta(days=365), timedelta(days=-730), timedelta(0)):
        scene.at += jump
        scene.run(3.0)
        scene.report(1, scene.speakers.get(1, 1))
        scene.speakers[1] = scene.speakers[1] + 1
        scene.run(REPEAT_S + 0.1)
        serials.append(scene.detector.standing(1, scene.now)[0].serial)
        scene.run(30.0)
    assert scene.changes == [(1, "down"), (1, "up")] * 3
    assert serials == sorted(set(serials))


def test_reports_are_proof_at_once_and_once() -> None:
    scene = Scene(1, 2)
    scene.report(1)
    scene.report(1)
    scene.beat(1)  # was under way
    assert scene.changes == [(1, "down")]
    assert (scene.detector.counters["repeated_reports"], scene.detector.counters["late"]) == (1, 1)
    assert scene.evidence()["worker_ended"] == 1


def test_a_silent_worker_makes_suspect_and_its_heartbeat_up_again() -> None:
    scene = Scene(1, 2)
    scene.report(1, event="worker-silent")
    scene.beat(1)
    assert scene.changes == [(1, "suspect"), (1, "up")]


def test_flapping_takes_longer_each_time() -> None:
    scene = Scene(1, 2)
    waits = []
    for incarnation in range(2, 7):
        scene.report(1, incarnation - 1)
        begun_s = scene.s
        scene.speakers[1] = incarnation
        while scene.verdict() == "down":
            scene.run(0.1)
        waits.append(scene.s - begun_s)
    assert all(want <= took <= want + 4 * INTERVAL_S for want, took in zip((1, 2, 4, 8, 16), waits, strict=True))
    assert scene.evidence()["deaths_recent"] == 5


def test_what_is_not_up_is_said_again_each_second_with_a_higher_serial() -> None:
    scene = Scene(1, 2)
    scene.report(1)
    scene.speakers.pop(1)
    said: list[Standing] = []
    for _ in range(100):
        scene.run(0.05)
        said += scene.detector.due(scene.now)
    assert {standing.helper_id for standing in said} == {1}
    assert 4 <= len(said) <= 5
    serials = [standing.serial for standing in said]
    assert serials == sorted(set(serials))


def test_a_new_incarnation_of_who_is_down_is_said_to_be_down_at_once() -> None:
    scene = Scene(1, 2)
    down = scene.detector.report(report_of(1), scene.now)
    assert isinstance(down, Change)
    again = scene.detector.heartbeat(beat_of(1, 2), scene.now)
    assert isinstance(again, Standing)
    assert (again.incarnation, again.verdict) == (2, "down")
    assert again.serial > down.serial
    assert scene.detector.heartbeat(beat_of(1, 2), scene.now) is None


def test_thousands_of_dead_helpers_are_said_again_in_turn() -> None:
    scene = Scene(1)
    dead = range(2, 2 + 3 * REPEATS_PER_TICK_MAX)
    for helper_id in dead:
        scene.report(helper_id)
    scene.jump(REPEAT_S)
    rounds = [[standing.helper_id for standing in scene.detector.due(scene.now)] for _ in range(4)]
    assert [len(each) for each in rounds] == [REPEATS_PER_TICK_MAX] * 3 + [0]
    assert sorted(helper_id for each in rounds for helper_id in each) == list(dead)


def test_who_ends_in_order_is_forgotten_and_its_late_words_are_ignored() -> None:
    scene = Scene(1, 2)
    del scene.speakers[1]
    assert scene.detector.fact(1, lease("gone"), scene.now) == Forgotten(1)
    scene.beat(1)
    scene.report(1)
    scene.run(INCARNATION_KEPT_S + 1)
    assert (scene.changes, scene.verdict()) == ([], None)
    scene.speakers[1] = 1  # a new database counts from one again
    scene.run(1.0)
    assert scene.changes == [(1, "up")]


def test_gone_of_an_earlier_incarnation_concerns_nobody() -> None:
    scene = Scene(1, 2)
    scene.beat(1, 2)
    assert scene.detector.fact(1, lease("gone", 1), scene.now) is None
    assert scene.verdict() == "up"


def test_facts_may_come_twice_and_late() -> None:
    scene = Scene(1, 2)
    early, late = lease("down", at=NOW), Lease("up", 1, NOW + timedelta(seconds=1), is_ordered=False)
    for each in (late, early, early):
        scene.detector.fact(1, each, scene.now)
    assert scene.evidence()["lease"] == "up"
    assert scene.detector.counters["stale_facts"] == 2


def test_who_is_down_for_long_is_forgotten() -> None:
    scene = Scene(1, 2)
    scene.report(1)
    scene.speakers.pop(1)
    scene.jump(3601)
    scene.run(1.0)
    assert scene.verdict() is None
    assert scene.detector.due(scene.now) == []


def test_helpers_are_counted_and_shown_in_pages() -> None:
    detector = Detector(Moment(0.0, NOW), down_kept_s=3600)
    for helper_id in range(65535, 0, -64):
        detector.heartbeat(beat_of(helper_id), Moment(1.0, NOW))
    assert dict(detector.by_verdict()) == {"up": 1024, "suspect": 0, "down": 0}
    assert [standing.helper_id for standing, _ in detector.standings(65400, 2, Moment(1.0, NOW))] == [65407, 65471]


def test_a_restart_keeps_what_was_known() -> None:
    scene = Scene()
    kept = [
        Standing(1, 5, "down", "its worker ended", NOW, 1 << 60, 2),
        Standing(2, 1, "up", "first heartbeat", NOW, 7, 0),
    ]
    changes = scene.detector.restore(kept, {1: lease("up", 6)}, scene.now)
    assert changes == []
    assert [standing.helper_id for standing in scene.detector.due(scene.now)] == [1]
    scene.speakers = {1: 6, 2: 1}
    scene.run(1.5)
    assert scene.changes == []
    scene.run(1.5)
    assert scene.changes == [(1, "up")]
    scene.report(2)
    assert scene.detector.standing(2, scene.now)[0].serial > 1 << 60


@pytest.mark.parametrize("is_recorded", [True, False])
def test_who_left_while_health_was_away_is_not_taken_up_again(is_recorded: bool) -> None:
    scene = Scene(2)
    if not is_recorded:  # the stream was faster than the database
        scene.take(scene.detector.fact(1, lease("gone", 3), scene.now))
    leases = {1: lease("gone", 3)} if is_recorded else {}
    kept = [Standing(1, 3, "up", "first heartbeat", NOW, 7, 0)]
    assert scene.detector.restore(kept, leases, scene.now) == [Forgotten(1)]
    scene.run(10.0)
    assert (scene.changes, scene.verdict()) == ([], None)
    scene.speakers[1] = 4
    scene.run(1.0)
    assert scene.changes == [(1, "up")]


def test_what_was_up_before_the_restart_and_does_not_speak_is_found_out() -> None:
    scene = Scene(2)
    scene.detector.restore([Standing(1, 1, "up", "", NOW, 1, 0)], {}, scene.now)
    scene.run(6 * 1.0 + 1.0)  # its interval is not known: the longest legal one
    assert scene.changes == [(1, "suspect"), (1, "down")]


class AnyHistory(RuleBasedStateMachine):
    """Three helpers and whatever may happen to them, to NATS and to the clocks."""

    @initialize()
    def begin(self) -> None:
        self.scene = Scene(1, 2, 3)
        self.seen = 0
        self.last: dict[int, str] = {1: "up", 2: "up", 3: "up"}
        self.down_at_s: dict[int, float] = {}
        self.serial = 0

    @rule(helper_id=st.integers(1, 3))
    def fall_silent(self, helper_id: int) -> None:
        self.scene.speakers.pop(helper_id, None)

    @rule(helper_id=st.integers(1, 3), incarnation=st.integers(1, 5))
    def speak(self, helper_id: int, incarnation: int) -> None:
        self.scene.speakers[helper_id] = incarnation

    @rule(helper_id=st.integers(1, 3), incarnation=st.integers(1, 5), event=st.sampled_from(["ended", "silent"]))
    def report(self, helper_id: int, incarnation: int, event: str) -> None:
        self.scene.report(helper_id, incarnation, f"worker-{event}")

    @rule(helper_id=st.integers(1, 3), incarnation=st.integers(1, 5), kind=st.sampled_from(["up", "down", "draining"]))
    def fact(self, helper_id: int, incarnation: int, kind: str) -> None:
        self.scene.take(self.scene.detector.fact(helper_id, lease(kind, incarnation, self.scene.at), self.scene.now))

    @rule(connected=st.booleans())
    def nats(self, connected: bool) -> None:
        self.scene.connected = connected

    @precondition(lambda self: not self.scene.connected)
    @rule(seconds=st.sampled_from([0.5, 5.0]))
    def time_without_nats(self, seconds: float) -> None:
        before = list(self.scene.changes)
        self.scene.run(seconds)
        assert self.scene.changes == before

    @rule(seconds=st.sampled_from([0.3, 1.0, 3.0]))
    def time(self, seconds: float) -> None:
        self.scene.run(seconds)

    @rule(seconds=st.sampled_from([0.2, 10.0]))
    def stall(self, seconds: float) -> None:
        before = list(self.scene.changes)
        self.scene.jump(seconds)
        self.scene.tick()
        assert self.scene.changes == before

    @rule(days=st.integers(-400, 400))
    def wall_clock(self, days: int) -> None:
        self.scene.at += timedelta(days=days)

    @invariant()
    def promises(self) -> None:
        new = zip(self.scene.changes[self.seen :], self.scene.changed_s[self.seen :], strict=True)
        for (helper_id, verdict), at_s in new:
            was = self.last[helper_id]
            assert verdict != was
            if was == "down":
                assert verdict == "up"
                assert at_s - self.down_at_s[helper_id] >= 1.0
            if verdict == "down":
                self.down_at_s[helper_id] = at_s
            self.last[helper_id] = verdict
        self.seen = len(self.scene.changes)
        assert self.last == {helper_id: self.scene.verdict(helper_id) for helper_id in self.last}
        for standing in self.scene.detector.due(self.scene.now):
            assert standing.serial > self.serial
            assert standing.verdict != "up"
            self.serial = standing.serial


AnyHistory.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestAnyHistory = AnyHistory.TestCase


def test_changes_say_what_they_follow() -> None:
    scene = Scene(1, 2)
    change = scene.detector.heartbeat(beat_of(3), scene.now)
    assert isinstance(change, Change)
    assert (change.previous, change.verdict, change.reason) == (None, "up", "first heartbeat")
