# SPDX-License-Identifier: Apache-2.0
"""`postman build`: the set-up alone. ./postman has done it all before this runs; here it is only confirmed."""

from __future__ import annotations

import typer

from postman_cli.checkout import RELEASE_BUILD, ROOT

app = typer.Typer()


@app.command()
def build() -> None:
    """Set the checkout up: distribution packages, .venv, and the C parts in build/. Nothing else.

    All other commands do this too, so it is needed only to have it done beforehand.
    """
    if not (RELEASE_BUILD / "build.ninja").exists():
        typer.echo(f"postman: {RELEASE_BUILD} is missing; run {ROOT}/postman build, which makes it", err=True)
        raise typer.Exit(1)
    typer.echo("postman: ready")
