# SPDX-License-Identifier: Apache-2.0
"""`postman traffic`: a server, a client that keeps sending to it, and a look at their ledgers."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from postman_cli import __version__
from postman_cli.traffic.book import WRITE_INTERVAL_S, BookError, read_book, write_book
from postman_cli.traffic.client import Plan, TrafficClient
from postman_cli.traffic.loop import stop_asked
from postman_cli.traffic.server import TrafficServer
from postman_kit import telemetry

app = typer.Typer(no_args_is_help=True, help="Requests that go on and on, each reply checked; for demonstrations.")

CONNECT_TIMEOUT_S = 10.0
Host = Annotated[str, typer.Option(help="Address of the server, as the registry has it.")]
Port = Annotated[int, typer.Option(min=1, max=65535, help="TCP port of the server.")]
Ledger = Annotated[
    Path, typer.Option(envvar="POSTMAN_TRAFFIC_LEDGER", help="The file that has the ledger, anew each second.")
]
DEFAULT_LEDGER = Path("postman-traffic.json")


@app.command("server")
def server(host: Host = "0.0.0.0", port: Port = 7000, ledger: Ledger = DEFAULT_LEDGER) -> None:  # noqa: S104
    """Answer requests until SIGTERM or Ctrl-C; then print the ledger. Exit status 1 if it is not clean."""
    exported = telemetry.setup("postman-traffic-server", __version__)
    import vcl

    try:
        serving = TrafficServer(vcl.create_server((host, port), backlog=1024))
    except OSError as error:
        _fail(f"cannot listen on {host}:{port}: {error}")
    with stop_asked() as asked:
        final = _run(serving.step, lambda: serving.book(vcl.stats()), asked, ledger)
        serving.close()
    exported.shutdown()
    _finish(final)


@app.command("client")
def client(
    host: Host,
    port: Port = 7000,
    connections: Annotated[int, typer.Option(min=1, max=4096, help="Streams to the server, at the same time.")] = 16,
    rate: Annotated[float, typer.Option(min=0.1, max=1e6, help="Requests per second, in all.")] = 500.0,
    depth: Annotated[int, typer.Option(min=1, max=1024, help="Requests outstanding per connection, at most.")] = 4,
    any_transport: Annotated[bool, typer.Option("--any-transport", help="Do not insist on VCL.")] = False,
    ledger: Ledger = DEFAULT_LEDGER,
) -> None:
    """Send requests and check the replies until SIGTERM or Ctrl-C; then wait for what is outstanding and print the
    ledger. Exit status 1 if it is not clean."""
    exported = telemetry.setup("postman-traffic-client", __version__)
    import vcl

    sending = TrafficClient(
        Plan(connections, rate, depth, any_transport), lambda: vcl.connect((host, port), timeout=CONNECT_TIMEOUT_S)
    )
    with stop_asked() as asked:

        def is_over() -> bool:
            if asked():
                sending.begin_stop()
            return sending.is_done

        _run(sending.step, sending.book, is_over, ledger)
        sending.close()
        final = sending.book() | {"final": True}
        _write(ledger, final)
    exported.shutdown()
    _finish(final)


@app.command("report")
def report(ledger: Ledger = DEFAULT_LEDGER) -> None:
    """Print the ledger as it stands, as JSON. Exit status 1 if it is not clean."""
    try:
        book = read_book(ledger)
    except BookError as error:
        _fail(str(error))
    _finish(book)


def _run(
    step: Callable[[], None], book: Callable[[], dict[str, Any]], is_over: Callable[[], bool], ledger: Path
) -> dict[str, Any]:
    """Steps until it is over, and writes the ledger each second. Returns the last one."""
    due_s = 0.0
    while not is_over():
        step()
        if time.monotonic() >= due_s:
            due_s = time.monotonic() + WRITE_INTERVAL_S
            _write(ledger, book())
    final = book() | {"final": True}
    _write(ledger, final)
    return final


def _write(ledger: Path, book: dict[str, Any]) -> None:
    try:
        write_book(ledger, book)
    except OSError as error:
        _fail(f"cannot write the ledger {ledger}: {os.strerror(error.errno or 0)}. Name another file with --ledger")


def _finish(book: dict[str, Any]) -> None:
    print(json.dumps(book, indent=2), flush=True)
    if not book.get("clean", False):
        raise typer.Exit(1)


def _fail(cause: str) -> NoReturn:
    typer.echo(f"postman traffic: {cause}", err=True)
    raise typer.Exit(1)
