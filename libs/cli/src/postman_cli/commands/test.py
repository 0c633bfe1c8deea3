# SPDX-License-Identifier: Apache-2.0
"""`postman test`: chooses the steps, runs them, and looks for what they left behind."""

from __future__ import annotations

import os
import secrets
import signal
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

import typer
from rich.console import Console

from postman_cli.checkout import LOGS, tool_env
from postman_cli.testing import leftovers, report, simulator
from postman_cli.testing.model import Choice, Outcome, Result, Step
from postman_cli.testing.schedule import Schedule
from postman_cli.testing.steps import NAMES, STEPS

app = typer.Typer()
TEST_LOGS = LOGS / "test"


@app.command("test")
def run_tests(
    only: Annotated[list[str] | None, typer.Option("--only", metavar="NAME", help="Run this step; repeatable.")] = None,
    list_steps: Annotated[bool, typer.Option("--list", help="List the steps and stop.")] = False,
    keyword: Annotated[str, typer.Option("-k", metavar="EXPR", help="Only the pytest tests that match.")] = "",
    sim_seed: Annotated[int | None, typer.Option(min=0, help="Simulate this one seed, with its trace.")] = None,
    sim_seeds: Annotated[int | None, typer.Option(min=1, help="Simulate so many seeds: 10,000, fast 200.")] = None,
    fast: Annotated[bool, typer.Option("--fast", help="Fewer seeds, 5 s per fuzzer, no slow tests.")] = False,
    json_out: Annotated[bool, typer.Option("--json", help="Print JSON; progress goes to standard error.")] = False,
) -> None:
    """Run all tests and checks, but for those only asked for by name: some 16 minutes on two cores.

    The last line is 'N passed, M failed' (', K skipped' may follow). Logs of the steps are in .postman/log/test/.
    """
    if list_steps:
        for step in STEPS:
            typer.echo(f"{step.name:<12} {step.about}")
        return
    steps = _chosen(only or [], keyword, sim_seed, sim_seeds)
    console = report.console(to_stderr=json_out)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        results = _run(steps, Choice(fast, keyword, sim_seed, sim_seeds), console)
    except KeyboardInterrupt:
        console.print("interrupted; all programs of the run were ended")
        raise typer.Exit(130) from None
    report.table(console, results)
    everything = report.total(results)
    print(report.as_json(results) if json_out else report.closing_line(everything))
    if everything.failed or everything.passed == 0:
        raise typer.Exit(1)


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _chosen(only: Sequence[str], keyword: str, sim_seed: int | None, sim_seeds: int | None) -> list[Step]:
    unknown = [name for name in only if name not in NAMES]
    if unknown:
        raise typer.BadParameter(f"no such step: {', '.join(unknown)}; there are: {', '.join(NAMES)}")
    if sim_seeds is not None:
        budget_s = simulator.budget_s(sim_seeds)
        steps = [replace(step, budget_s=budget_s) if step.name == "simulator" else step for step in STEPS]
        return [step for step in steps if step.name in (only or ["simulator"])]
    if only:
        return [step for step in STEPS if step.name in only]
    if sim_seed is not None:
        return [step for step in STEPS if step.name == "simulator"]
    return [step for step in STEPS if (step.uses_pytest or not keyword) and not step.only_asked]


def _run(steps: Sequence[Step], choice: Choice, console: Console) -> list[Result]:
    before, run_id, began_s = leftovers.snapshot(), secrets.token_hex(8), time.monotonic()

    running: list[str] = []
    status = console.status("")  # shown on terminals only

    def started(step: Step) -> None:
        running.append(step.name)
        status.update(f"running: {', '.join(running)}")
        console.print(f"[dim]start  {step.name:<12} {step.about}[/]", highlight=False)

    def ended(result: Result) -> None:
        if result.step.name in running:
            running.remove(result.step.name)
            status.update(f"running: {', '.join(running)}")
        report.finished(console, result, TEST_LOGS / f"{result.step.name}.log")

    # Unix socket paths have at most 107 characters, so the folder is not inside the checkout
    with tempfile.TemporaryDirectory(prefix="pm-", ignore_cleanup_errors=True) as scratch:
        env = tool_env() | {leftovers.RUN_VARIABLE: run_id, "TMPDIR": scratch}
        schedule = Schedule(steps, choice, os.cpu_count() or 1, TEST_LOGS, env)
        try:
            with status:
                results = schedule.run(started, ended)
        except KeyboardInterrupt:
            leftovers.check(before, run_id)
            raise
    looked_s = time.monotonic()
    outcome: Outcome = leftovers.check(before, run_id)
    step = Step("leftovers", "what the steps left on the machine", lambda runner, choice: outcome, budget_s=10)
    results = [*results, Result(step, outcome, time.monotonic() - looked_s)]
    ended(results[-1])
    console.print(f"all steps took {time.monotonic() - began_s:.0f} s", highlight=False)
    return results
