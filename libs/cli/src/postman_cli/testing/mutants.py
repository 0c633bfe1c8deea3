# SPDX-License-Identifier: Apache-2.0
"""The step `mutants`: devtools/mutants.py plants bugs in a copy of the transport; its tests must see each of them."""

from __future__ import annotations

import re

from postman_cli.checkout import ROOT
from postman_cli.testing.model import Choice, Outcome
from postman_cli.testing.runner import Runner

PROGRAM = ROOT / "devtools" / "mutants.py"
TOTALS = re.compile(r"^mutants: (\d+) planted, (\d+) survived", re.MULTILINE)
SURVIVOR = re.compile(r"^\S+ +[\d.]+ s +SURVIVES.*$", re.MULTILINE)


def run(runner: Runner, choice: Choice) -> Outcome:
    """One planted bug counts as one test."""
    status = runner.run(["python", PROGRAM])
    return read_totals(runner.log.read_text(errors="replace"), status)


def read_totals(text: str, status: int) -> Outcome:
    totals = TOTALS.search(text)
    if not totals:
        return Outcome.failure(f"mutants ended with {status}: {text.strip().splitlines()[-1] if text.strip() else ''}")
    planted, survived = int(totals[1]), int(totals[2])
    outcome = Outcome(passed=planted - survived, failed=survived, notes=SURVIVOR.findall(text))
    if planted == 0 or (status != 0) != (survived != 0):
        outcome.add(Outcome.failure(f"mutants ended with {status} after {planted} planted bugs"))
    return outcome
