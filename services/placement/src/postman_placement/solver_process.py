# SPDX-License-Identifier: Apache-2.0
"""Solves in processes of their own: the event loop turns meanwhile, and a solver that overruns its time is killed.

A process is started at the first solve and kept. Jobs and answers are pickles with their length before them, on its
standard input and output; it ends when its input does, so also when we are killed. See solver_child.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import pickle
import sys
from typing import Any, Final

import structlog

from postman_placement.domain import Infeasible, InvalidSnapshot, NotSolvedInTime, Options, Snapshot, Solution
from postman_placement.solver_job import FRAME_LENGTH, Answered, Job, Said

OVERRUN_S: Final = 30.0
"""How long a solver may take beyond its `time_s_max`: to explain 20,000 assignments takes some 10 s of a processor."""

_log = structlog.get_logger(__name__)


class SolverFailed(Exception):
    """The process ended without an answer."""


class SolverProcess:
    """One process; one job at a time."""

    def __init__(self, *, overrun_s: float = OVERRUN_S) -> None:
        self._overrun_s = overrun_s
        self._process: asyncio.subprocess.Process | None = None

    async def solve(self, snapshot: Snapshot, options: Options) -> Answered:
        """The answer. Raises as solve.solve, or SolverFailed.

        If the time is over, the best solution that the solver told of before it was killed is the answer.
        """
        better: list[Solution] = []
        try:
            return await self._run(Job(snapshot, options), options.time_s_max + self._overrun_s, better)
        except TimeoutError:
            _log.warning("a solver overran its time and was killed", time_s_max=options.time_s_max)
        if not better:
            raise NotSolvedInTime("the solver did not end in time; allow fewer helpers or demands, or more time_s_max")
        try:
            return await self._run(Job(snapshot, options, better[-1]), self._overrun_s, better)
        except TimeoutError:
            raise SolverFailed("the solver found a placement and did not end explaining it") from None

    async def stop(self) -> None:
        """End the process, in the middle of a job or not."""
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def _run(self, job: Job, time_s_max: float, better: list[Solution]) -> Answered:
        """One job. Whatever goes wrong, the process is not used again, so that no answer is taken for another's."""
        is_done = False
        try:
            async with asyncio.timeout(time_s_max):
                said = await self._ask(job, better)
            is_done = True
        except TimeoutError:
            raise
        except (asyncio.IncompleteReadError, OSError) as error:
            raise SolverFailed(f"the solver ended: {error!r}") from None
        finally:
            if not is_done:
                await asyncio.shield(self.stop())
        return _answer_of(said)

    async def _ask(self, job: Job, better: list[Solution]) -> tuple[Said, Any]:
        if self._process is None or self._process.returncode is not None:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "postman_placement.solver_child"),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
            )
        to_child, from_child = self._process.stdin, self._process.stdout
        assert to_child is not None
        assert from_child is not None
        job_frame = pickle.dumps(job)
        to_child.write(FRAME_LENGTH.pack(len(job_frame)))
        to_child.write(job_frame)
        await to_child.drain()
        while True:
            (length,) = FRAME_LENGTH.unpack(await from_child.readexactly(FRAME_LENGTH.size))
            frame = await from_child.readexactly(length)
            said, what = pickle.loads(frame)  # noqa: S301 # from the process that we started
            if said != "improved":
                return said, what
            better[:] = [what]


def _answer_of(said: tuple[Said, Any]) -> Answered:
    kind, what = said
    if kind == "answered":
        assert isinstance(what, Answered)
        return what
    if kind == "invalid":
        raise InvalidSnapshot(what)
    if kind == "infeasible":
        raise Infeasible(what)
    if kind == "late":
        raise NotSolvedInTime(what)
    raise SolverFailed(what)
