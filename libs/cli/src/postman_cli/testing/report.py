# SPDX-License-Identifier: Apache-2.0
"""What a test run prints: a line per finished step, the table, and the closing line that other tools read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from postman_cli.testing.model import Outcome, Result

LOG_TAIL_LINES = 30
PLAIN_COLUMNS = 120


def console(*, to_stderr: bool) -> Console:
    """Where progress goes; wide enough for the table when it is no terminal."""
    plain = Console(stderr=to_stderr)
    return plain if plain.is_terminal else Console(stderr=to_stderr, width=PLAIN_COLUMNS)


def total(results: Sequence[Result]) -> Outcome:
    """All counts added up."""
    everything = Outcome()
    for result in results:
        everything.add(result.outcome)
    return everything


def closing_line(outcome: Outcome) -> str:
    """The form that other tools look for; alone on its line."""
    skipped = f", {outcome.skipped} skipped" if outcome.skipped else ""
    return f"{outcome.passed} passed, {outcome.failed} failed{skipped}"


def finished(out: Console, result: Result, log: Path) -> None:
    """Says how a step ended; of a failed one also the log's tail."""
    outcome, mark = result.outcome, "[red]failed[/]" if result.outcome.failed else "[green]ok[/]    "
    line = f"{mark} {result.step.name:<12} {closing_line(outcome)} in {result.duration_s:.1f} s"
    out.print(line, highlight=False, soft_wrap=True)
    for note in outcome.notes:
        out.print(f"         {escape(note)}", highlight=False, soft_wrap=True)
    if outcome.failed and log.exists():
        for line in log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:]:
            out.print(f"       | {escape(line)}", highlight=False, soft_wrap=True)
        out.print(f"       full log: {log}", highlight=False, soft_wrap=True)


def table(out: Console, results: Sequence[Result]) -> None:
    """One row per step."""
    rows = Table("step", "what", box=None, pad_edge=False)
    for heading in ("passed", "failed", "skipped", "seconds", "budget"):
        rows.add_column(heading, justify="right")
    for result in results:
        outcome, step = result.outcome, result.step
        style = "red" if outcome.failed else None
        counts = (str(outcome.passed), str(outcome.failed), str(outcome.skipped))
        rows.add_row(step.name, step.about, *counts, f"{result.duration_s:.1f}", f"{step.budget_s:.0f}", style=style)
    out.print()
    out.print(rows)
    out.print()


def as_json(results: Sequence[Result]) -> str:
    """The same for programs."""
    everything = total(results)
    steps = [
        {
            "name": result.step.name,
            "passed": result.outcome.passed,
            "failed": result.outcome.failed,
            "skipped": result.outcome.skipped,
            "duration_s": round(result.duration_s, 3),
            "budget_s": result.step.budget_s,
            "notes": result.outcome.notes,
        }
        for result in results
    ]
    counts = {"passed": everything.passed, "failed": everything.failed, "skipped": everything.skipped}
    return json.dumps({"steps": steps, **counts}, indent=2)
