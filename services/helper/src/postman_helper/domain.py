# SPDX-License-Identifier: Apache-2.0
"""The life cycle of one worker, pure: inputs and times are arguments, actions come out.

            START                     WORKER_READY
    (run) ────────▶ starting ───────────────────────▶ serving
                     ▲    │ WORKER_FAILED               │ │
           RETRY_DUE │    ▼          WORKER_FAILED,     │ │ DRAIN_WANTED
                    backing-off ◀───────────────────────┘ ▼
                          │            IDENTITY_LOST    draining
             DRAIN_WANTED ▼                               │ DRAINED, WORKER_FAILED
                         dead ◀───────────────────────────┘

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
    DRAINING = "draining"
    BACKING_OFF = "backing-off"
    DEAD = "dead"


class Input(StrEnum):
    """What happened."""

    WORKER_READY = "worker-ready"
    WORKER_FAILED = "worker-failed"  # exited, or never became ready
    IDENTITY_LOST = "identity-lost"  # the registry knows a newer incarnation, or does not know this helper
    RETRY_DUE = "retry-due"
    DRAIN_WANTED = "drain-wanted"
    DRAINED = "drained"
    STOP_WANTED = "stop-wanted"  # without draining, or in the middle of it


class Action(StrEnum):
    """What is to be done about it."""

    NOTHING = "nothing"
    START = "start"  # register, stop a worker of the old identity, spawn
    WAIT = "wait"  # retry_delay_s(), then RETRY_DUE
    DRAIN = "drain"
    FINISH = "finish"  # stop the worker, give the lease back, end


_TABLE: dict[tuple[State, Input], tuple[State, Action]] = {
    (State.STARTING, Input.WORKER_READY): (State.SERVING, Action.NOTHING),
    (State.STARTING, Input.WORKER_FAILED): (State.BACKING_OFF, Action.WAIT),
    (State.STARTING, Input.DRAIN_WANTED): (State.DEAD, Action.FINISH),
    (State.SERVING, Input.WORKER_FAILED): (State.BACKING_OFF, Action.WAIT),
    (State.SERVING, Input.IDENTITY_LOST): (State.BACKING_OFF, Action.WAIT),
    (State.SERVING, Input.DRAIN_WANTED): (State.DRAINING, Action.DRAIN),
    (State.DRAINING, Input.DRAINED): (State.DEAD, Action.FINISH),
    (State.DRAINING, Input.WORKER_FAILED): (State.DEAD, Action.FINISH),
    (State.BACKING_OFF, Input.RETRY_DUE): (State.STARTING, Action.START),
    (State.BACKING_OFF, Input.DRAIN_WANTED): (State.DEAD, Action.FINISH),
    **{(state, Input.STOP_WANTED): (State.DEAD, Action.FINISH) for state in State if state is not State.DEAD},
}
# Legal, and of no consequence.
_IGNORED: set[tuple[State, Input]] = {
    (State.BACKING_OFF, Input.IDENTITY_LOST),  # the registry's answer and the worker's end came together
    (State.BACKING_OFF, Input.WORKER_FAILED),  # the worker of a lost identity dies while it waits for its successor
    (State.DRAINING, Input.IDENTITY_LOST),  # the drain goes on; the successor is somebody else's
    (State.DRAINING, Input.DRAIN_WANTED),  # the order came by NATS and by the lease answer
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
        if was is State.SERVING and now_s - self._serving_since_s >= STABLE_S:
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
