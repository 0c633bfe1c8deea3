# SPDX-License-Identifier: Apache-2.0
"""The life cycle of one worker, pure: inputs and times are arguments, actions come out.

            START                     WORKER_READY              DRAIN_ORDERED
    (run) ────────▶ starting ───────────────────────▶ serving ─────────────────▶ parked
                     ▲    │ WORKER_FAILED               │ │  ◀─────────────────  │ │
           RETRY_DUE │    ▼           WORKER_FAILED,    │ │    UNDRAIN_ORDERED   │ │
                    backing-off ◀──── IDENTITY_LOST ────┴─│──────────────────────┘ │
                          │                               │ LEAVE_WANTED           │ LEAVE_WANTED
             LEAVE_WANTED ▼                               ▼                        │
                         dead ◀─────────────────────── leaving ◀───────────────────┘
                                DRAINED, WORKER_FAILED

A parked helper was ordered to drain: its worker takes no new sessions and goes on with those that it has, until the
order to serve again. The order is the registry's, which repeats it with each lease, so a helper that starts, or whose
worker failed, parks as soon as it serves. A leaving one ends once no data flows.
STOP_WANTED (the operator asked twice) leads to `dead` from everywhere.
Every entry into `starting` registers anew, so that no two worker processes ever share an incarnation (and with it the
trunk keys). A worker whose identity was lost goes on relaying until its successor has one.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """What the supervisor is doing about its worker."""

    STARTING = "starting"
    SERVING = "serving"
    PARKED = "parked"
    LEAVING = "leaving"
    BACKING_OFF = "backing-off"
    DEAD = "dead"


class Input(StrEnum):
    """What happened."""

    WORKER_READY = "worker-ready"
    WORKER_FAILED = "worker-failed"  # exited, or never became ready
    IDENTITY_LOST = "identity-lost"  # the registry knows a newer incarnation, or does not know this helper
    RETRY_DUE = "retry-due"
    DRAIN_ORDERED = "drain-ordered"  # by an operator, through the registry
    UNDRAIN_ORDERED = "undrain-ordered"
    LEAVE_WANTED = "leave-wanted"  # end, but gently
    DRAINED = "drained"
    STOP_WANTED = "stop-wanted"  # without draining, or in the middle of it


class Action(StrEnum):
    """What is to be done about it."""

    NOTHING = "nothing"
    START = "start"  # register, stop a worker of the old identity, spawn
    WAIT = "wait"  # retry_delay_s(), then RETRY_DUE
    PARK = "park"  # take no new sessions
    SERVE = "serve"  # take them again
    LEAVE = "leave"  # take none, and wait until no data flows: DRAINED
    FINISH = "finish"  # stop the worker, give the lease back, end


_TABLE: dict[tuple[State, Input], tuple[State, Action]] = {
    (State.STARTING, Input.WORKER_READY): (State.SERVING, Action.NOTHING),
    (State.STARTING, Input.WORKER_FAILED): (State.BACKING_OFF, Action.WAIT),
    (State.STARTING, Input.LEAVE_WANTED): (State.DEAD, Action.FINISH),
    (State.SERVING, Input.WORKER_FAILED): (State.BACKING_OFF, Action.WAIT),
    (State.SERVING, Input.IDENTITY_LOST): (State.BACKING_OFF, Action.WAIT),
    (State.SERVING, Input.DRAIN_ORDERED): (State.PARKED, Action.PARK),
    (State.SERVING, Input.LEAVE_WANTED): (State.LEAVING, Action.LEAVE),
    (State.PARKED, Input.WORKER_FAILED): (State.BACKING_OFF, Action.WAIT),
    (State.PARKED, Input.IDENTITY_LOST): (State.BACKING_OFF, Action.WAIT),
    (State.PARKED, Input.UNDRAIN_ORDERED): (State.SERVING, Action.SERVE),
    (State.PARKED, Input.LEAVE_WANTED): (State.LEAVING, Action.LEAVE),
    (State.LEAVING, Input.DRAINED): (State.DEAD, Action.FINISH),
    (State.LEAVING, Input.WORKER_FAILED): (State.DEAD, Action.FINISH),
    (State.BACKING_OFF, Input.RETRY_DUE): (State.STARTING, Action.START),
    (State.BACKING_OFF, Input.LEAVE_WANTED): (State.DEAD, Action.FINISH),
    **{(state, Input.STOP_WANTED): (State.DEAD, Action.FINISH) for state in State if state is not State.DEAD},
}
# Legal, and of no consequence.
_IGNORED: set[tuple[State, Input]] = {
    (State.BACKING_OFF, Input.IDENTITY_LOST),  # the registry's answer and the worker's end came together
    (State.BACKING_OFF, Input.WORKER_FAILED),  # the worker of a lost identity dies while it waits for its successor
    (State.LEAVING, Input.IDENTITY_LOST),  # it ends anyway; the successor is somebody else's
    (State.LEAVING, Input.LEAVE_WANTED),
    # An order comes by NATS and with the lease; one that comes while no worker serves comes again with the next lease.
    (State.SERVING, Input.UNDRAIN_ORDERED),
    (State.PARKED, Input.DRAIN_ORDERED),
    *(
        (state, order)
        for state in (State.STARTING, State.LEAVING, State.BACKING_OFF)
        for order in (Input.DRAIN_ORDERED, Input.UNDRAIN_ORDERED)
    ),
}

# First restart after 0.1-0.2 s (a crash should cost clients one move, not a pause), then doubling. The cap keeps a
# broken helper's load on the registry below one registration per 10 s.
RETRY_FIRST_S = 0.2
RETRY_MAX_S = 20.0
# A worker that served this long was healthy: the next failure starts from RETRY_FIRST_S again.
STABLE_S = 30.0
# Reported as a crash loop: this many failures within this time.
CRASH_LOOP_FAILURES = 5
CRASH_LOOP_WINDOW_S = 120.0


def backoff_s(attempt: int, random_unit: float, first_s: float = RETRY_FIRST_S, max_s: float = RETRY_MAX_S) -> float:
    """Delay before retry number `attempt` (from 0): doubling, capped, and spread over its upper half by `random_unit`
    in [0, 1), so that supervisors which failed together do not come back together."""
    full_s = min(max_s, first_s * 2.0 ** min(attempt, 30))
    return full_s * (0.5 + random_unit / 2)


def is_reported(failures: int) -> bool:
    """Whether failure number `failures` in a row gets a line of the log: 1, 2, 4, 8, ... An outage is no flood."""
    return failures & (failures - 1) == 0


@dataclass(frozen=True, slots=True)
class CrashLoop:
    """The worker keeps failing; this many times within the window."""

    failures: int
    window_s: float


class LifeCycle:
    """The state, and the memory of failures that decides delays and reports."""

    def __init__(self) -> None:
        self.state = State.STARTING
        self._serving_since_s = 0.0
        self._attempt = 0
        self._failures_s: deque[float] = deque(maxlen=CRASH_LOOP_FAILURES)

    def on(self, event: Input, now_s: float) -> Action:
        """Takes one input; anything the table does not hold is a programming error, unless the end was reached."""
        if self.state is State.DEAD or (self.state, event) in _IGNORED:
            return Action.NOTHING
        was = self.state
        self.state, action = _TABLE[(was, event)]
        if event is Input.WORKER_READY:
            self._serving_since_s = now_s
        elif action is Action.WAIT:
            self._note_failure(was, now_s)
        return action

    def _note_failure(self, was: State, now_s: float) -> None:
        if was in (State.SERVING, State.PARKED) and now_s - self._serving_since_s >= STABLE_S:
            self._attempt = 0
        self._attempt += 1
        self._failures_s.append(now_s)

    def retry_delay_s(self, random_unit: float) -> float:
        """How long Action.WAIT waits."""
        return backoff_s(self._attempt - 1, random_unit)

    def crash_loop(self, now_s: float) -> CrashLoop | None:
        """Whether the last failures came so close together that a person should look."""
        if len(self._failures_s) < CRASH_LOOP_FAILURES:
            return None
        window_s = now_s - self._failures_s[0]
        return CrashLoop(len(self._failures_s), window_s) if window_s <= CRASH_LOOP_WINDOW_S else None
