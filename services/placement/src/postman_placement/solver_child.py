# SPDX-License-Identifier: Apache-2.0
"""The process that solves: reads jobs from its standard input, writes answers to its standard output.

Both are pickles with their length before them. It ends when its input does.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any, BinaryIO, Final

from pydantic import TypeAdapter

from postman_contracts import rest_placement as rest
from postman_placement.domain import Infeasible, InvalidSnapshot, NotSolvedInTime, Solution
from postman_placement.explain import Placed, explain
from postman_placement.solve import solve
from postman_placement.solver_job import FRAME_LENGTH, Answered, Job, Said

_EXPLAINED: Final = TypeAdapter(tuple[rest.ExplainedAssignment, ...])
_NICENESS: Final = 5  # whoever serves requests on the same processors goes first


def do(job: Job, say: Callable[[Said, Any], None]) -> None:
    """Does a job, and says what came out of it; each better solution on the way as `improved`."""
    started_s = time.monotonic()
    try:
        solution = job.solution or solve(job.snapshot, job.options, lambda better: say("improved", better))
        solve_s = time.monotonic() - started_s
        placed = explain(job.snapshot, job.options, solution)
    except InvalidSnapshot as error:
        say("invalid", error.problems)
    except Infeasible as error:
        say("infeasible", error.reasons)
    except NotSolvedInTime as error:
        say("late", str(error))
    except Exception as error:  # a fault of ours: told to whoever waits, and the next job may be well
        traceback.print_exc(file=sys.stderr)
        say("failed", repr(error))
    else:
        say("answered", _answered(solution, placed, solve_s))


def _answered(solution: Solution, placed: Placed, solve_s: float) -> Answered:
    return Answered(
        assignments=solution.assignments,
        cost=placed.cost,
        bound=placed.bound,
        gap=placed.gap,
        is_optimal=placed.is_optimal,
        solve_s=solve_s,
        helpers=placed.helpers,
        explained=_EXPLAINED.dump_json(placed.assignments),
        notes=placed.notes,
    )


def main() -> None:
    """Does jobs until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal's group: the service ends us
    os.nice(_NICENESS)
    jobs, answers = sys.stdin.buffer, os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a library prints is a log line and no answer

    def say(said: Said, what: Any) -> None:
        frame = pickle.dumps((said, what))
        answers.write(FRAME_LENGTH.pack(len(frame)))
        answers.write(frame)
        answers.flush()

    while (frame := _read_frame(jobs)) is not None:
        do(pickle.loads(frame), say)  # noqa: S301 # from the process that started us


def _read_frame(stream: BinaryIO) -> bytes | None:
    head = stream.read(FRAME_LENGTH.size)
    if len(head) < FRAME_LENGTH.size:
        return None
    (length,) = FRAME_LENGTH.unpack(head)
    frame = stream.read(length)
    return frame if len(frame) == length else None


if __name__ == "__main__":
    main()
