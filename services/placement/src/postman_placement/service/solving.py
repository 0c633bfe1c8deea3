# SPDX-License-Identifier: Apache-2.0
"""How many solve at once, how many may wait for that, and what their failures are to a caller."""

from __future__ import annotations

import asyncio
from collections import Counter

import structlog
from opentelemetry import trace

from postman_kit.errors import unavailable
from postman_placement import refusals
from postman_placement.domain import Infeasible, InvalidSnapshot, NotSolvedInTime, Options, Snapshot
from postman_placement.solver_job import Answered
from postman_placement.solver_process import SolverFailed, SolverProcess

_tracer = trace.get_tracer(__name__)
_log = structlog.get_logger(__name__)


class Solvers:
    """A few solver processes and a short queue. `counters`: solved, infeasible, late, failed, refused (queue full)."""

    def __init__(self, *, at_once_max: int, waiting_max: int) -> None:
        self.counters: Counter[str] = Counter()
        self._waiting_max = waiting_max
        self._waiting = 0
        self._idle = [SolverProcess() for _ in range(at_once_max)]
        self._all = tuple(self._idle)
        self._free = asyncio.Semaphore(at_once_max)

    async def solve(self, snapshot: Snapshot, options: Options) -> Answered:
        """The answer, or a problem that says why there is none."""
        if self._free.locked() and self._waiting >= self._waiting_max:
            self.counters["refused"] += 1
            raise unavailable("As many placements as may wait are being solved. Send the same request again shortly.")
        self._waiting += 1
        try:
            await self._free.acquire()
        finally:
            self._waiting -= 1
        solver = self._idle.pop()
        try:
            with _tracer.start_as_current_span("solve") as span:
                span.set_attribute("postman.placement.demands", len(snapshot.demands))
                span.set_attribute("postman.placement.helpers", len(snapshot.helpers))
                return await self._solve(solver, snapshot, options)
        finally:
            self._idle.append(solver)
            self._free.release()

    async def _solve(self, solver: SolverProcess, snapshot: Snapshot, options: Options) -> Answered:
        outcome = "failed"
        try:
            answered = await solver.solve(snapshot, options)
            outcome = "solved"
        except Infeasible as error:
            outcome = "infeasible"
            raise refusals.infeasible(error.reasons) from None
        except InvalidSnapshot as error:
            outcome = "infeasible"
            raise refusals.infeasible(error.problems) from None
        except NotSolvedInTime as error:
            outcome = "late"
            raise refusals.not_in_time(str(error)) from None
        except SolverFailed as error:
            _log.error("a solver failed", error=str(error))
            raise unavailable("The solver failed; the service's log says how. Sending it again may help.") from None
        finally:
            self.counters[outcome] += 1
        return answered

    async def stop(self) -> None:
        """End all processes."""
        await asyncio.gather(*(solver.stop() for solver in self._all))
