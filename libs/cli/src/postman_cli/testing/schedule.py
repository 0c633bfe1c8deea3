# SPDX-License-Identifier: Apache-2.0
"""Which steps run beside which: as many as there are cores for, in the order of the table; exclusive ones alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from postman_cli.testing.leftovers import STEP_VARIABLE
from postman_cli.testing.model import Choice, Outcome, Result, Step
from postman_cli.testing.runner import Cancelled, Runner, StepFailed


class Schedule:
    """Runs steps in threads, each of which mostly waits for its programs."""

    def __init__(self, steps: Sequence[Step], choice: Choice, cores: int, logs: Path, env: dict[str, str]) -> None:
        self._waiting = list(steps)
        self._choice, self._cores, self._logs, self._env = choice, cores, logs, env
        self._running: dict[str, Step] = {}
        self._changed = threading.Condition()
        self._cancelled = threading.Event()
        self._results: list[Result] = []

    def run(self, on_start: Callable[[Step], None], on_end: Callable[[Result], None]) -> list[Result]:
        """Runs all steps; calls back from this thread only. KeyboardInterrupt ends all programs first."""
        threads: list[threading.Thread] = []
        told = 0
        try:
            while True:
                with self._changed:
                    for result in self._results[told:]:
                        on_end(result)
                    told = len(self._results)
                    for step in self._take_startable():
                        on_start(step)
                        threads.append(threading.Thread(target=self._run_step, args=(step,), name=step.name))
                        threads[-1].start()
                    if not self._running and not self._waiting:
                        return self._results
                    self._changed.wait(timeout=0.5)
        finally:
            self._cancelled.set()
            for thread in threads:
                thread.join()

    def _take_startable(self) -> list[Step]:
        taken: list[Step] = []
        for step in list(self._waiting):
            if not self._fits(step):
                continue
            self._waiting.remove(step)
            self._running[step.name] = step
            taken.append(step)
        return taken

    def _fits(self, step: Step) -> bool:
        if any(other.exclusive for other in self._running.values()):
            return False
        if step.exclusive:
            return not self._running and not any(not other.exclusive for other in self._waiting)
        busy = sum(other.cores for other in self._running.values())
        return not self._running or busy + step.cores <= self._cores

    def _run_step(self, step: Step) -> None:
        began_s = time.monotonic()
        env = self._env | {STEP_VARIABLE: step.name}
        runner = Runner(self._logs / f"{step.name}.log", env, step.budget_s, self._cancelled)
        try:
            outcome = step.run(runner, self._choice)
        except StepFailed as error:
            outcome = Outcome.failure(str(error))
        except Cancelled:
            outcome = Outcome.failure("interrupted")
        except Exception as error:  # a fault of the step's own code must fail the run, not hang it
            outcome = Outcome.failure(f"{type(error).__name__}: {error}")
        with self._changed:
            self._results.append(Result(step, outcome, time.monotonic() - began_s))
            del self._running[step.name]
            self._changed.notify()
