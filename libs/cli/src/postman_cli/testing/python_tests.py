# SPDX-License-Identifier: Apache-2.0
"""The steps `python`, `network` and `compose`: pytest. Tests marked `root` make network namespaces, those marked
`compose` containers: they run one at a time."""

from __future__ import annotations

import os
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from postman_cli.testing.model import Choice, Outcome
from postman_cli.testing.runner import Runner

NOTHING_COLLECTED = 5  # pytest's exit status
NOTES_MAX = 10


def run_unit(runner: Runner, choice: Choice) -> Outcome:
    """All tests without the marks `root` and `compose`, on all cores."""
    marks = "not root and not compose" + (" and not slow" if choice.fast else "")
    # loadscope: tests of one module share its fixtures, such as an embedded Postgres
    return _pytest(runner, choice, marks, ["--numprocesses", str(os.cpu_count() or 1), "--dist", "loadscope"])


def run_network(runner: Runner, choice: Choice) -> Outcome:
    """The tests marked `root`, one at a time."""
    if os.geteuid() != 0:
        return Outcome(skipped=1, notes=["needs root: run sudo ./postman test"])
    marks = "root and not slow" if choice.fast else "root"
    return _pytest(runner, choice, marks, ["-p", "no:xdist"])


def run_compose(runner: Runner, choice: Choice) -> Outcome:
    """The tests marked `compose`, one at a time."""
    return _pytest(runner, choice, "compose and not slow" if choice.fast else "compose", ["-p", "no:xdist"])


def _pytest(runner: Runner, choice: Choice, marks: str, options: list[str]) -> Outcome:
    report = runner.log.with_suffix(".xml")
    report.unlink(missing_ok=True)
    keyword = ["-k", choice.keyword] if choice.keyword else []
    # short: Unix sockets that tests make below it have at most 107 characters
    folder = Path(runner.env["TMPDIR"]) / runner.log.stem[0]
    pytest = ["python", "-m", "pytest", "-m", marks, f"--junit-xml={report}", f"--basetemp={folder}", "--durations=40"]
    status = runner.run([*pytest, *options, *keyword])
    if status == NOTHING_COLLECTED:
        return Outcome() if choice.keyword else Outcome.failure(f"no test with the marks '{marks}' was found")
    if not report.exists():
        return Outcome.failure(f"pytest ended with {status} before it wrote a report")
    outcome = read_report(report)
    if status != 0 and outcome.failed == 0:
        outcome.add(Outcome.failure(f"pytest ended with {status}"))
    return outcome


def read_report(report: Path) -> Outcome:
    """Counts of a JUnit report, with the names of what failed and the reasons of what was skipped."""
    outcome = Outcome()
    skips: dict[str, int] = {}
    for case in ElementTree.parse(report).iter("testcase"):  # noqa: S314 (pytest's own file)
        if case.find("failure") is not None or case.find("error") is not None:
            outcome.failed += 1
            if len(outcome.notes) < NOTES_MAX:
                outcome.notes.append(f"{case.get('classname')}::{case.get('name')}")
        elif (skipped := case.find("skipped")) is not None:
            outcome.skipped += 1
            reason = skipped.get("message", "")
            skips[reason] = skips.get(reason, 0) + 1
        else:
            outcome.passed += 1
    outcome.notes += [f"{count} skipped: {reason}" for reason, count in skips.items()]
    return outcome
