# SPDX-License-Identifier: Apache-2.0
"""The step `simulator`: engines and relays in virtual time, thousands of seeded networks with faults."""

from __future__ import annotations

import os
import re

from postman_cli.checkout import RELEASE_BUILD
from postman_cli.testing.model import Choice, Outcome
from postman_cli.testing.runner import Runner

PROGRAM = RELEASE_BUILD / "libs" / "vcl" / "sim" / "vcl-sim"
SEEDS, SEEDS_FAST = 10_000, 200
BUDGET_S_MIN, BUDGET_S_PER_SEED = 240.0, 0.024  # 10,000 seeds in 4 minutes; two idle cores need a third of that
TOTALS = re.compile(r"^(\d+) seeds, (\d+) failed", re.MULTILINE)
FAILED_SEED = re.compile(r"^seed (\d+) FAILED.*$", re.MULTILINE)
NOTES_MAX = 5


def run(runner: Runner, choice: Choice) -> Outcome:
    """The same seeds each time, so that a failure is the change's; or one seed, with its trace in the log."""
    if not PROGRAM.exists():
        return Outcome.failure(f"{PROGRAM} was not built")
    if choice.sim_seed is not None:
        return _one(runner, choice.sim_seed)
    seeds = choice.sim_seeds or (SEEDS_FAST if choice.fast else SEEDS)
    status = runner.run([PROGRAM, "--from", "1", "--seeds", str(seeds), "--jobs", str(os.cpu_count() or 1)])
    return read_totals(runner.log.read_text(errors="replace"), status, seeds)


def budget_s(seeds: int) -> float:
    """How long so many seeds may take."""
    return max(BUDGET_S_MIN, seeds * BUDGET_S_PER_SEED)


def read_totals(text: str, status: int, seeds: int) -> Outcome:
    """One seed counts as one test; all seeds that were asked for must have run."""
    totals = TOTALS.search(text)
    if not totals:
        return Outcome.failure(f"vcl-sim ended with {status} before it told its totals")
    ran, failed = int(totals[1]), int(totals[2])
    outcome = Outcome(passed=ran - failed, failed=failed)
    outcome.notes = [match[0] for match in FAILED_SEED.finditer(text)][:NOTES_MAX]
    if failed:
        outcome.notes.append("one of them again, with its trace: ./postman test --sim-seed N")
    if ran != seeds or (status != 0 and failed == 0):
        outcome.add(Outcome.failure(f"vcl-sim ended with {status} after {ran} of {seeds} seeds"))
    return outcome


def _one(runner: Runner, seed: int) -> Outcome:
    status = runner.run([PROGRAM, "--seed", str(seed), "--trace", "--verbose"])
    if status == 0:
        return Outcome(passed=1, notes=[f"trace: {runner.log}"])
    return Outcome.failure(f"seed {seed} failed; its trace is in {runner.log}")
