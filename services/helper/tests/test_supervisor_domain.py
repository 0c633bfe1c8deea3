# SPDX-License-Identifier: Apache-2.0
"""The life cycle as a table: every legal step, and that nothing else is accepted."""

from __future__ import annotations

import itertools

import pytest

from postman_helper.domain import (
    CRASH_LOOP_FAILURES,
    CRASH_LOOP_WINDOW_S,
    RETRY_FIRST_S,
    RETRY_MAX_S,
    STABLE_S,
    Action,
    Input,
    LifeCycle,
    State,
    backoff_s,
    is_reported,
)

ORDERS = (Input.DRAIN_ORDERED, Input.UNDRAIN_ORDERED)
TO_STATE = {
    State.STARTING: [],
    State.SERVING: [Input.WORKER_READY],
    State.PARKED: [Input.WORKER_READY, Input.DRAIN_ORDERED],
    State.LEAVING: [Input.WORKER_READY, Input.LEAVE_WANTED],
    State.BACKING_OFF: [Input.WORKER_FAILED],
    State.DEAD: [Input.STOP_WANTED],
}
LEGAL = {
    (State.STARTING, Input.WORKER_READY): (State.SERVING, Action.NOTHING),
    (State.STARTING, Input.WORKER_FAILED): (State.BACKING_OFF, Action.WAIT),
    (State.STARTING, Input.LEAVE_WANTED): (State.DEAD, Action.FINISH),
    (State.SERVING, Input.WORKER_FAILED): (State.BACKING_OFF, Action.WAIT),
    (State.SERVING, Input.IDENTITY_LOST): (State.BACKING_OFF, Action.WAIT),
    (State.SERVING, Input.DRAIN_ORDERED): (State.PARKED, Action.PARK),
    (State.SERVING, Input.UNDRAIN_ORDERED): (State.SERVING, Action.NOTHING),
    (State.SERVING, Input.LEAVE_WANTED): (State.LEAVING, Action.LEAVE),
    (State.PARKED, Input.WORKER_FAILED): (State.BACKING_OFF, Action.WAIT),
    (State.PARKED, Input.IDENTITY_LOST): (State.BACKING_OFF, Action.WAIT),
    (State.PARKED, Input.DRAIN_ORDERED): (State.PARKED, Action.NOTHING),
    (State.PARKED, Input.UNDRAIN_ORDERED): (State.SERVING, Action.SERVE),
    (State.PARKED, Input.LEAVE_WANTED): (State.LEAVING, Action.LEAVE),
    (State.LEAVING, Input.DRAINED): (State.DEAD, Action.FINISH),
    (State.LEAVING, Input.WORKER_FAILED): (State.DEAD, Action.FINISH),
    (State.LEAVING, Input.IDENTITY_LOST): (State.LEAVING, Action.NOTHING),
    (State.LEAVING, Input.LEAVE_WANTED): (State.LEAVING, Action.NOTHING),
    (State.BACKING_OFF, Input.RETRY_DUE): (State.STARTING, Action.START),
    (State.BACKING_OFF, Input.WORKER_FAILED): (State.BACKING_OFF, Action.NOTHING),
    (State.BACKING_OFF, Input.IDENTITY_LOST): (State.BACKING_OFF, Action.NOTHING),
    (State.BACKING_OFF, Input.LEAVE_WANTED): (State.DEAD, Action.FINISH),
    **{
        (state, order): (state, Action.NOTHING)
        for state in (State.STARTING, State.LEAVING, State.BACKING_OFF)
        for order in ORDERS
    },
    **{(state, Input.STOP_WANTED): (State.DEAD, Action.FINISH) for state in State if state is not State.DEAD},
    **{(State.DEAD, event): (State.DEAD, Action.NOTHING) for event in Input},
}


def life_in(state: State) -> LifeCycle:
    life = LifeCycle()
    for event in TO_STATE[state]:
        life.on(event, 0.0)
    assert life.state is state
    return life


@pytest.mark.parametrize(("state", "event"), list(itertools.product(State, Input)))
def test_every_pair_is_a_legal_step_or_an_error(state: State, event: Input) -> None:
    life = life_in(state)
    if (state, event) in LEGAL:
        action = life.on(event, 1.0)
        assert (life.state, action) == LEGAL[state, event]
    else:
        with pytest.raises(KeyError):
            life.on(event, 1.0)


def test_backoff_doubles_to_its_cap_and_is_spread_over_its_upper_half() -> None:
    assert backoff_s(0, 0.0) == RETRY_FIRST_S / 2
    assert backoff_s(0, 0.999) == pytest.approx(RETRY_FIRST_S, rel=0.01)
    assert backoff_s(3, 0.5) == 2 * backoff_s(2, 0.5)
    assert RETRY_MAX_S / 2 <= backoff_s(10**9, 0.3) <= RETRY_MAX_S


def crash(life: LifeCycle, ready_at_s: float, crash_at_s: float) -> float:
    """One start that serves and crashes; returns the delay before the next."""
    life.on(Input.WORKER_READY, ready_at_s)
    assert life.on(Input.WORKER_FAILED, crash_at_s) is Action.WAIT
    delay_s = life.retry_delay_s(0.5)
    life.on(Input.RETRY_DUE, crash_at_s + delay_s)
    return delay_s


def test_delays_grow_with_each_failure_and_a_stable_worker_forgives_them() -> None:
    life = LifeCycle()
    delays = [crash(life, now, now + 1.0) for now in (0.0, 10.0, 20.0)]
    assert delays == [delays[0], delays[0] * 2, delays[0] * 4]
    assert crash(life, 30.0, 30.0 + STABLE_S) == delays[0]


def test_a_crash_loop_is_failures_close_together() -> None:
    life = LifeCycle()
    for number in range(CRASH_LOOP_FAILURES - 1):
        crash(life, number, number + 0.5)
    assert life.crash_loop(5.0) is None
    crash(life, 5.0, 6.0)
    report = life.crash_loop(6.0)
    assert report is not None
    assert report.failures == CRASH_LOOP_FAILURES
    assert life.crash_loop(6.0 + CRASH_LOOP_WINDOW_S) is None


def test_failures_far_apart_are_no_crash_loop() -> None:
    life = LifeCycle()
    for number in range(2 * CRASH_LOOP_FAILURES):
        now_s = number * CRASH_LOOP_WINDOW_S
        crash(life, now_s, now_s + 1.0)
        assert life.crash_loop(now_s + 1.0) is None


def test_failures_in_a_row_are_reported_ever_more_seldom() -> None:
    assert [number for number in range(1, 40) if is_reported(number)] == [1, 2, 4, 8, 16, 32]
