# SPDX-License-Identifier: Apache-2.0
"""How commands print: tables for people, JSON for programs, errors on standard error with exit status 1."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import typer
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from postman_cli.deployment import DeploymentError
from postman_kit.settings import SettingsError

PIPE_COLUMNS: Final = 400  # a pipe has no width: what reads it shall get whole values


def console() -> Console:
    """For tables: as wide as the terminal, wide enough for everything in a pipe."""
    made = Console(highlight=False)
    if not made.is_terminal and "COLUMNS" not in os.environ:
        made.width = PIPE_COLUMNS
    return made


def show_table(out: Console, items: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """One row for each item; what an item lacks is a dash."""
    table = Table(*(Column(name, overflow="fold") for name in columns), box=None, pad_edge=False)
    for item in items:
        table.add_row(*(Text(_cell(item.get(column))) for column in columns))  # Text: [x] is no markup
    out.print(table)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.1f}"
    return str(value)


def show_json(document: Any) -> None:
    """Indented, on standard output."""
    print(json.dumps(document, indent=2))


@contextmanager
def told_errors(command: str) -> Iterator[None]:
    """Errors that have a cause and a repair end the command with status 1 and their text."""
    try:
        yield
    except (DeploymentError, SettingsError) as error:
        typer.echo(f"postman {command}: {error}", err=True)
        raise typer.Exit(1) from None
