# SPDX-License-Identifier: Apache-2.0
"""`postman drain`: take a helper out of use without anybody noticing, and bring it back."""

from __future__ import annotations

import time
from typing import Annotated, Any, Final

import typer

from postman_cli.deployment import Deployment, DeploymentError
from postman_cli.output import show_json, told_errors

app = typer.Typer()

LOOK_S: Final = 0.5
QUIET_S: Final = 3.0  # the registry has statistics of the last lease renewal, which may be a second old
FLOWS: Final = ("trunk_data_entries_out", "trunk_entries_in")


@app.command("drain")
def drain(
    helper: Annotated[str, typer.Argument(help="The helper's id or name.")],
    undo: Annotated[bool, typer.Option("--undo", help="Let it serve again.")] = False,
    wait: Annotated[
        bool, typer.Option(help="Wait until no data flows through it (with --undo: until it is up).")
    ] = True,
    timeout_s: Annotated[float, typer.Option(min=0, help="How long to wait.")] = 60.0,
    json_out: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Have a helper's sessions leave it, and no new ones come, until --undo. Its process goes on, idle.

    Exit status 0 only if it is drained (with --undo: up) in the end.
    """
    with told_errors("drain"):
        deployment = Deployment.find("operator")
        helper_id = find(deployment, helper)["helper_id"]
        deployment.ask("registry", "POST", f"/v1/helpers/{helper_id}/{'undrain' if undo else 'drain'}")
        if not json_out:
            typer.echo(f"helper {helper_id} was told to {'serve again' if undo else 'drain'}", err=True)
        if wait:
            await_end(deployment, helper_id, undo=undo, timeout_s=timeout_s)
        found = deployment.ask("registry", "GET", f"/v1/helpers/{helper_id}")
    if json_out:
        show_json(found)
    else:
        typer.echo(f"helper {helper_id} ({found['name']}) is {found['state']}{'' if undo or not wait else ', no data'}")


def find(deployment: Deployment, helper: str) -> dict[str, Any]:
    """The helper of this id or name."""
    helpers = deployment.all_pages("registry", "/v1/helpers")
    for column in ("helper_id", "name"):  # ids first: a name may look like the id of another
        for known in helpers:
            if helper == str(known[column]):
                return known
    names = ", ".join(f"{known['helper_id']} ({known['name']})" for known in helpers) or "none"
    raise DeploymentError(f"there is no helper {helper}. Known are: {names}")


def await_end(deployment: Deployment, helper_id: int, *, undo: bool, timeout_s: float) -> None:
    """Until it is up again, or is draining and its flow counters stand still; says what remains."""
    deadline = time.monotonic() + timeout_s
    flow: list[Any] = []
    still_since = time.monotonic()
    while True:
        found = deployment.ask("registry", "GET", f"/v1/helpers/{helper_id}")
        now = time.monotonic()
        if undo and found["state"] == "up":
            return
        if not undo:
            if found["state"] in ("down", "gone"):
                return
            seen = [found["stats"].get(name, 0) for name in FLOWS]
            if seen != flow:
                flow, still_since = seen, now
            if found["state"] == "draining" and now - still_since >= QUIET_S:
                return
        if now > deadline:
            what = f"is still {found['state']}" if undo or found["state"] != "draining" else "still carries data"
            raise DeploymentError(
                f"helper {helper_id} {what} after {timeout_s:g} s. Look at its clients (postman status), or wait longer"
            )
        time.sleep(LOOK_S)
