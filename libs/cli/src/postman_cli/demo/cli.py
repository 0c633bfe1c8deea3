# SPDX-License-Identifier: Apache-2.0
"""`postman demo`: the main job in one command, with progress while it runs, and a table and the ledger at its end."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from ..lab.namespaces import LabError
from .run import Demo, DemoOptions
from .stack import StackError, work_dir_for

app = typer.Typer()


@app.command()
def demo(
    connections: Annotated[int, typer.Option(min=1, max=4096, help="Client connections.")] = 64,
    requests: Annotated[int, typer.Option(min=1, max=100_000_000, help="Requests in all.")] = 200_000,
    depth: Annotated[int, typer.Option(min=1, max=64, help="Requests outstanding per connection.")] = 1,
    hold_us_max: Annotated[int, typer.Option(min=0, max=10_000, help="A helper holds no message longer.")] = 100,
    kill: Annotated[bool, typer.Option(help="Kill the helper in use halfway.")] = True,
    json_out: Annotated[bool, typer.Option("--json", help="End with one JSON object on standard output.")] = False,
) -> None:
    """Send small requests through a DPDK helper, kill it halfway, and compare the endpoints' ledgers.

    Needs root: it makes network namespaces of its own, with no route out. Everything it starts ends with it.
    """
    options = DemoOptions(connections, requests, depth, hold_us_max, kill)
    console = Console(stderr=json_out)
    try:
        runner = Demo(options, work_dir_for("demo"), console.print)
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:,}"), TimeElapsedColumn())
        with Progress(*columns, console=console, transient=True) as bar:
            task = bar.add_task("replies", total=requests)
            runner.progress = lambda replies: bar.update(task, completed=replies)
            result = runner.run()
    except (LabError, StackError) as error:
        typer.echo(f"postman demo: {error}", err=True)
        raise typer.Exit(1) from error
    if json_out:
        typer.echo(json.dumps(result))
    else:
        _show(console, result)
    sys.exit(0 if result["ok"] else 1)


def _show(console: Console, result: dict[str, Any]) -> None:
    table = Table("", *(phase["name"] for phase in result["phases"]), title="Requests of 64 bytes")
    rows = {
        "sent": "sent",
        "delivered": "replies delivered",
        "requests_per_s": "requests/s",
        "p50_us": "latency p50, µs",
        "p99_us": "latency p99, µs",
        "server_cpu_us_per_request": "server process CPU, µs/request",
        "messages_per_trunk_datagram": "messages per trunk datagram",
    }
    for key, label in rows.items():
        table.add_row(label, *("-" if p[key] is None else f"{p[key]:,}" for p in result["phases"]))
    console.print(table)
    book = result["ledger"]
    books = Table("connections", "sent", "delivered", "lost", "duplicated", "reordered", "corrupted", title="Ledger")
    books.add_row(*(f"{book[str(column.header)]:,}" for column in books.columns))
    console.print(books)
    for death in result["killed"]:
        resume = death["resume_ms"]
        text = f"helper {death['name']} killed: detected after {death['detection_ms']} ms; "
        if resume["connections"]:
            text += f"{resume['connections']} connections resumed, p50 {resume['p50']:.1f} ms, "
            text += f"p99 {resume['p99']:.1f} ms, max {resume['max']:.1f} ms after the kill"
        else:
            text += "no connection had anything left to send"
        console.print(text)
    for error in result["errors"][:10]:
        console.print(f"error: {error}", style="red")
    for claim in result["broken_claims"]:
        console.print(f"does not hold: {claim}", style="red")
    if result["ok"]:
        console.print("ledger clean, nothing lost", style="green")
