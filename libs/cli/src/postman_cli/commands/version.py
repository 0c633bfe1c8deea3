# SPDX-License-Identifier: Apache-2.0
"""`postman version`."""

from __future__ import annotations

import json
import platform
import subprocess
from typing import Annotated

import typer

from postman_cli import __version__
from postman_cli.checkout import ROOT

app = typer.Typer()


def _output(*command: str) -> str | None:
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    except FileNotFoundError:
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None


@app.command()
def version(json_out: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Print the versions of Postman and what it runs on."""
    facts = {
        "postman": __version__,
        "commit": _output("git", "describe", "--always", "--dirty"),
        "python": platform.python_version(),
        "dpdk": _output("pkg-config", "--modversion", "libdpdk"),
        "kernel": platform.release(),
        "machine": platform.machine(),
    }
    if json_out:
        typer.echo(json.dumps(facts))
        return
    for name, value in facts.items():
        typer.echo(f"{name:<8} {value or '-'}")
