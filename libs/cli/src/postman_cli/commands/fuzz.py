# SPDX-License-Identifier: Apache-2.0
"""`postman fuzz`: the fuzzers of the step `fuzz`, for as long as wanted."""

from __future__ import annotations

import json
import threading
from typing import Annotated

import typer
from rich.console import Console

from postman_cli.checkout import LOGS, tool_env
from postman_cli.testing import fuzzers, report
from postman_cli.testing.c_builds import FUZZED
from postman_cli.testing.model import Outcome
from postman_cli.testing.runner import Runner, StepFailed

app = typer.Typer()
BUILD_BUDGET_S = 600


@app.command("fuzz")
def fuzz(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Fuzzers; none means all.")] = None,
    seconds: Annotated[int, typer.Option(min=1, help="Time for each fuzzer.")] = 600,
    list_fuzzers: Annotated[bool, typer.Option("--list", help="List the fuzzers and stop.")] = False,
    json_out: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Fuzz the parsers under AddressSanitizer and UndefinedBehaviorSanitizer (needs clang).

    Inputs that widened the coverage are kept in .postman/fuzz/NAME/found, and inputs that failed in .postman/fuzz/NAME.
    """
    budget_s = BUILD_BUDGET_S + seconds * 100  # the fuzzers end themselves; this only bounds a hanging build
    runner = Runner(LOGS / "fuzz" / "fuzz.log", tool_env(), budget_s, threading.Event())
    try:
        if list_fuzzers:
            FUZZED.configure(runner)
            known = [fuzzer.name for fuzzer in fuzzers.find(runner.env)]
            typer.echo(json.dumps(known) if json_out else "\n".join(known))
            return
        outcome = fuzzers.run_fuzzers(runner, seconds, names or [])
    except StepFailed as error:
        outcome = Outcome.failure(f"{error}; see {runner.log}")
    if json_out:
        typer.echo(json.dumps({"passed": outcome.passed, "failed": outcome.failed, "notes": outcome.notes}))
    else:
        console = Console()
        for note in outcome.notes:
            console.print(note, highlight=False, markup=False)
        print(report.closing_line(outcome))
    if outcome.failed:
        raise typer.Exit(1)
