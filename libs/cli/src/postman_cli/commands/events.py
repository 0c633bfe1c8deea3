# SPDX-License-Identifier: Apache-2.0
"""`postman events`: what happened, and what happens."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Annotated, Any, Final

import httpx
import typer

from postman_cli.deployment import Deployment, DeploymentError, Refused
from postman_cli.output import show_json, told_errors

app = typer.Typer()

PAGE_MAX: Final = 500  # what health answers at most at once
AGAIN_S: Final = 1.0
HIDDEN: Final = frozenset({"v", "event_id", "at", "evidence"})
"""Parts of an event that a line leaves out; --json has them."""


@app.command("events")
def events(
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what happens from now.")] = False,
    limit: Annotated[int, typer.Option(min=0, max=PAGE_MAX, help="How many of the newest.")] = 50,
    kind: Annotated[str | None, typer.Option(help="Such as helper.down or verdict.suspect.")] = None,
    helper_id: Annotated[int | None, typer.Option("--helper", min=1, max=65535, help="Only of this helper.")] = None,
    json_out: Annotated[bool, typer.Option("--json", help="JSON; with --follow one object a line.")] = False,
) -> None:
    """Show the events of the installation: helpers and servers that come and go, verdicts, assignments.

    Ctrl-C ends --follow.
    """
    filters = {name: value for name, value in (("kind", kind), ("helper_id", helper_id)) if value is not None}
    with told_errors("events"):
        deployment = Deployment.find("viewer")
        before = newest(deployment, {}, 1) if follow else []  # where to go on, also if nothing passes the filters
        found = newest(deployment, filters, limit)
        if json_out and not follow:
            show_json(found)
            return
        for event in found:
            _show(event, json_out)
        if follow:
            try:
                for event in live(deployment, filters, after=(found or before or [{"number": 0}])[-1]["number"]):
                    _show(event, json_out)
            except KeyboardInterrupt:
                raise typer.Exit(0) from None


def newest(deployment: Deployment, filters: dict[str, Any], limit: int) -> list[dict[str, Any]]:
    """The newest events that pass the filters, oldest first."""
    if limit == 0:
        return []
    params = {**filters, "limit": limit, "newest": True}
    items: list[dict[str, Any]] = deployment.ask("health", "GET", "/v1/events", params=params)["items"]
    return items


def live(deployment: Deployment, filters: dict[str, Any], *, after: int) -> Iterator[dict[str, Any]]:
    """Events after this number, as they are recorded; goes on where it was when the connection or health was away."""
    while True:
        try:
            with deployment.stream("health", "/v1/events/live", {**filters, "after": after}) as lines:
                for event in _events_of(lines):
                    after = event["number"]
                    yield event
        except DeploymentError as error:
            if isinstance(error, Refused) and error.status < httpx.codes.INTERNAL_SERVER_ERROR:
                raise
            typer.echo(f"postman events: {error}; trying again", err=True)
        time.sleep(AGAIN_S)


def _events_of(lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    """The data of server-sent events: lines up to an empty one; other fields and comments do not matter here."""
    data: list[str] = []
    for line in lines:
        if line.startswith("data:"):
            data.append(line.removeprefix("data:").removeprefix(" "))
        elif not line and data:
            event = json.loads("\n".join(data))
            data = []
            if isinstance(event, dict):
                yield event


def _show(event: dict[str, Any], json_out: bool) -> None:
    if json_out:
        typer.echo(json.dumps(event))
        return
    body = event["body"]
    words = " ".join(f"{name}={_short(value)}" for name, value in body.items() if name not in HIDDEN)
    typer.echo(f"{event['number']:>6}  {event['at']}  {event['kind']:<20}  {words}")


def _short(value: Any) -> str:
    if isinstance(value, list):
        return f"[{len(value)}]"
    return json.dumps(value) if isinstance(value, dict) else str(value)
