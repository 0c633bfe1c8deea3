# SPDX-License-Identifier: Apache-2.0
"""`postman bench`: measures one thing, or all, and says with what it is to be compared."""

from __future__ import annotations

import json
import signal
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from ..demo.stack import StackError
from ..lab.namespaces import LabError
from .catalog import BENCHES, Outcome, load
from .figure import Figure
from .site import Request

app = typer.Typer()

COUNTS = ("connections", "requests", "seconds", "runs", "kills", "pauses", "mib")


@app.command("bench")
def bench(
    name: Annotated[str | None, typer.Argument(help="Which bench; none lists them.")] = None,
    every: Annotated[bool, typer.Option("--all", help="All of them, one after the other.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="The same seed makes the same choices.")] = 1,
    connections: Annotated[int | None, typer.Option(min=1, max=60_000, help="Client connections.")] = None,
    requests: Annotated[int | None, typer.Option(min=1, help="Requests in all (churn: connections in all).")] = None,
    seconds: Annotated[int | None, typer.Option(min=1, max=3600, help="Length of each phase.")] = None,
    runs: Annotated[int | None, typer.Option(min=1, max=1000, help="How often it is measured.")] = None,
    kills: Annotated[int | None, typer.Option(min=0, max=10_000, help="Helpers killed.")] = None,
    pauses: Annotated[int | None, typer.Option(min=0, max=10_000, help="Helpers stopped for a moment.")] = None,
    mib: Annotated[int | None, typer.Option(min=1, help="Size of a transfer.")] = None,
    json_out: Annotated[bool, typer.Option("--json", help="One JSON object for each figure on a line.")] = False,
) -> None:
    """Measure what Postman costs and gains, with a baseline in the same run. Needs root: it makes a test network.

    Figures of one machine are compared with each other, not with those of another. Exit status 1 if a ledger was not
    clean: then the figures mean nothing.
    """
    if every == (name is not None):
        if every:
            raise typer.BadParameter("either --all or the name of one bench")
        _list(json_out)
        return
    if name is not None and name not in BENCHES:
        raise typer.BadParameter(f"no such bench: {name}; there are: {', '.join(BENCHES)}")
    counts = dict(zip(COUNTS, (connections, requests, seconds, runs, kills, pauses, mib), strict=True))
    for option, count in counts.items():
        if count is not None and name is not None and option not in BENCHES[name].options:
            raise typer.BadParameter(f"--{option} means nothing to {name}")
    console = Console(stderr=True)
    request = Request(lambda text: console.print(f"[dim]{text}[/]", highlight=False), seed=seed, **counts)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        failed = [one for one in ([name] if name else BENCHES) if not _run(one, request, console, json_out)]
    except KeyboardInterrupt:
        console.print("interrupted; everything that it had started was ended")
        raise typer.Exit(130) from None
    if failed:
        raise typer.Exit(1)


def _interrupt(number: int, frame: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # ending takes a moment; a second signal must not break it off
    raise KeyboardInterrupt


def _list(json_out: bool) -> None:
    if json_out:
        print(json.dumps({name: {"about": b.about, "options": sorted(b.options)} for name, b in BENCHES.items()}))
        return
    for name, known in BENCHES.items():
        print(f"{name:9} {known.about}")


def _run(name: str, request: Request, console: Console, json_out: bool) -> bool:
    console.print(f"[bold]{name}[/]: {BENCHES[name].about}", highlight=False)
    try:
        outcome = load(name)(request)
    except (LabError, StackError) as error:
        console.print(f"postman bench: {name}: {error}", markup=False)
        return False
    if json_out:
        for found in outcome.figures:
            print(json.dumps(found.as_dict()), flush=True)
    else:
        _show(name, outcome)
    for fault in outcome.faults:
        console.print(f"does not hold: {fault}", style="red", markup=False)
    return not outcome.faults


def _show(name: str, outcome: Outcome) -> None:
    table = Table("metric", "value", "baseline", "ratio", "runs", "spread", title=name)
    for found in outcome.figures:
        table.add_row(*_cells(found))
    Console().print(table)
    for what, fact in outcome.facts.items():
        print(f"{what}: {fact}")


def _cells(found: Figure) -> list[str]:
    def number(value: float | None) -> str:
        return "-" if value is None else f"{value:,.4g}" if abs(value) < 1e4 else f"{value:,.0f}"

    baseline = "-" if found.baseline is None else f"{number(found.baseline)} ({found.baseline_name})"
    spread = "-" if found.spread is None else " to ".join(number(value) for value in found.spread)
    return [found.metric, f"{number(found.value)} {found.unit}", baseline, number(found.ratio), str(found.runs), spread]
