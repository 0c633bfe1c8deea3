# SPDX-License-Identifier: Apache-2.0
"""One helper's state machine: each state with each input, deaths and proofs, late and repeated messages."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import pairwise, product

import pytest
from health_parts import NOW
from hypothesis import given
from hypothesis import strategies as st

from postman_health import domain
from postman_health.domain import (
    DEATHS_WITHIN_S,
    INCARNATION_KEPT_S,
    PROOF_S_MAX,
    TABLE,
    VERDICTS,
    Helper,
    Input,
    Lease,
    State,
)
from postman_health.rhythm import GAPS_KEPT, INTERVAL_S_MAX, INTERVAL_S_MIN, SUSPECT_S_MIN, Rhythm

INTERVAL_S = 0.2


def beat(helper: Helper, now_s: float, incarnation: int | None = None, is_lease_over: bool = False) -> Helper:
    known = helper.incarnation if incarnation is None else incarnation
    after = domain.on_heartbeat(helper, known, INTERVAL_S, is_lease_over=is_lease_over, now_s=now_s)
    assert after is not None
    return after


def ended(helper: Helper, now_s: float, incarnation: int | None = None, detail: str = "") -> Helper:
    known = helper.incarnation if incarnation is None else incarnation
    after = domain.on_report(helper, known, "worker-ended", detail, now_s=now_s)
    assert after is not None
    return after


def quiet(helper: Helper, silent_s: float, now_s: float, is_lease_over: bool = False) -> Helper:
    return domain.on_silence(helper, silent_s, silent_s, is_lease_over=is_lease_over, now_s=now_s)


def proved_at(helper: Helper, from_s: float, incarnation: int | None = None) -> tuple[Helper, float]:
    """Beats until it is up; when that was."""
    now_s = from_s
    while helper.state is not State.UP:
        now_s += INTERVAL_S
        helper = beat(helper, now_s, incarnation)
    return helper, now_s


UP = beat(Helper(1, 1), 0.0)
DOWN = ended(UP, 1.0)
PROVING = beat(DOWN, 2.0, 2)
SUSPECT = quiet(UP, 0.7, 0.7)
EXAMPLES = {State.UNKNOWN: Helper(1, 1), State.UP: UP, State.SUSPECT: SUSPECT, State.DOWN: DOWN, State.PROVING: PROVING}


def test_the_examples_are_what_they_are_called() -> None:
    assert {state: helper.state for state, helper in EXAMPLES.items()} == {state: state for state in State}


@pytest.mark.parametrize(("state", "event"), list(product(State, Input)))
def test_each_input_in_each_state(state: State, event: Input) -> None:
    """What is in the table happens, what is not changes nothing; the promises hold in every cell."""
    before = EXAMPLES[state]
    after = domain._step(before, event, "why", 3.0)
    expected, _ = TABLE.get((state, event), (state, None))
    assert after.state is expected
    if (state, event) not in TABLE:
        assert after == before
    if before.verdict == "down" and after.verdict != "down":
        assert event is Input.PROVED
    if event in (Input.QUIET, Input.LOST) and after.verdict == "down":
        assert before.verdict in ("suspect", "down")
    if after.verdict != before.verdict:
        assert after.reason == "why"


def test_only_unknown_helpers_have_no_verdict() -> None:
    assert set(State) - set(VERDICTS) == {State.UNKNOWN}


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("beat"), st.integers(1, 4)),
            st.tuples(st.sampled_from(["worker-ended", "worker-silent"]), st.integers(1, 4)),
            st.tuples(st.just("silence"), st.sampled_from([0.1, 0.3, 0.7, 1.3, 7.0])),
            st.tuples(st.just("lease"), st.booleans()),
        ),
        max_size=60,
    )
)
def test_whatever_happens_nobody_is_up_after_down_without_proof(script: list[tuple[str, float]]) -> None:
    helper, now_s, is_over = Helper(1, 1), 0.0, False
    beats: list[float] = []  # of the present incarnation, since it was last said to be down
    for what, value in script:
        before = helper
        now_s += 0.1
        if what == "beat":
            after = domain.on_heartbeat(helper, int(value), INTERVAL_S, is_lease_over=is_over, now_s=now_s)
            if after is not None:
                beats = [*beats, now_s] if after.incarnation == before.incarnation else [now_s]
                helper = after
        elif what == "silence":
            now_s += value
            helper = quiet(helper, value, now_s, is_over)
        elif what == "lease":
            is_over = bool(value)
        else:
            helper = domain.on_report(helper, int(value), what, "", now_s=now_s) or helper
        if before.verdict == "down" and helper.verdict != "down":
            assert helper.verdict == "up"
            assert what == "beat"
            assert not is_over
            run = [at_s for at_s in beats if now_s - at_s <= helper.proof_s + 1e-6]
            assert run[-1] - run[0] >= helper.proof_s - helper.rhythm.suspect_after_s
            assert all(later - earlier <= helper.rhythm.suspect_after_s for earlier, later in pairwise(run))
        if what == "silence" and before.verdict == "up":
            assert helper.verdict in ("up", "suspect")
        assert 1.0 <= helper.proof_s <= PROOF_S_MAX
        assert len(helper.deaths_s) <= domain.DEATHS_KEPT


def test_the_proof_takes_twice_as_long_for_each_further_death() -> None:
    helper, now_s, taken_s = UP, 0.0, []
    for incarnation in range(2, 11):
        helper = ended(helper, now_s)
        begun_s = now_s
        helper, now_s = proved_at(helper, now_s, incarnation)
        taken_s.append(now_s - begun_s)
    wanted_s = [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert all(want < took <= want + 2.1 * INTERVAL_S for want, took in zip(wanted_s, taken_s, strict=True))
    helper = ended(helper, now_s + DEATHS_WITHIN_S + 1)
    assert helper.proof_s == 1.0


def test_a_gap_begins_the_proof_anew() -> None:
    helper = beat(beat(PROVING, 2.2), 2.9)
    helper = beat(helper, 3.6)  # 0.7 s are more than three intervals
    for tenths in range(2, 10, 2):
        helper = beat(helper, 3.6 + tenths / 10)
        assert helper.verdict == "down"
    assert beat(helper, 4.61).verdict == "up"


def test_a_proof_needs_a_lease_that_runs() -> None:
    helper = PROVING
    for tenths in range(0, 50, 2):
        helper = beat(helper, 2.1 + tenths / 10, is_lease_over=True)
    assert helper.verdict == "down"
    assert beat(helper, 7.1).verdict == "up"


def test_a_worker_that_ended_says_nothing_more() -> None:
    assert domain.on_heartbeat(DOWN, 1, INTERVAL_S, is_lease_over=False, now_s=1.1) is None
    assert domain.on_report(DOWN, 1, "worker-ended", "", now_s=1.1) is None
    assert len(DOWN.deaths_s) == 1


def test_older_incarnations_are_late_until_the_known_one_was_silent_for_long() -> None:
    helper = beat(UP, 1.0, 57)
    for call in (
        domain.on_heartbeat(helper, 56, INTERVAL_S, is_lease_over=False, now_s=1.1),
        domain.on_report(helper, 56, "worker-ended", "", now_s=1.1),
    ):
        assert call is None
    anew = beat(quiet(helper, 2.0, 3.0), 1.1 + INCARNATION_KEPT_S, 1)
    assert (anew.incarnation, anew.heartbeats) == (1, 1)


def test_a_database_made_anew_may_give_the_same_number_again() -> None:
    helper = beat(DOWN, 1.1 + INCARNATION_KEPT_S, 1)
    assert (helper.state, helper.ended_at_s) == (State.PROVING, None)


def test_a_restart_that_nobody_noticed_counts_as_a_death_but_moves_nobody() -> None:
    helper = beat(UP, 0.3, 2)
    assert (helper.verdict, len(helper.deaths_s), helper.incarnation) == ("up", 1, 2)
    assert ended(helper, 0.4).proof_s == 2.0


def test_a_suspect_that_begins_anew_was_dead() -> None:
    helper = beat(SUSPECT, 0.9, 2)
    assert (helper.state, len(helper.deaths_s)) == (State.PROVING, 1)
    assert "anew" in helper.reason


def test_a_crash_before_the_first_heartbeat_counts() -> None:
    helper = ended(ended(DOWN, 2.0, 2), 3.0, 3)
    assert (helper.state, len(helper.deaths_s), helper.proof_s) == (State.DOWN, 3, 4.0)


def test_a_report_after_the_silence_is_no_second_death() -> None:
    helper = quiet(quiet(UP, 0.7, 0.7), 1.3, 1.3)
    assert len(ended(helper, 1.4).deaths_s) == len(helper.deaths_s) == 1


def test_silence_with_a_lease_that_ran_out_needs_no_other_witness() -> None:
    suspect = domain.on_silence(UP, 0.0, 0.7, is_lease_over=True, now_s=0.7)
    assert suspect.verdict == "suspect"
    assert domain.on_silence(suspect, 0.0, 0.75, is_lease_over=True, now_s=0.75).verdict == "down"
    assert domain.on_silence(UP, 0.0, 100.0, is_lease_over=False, now_s=100.0).verdict == "up"


def test_what_a_supervisor_says_can_be_shown_and_stored() -> None:
    reason = ended(UP, 1.0, detail="signal 9\x00\n\x1b[31m" + "x" * 200).reason
    assert reason.startswith("its worker ended: signal 9???[31mxxx")
    assert len(reason) <= 200


def test_after_our_restart_down_holds_until_proof() -> None:
    known = domain.restored(1, 5, "down", "its worker ended", 3, 100.0)
    assert (known.verdict, known.proof_s) == ("down", 4.0)
    assert domain.restore(None, known, 100.0) is known
    heard = beat(Helper(1, 6), 99.0)  # before the database was there
    helper = domain.restore(heard, known, 99.1)
    assert (helper.state, helper.reason, helper.proof_s) == (State.PROVING, "its worker ended", 4.0)
    helper, at_s = proved_at(helper, 99.0)
    assert 4.0 <= at_s - 99.0 <= 4.0 + 2 * INTERVAL_S


def test_after_our_restart_a_long_run_of_heartbeats_is_the_proof() -> None:
    heard = beat(Helper(1, 6), 0.0)
    for fifths in range(1, 30):
        heard = beat(heard, fifths / 5)
    assert domain.restore(heard, domain.restored(1, 5, "down", "", 1, 5.9), 5.9) is heard


def test_what_happened_during_our_restart_is_no_death() -> None:
    helper = beat(domain.restored(1, 5, "up", "first heartbeat", 0, 0.0), 0.1, 6)
    assert (helper.verdict, helper.incarnation, helper.deaths_s) == ("up", 6, ())


def test_a_lease_is_of_one_incarnation_and_superseded_by_the_next() -> None:
    lease = Lease("up", 5, NOW, is_ordered=True)
    assert [lease.is_over(number) for number in (4, 5, 6)] == [True, False, False]
    assert [replace(lease, kind="down").is_over(number) for number in (4, 5, 6)] == [True, True, False]


def test_facts_count_in_the_order_of_the_stream_whatever_the_clock() -> None:
    first = Lease("up", 1, NOW, is_ordered=True)
    earlier = NOW - timedelta(hours=1)
    assert first.is_followed_by(Lease("down", 1, earlier, is_ordered=True))
    assert not first.is_followed_by(Lease("down", 1, earlier, is_ordered=False))
    at_once = Lease("down", 1, NOW, is_ordered=False)
    assert not at_once.is_followed_by(Lease("up", 1, earlier, is_ordered=True))  # the stream has yet to catch up
    assert at_once.is_followed_by(replace(at_once, is_ordered=True))


@given(st.one_of(st.none(), st.floats(1e-9, 86400)), st.lists(st.floats(0, 1e6), max_size=2 * GAPS_KEPT))
def test_a_rhythm_stays_within_the_contract(declared_s: float | None, gaps_s: list[float]) -> None:
    rhythm = Rhythm()
    for gap_s in gaps_s:
        rhythm = rhythm.heard(declared_s, gap_s)
    assert INTERVAL_S_MIN <= rhythm.interval_s <= INTERVAL_S_MAX
    assert SUSPECT_S_MIN <= rhythm.suspect_after_s < rhythm.down_after_s <= 6 * INTERVAL_S_MAX
    assert len(rhythm.gaps_s) <= GAPS_KEPT


def test_a_rhythm_that_is_not_said_is_learned() -> None:
    rhythm = Rhythm().heard(None, None)
    for _ in range(GAPS_KEPT):
        assert rhythm.interval_s == INTERVAL_S_MAX
        rhythm = rhythm.heard(None, 0.1)
    assert rhythm.interval_s == 0.1
    assert rhythm.heard(None, 0.3).interval_s == 0.3
    assert rhythm.heard(0.5, 0.1).interval_s == 0.5
