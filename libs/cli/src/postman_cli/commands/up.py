# SPDX-License-Identifier: Apache-2.0
"""`postman up`: the control plane in the foreground, until Ctrl-C or SIGTERM."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from postman_cli.checkout import STATE
from postman_cli.control_plane import ControlPlane, EmbeddedError, running
from postman_cli.service_child import Service
from postman_kit.settings import SettingsError

app = typer.Typer()
LOOK_S = 0.2
ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@app.command("up")
def up(
    host: Annotated[
        str, typer.Option(help="Address for the services and NATS; Postgres is on loopback.")
    ] = "127.0.0.1",
    registry_port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 4780,
    placement_port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 4781,
    health_port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 4782,
    nats_port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 4222,
    state_dir: Annotated[Path | None, typer.Option(help="Data, keys and logs [default: .postman/up].")] = None,
    json_out: Annotated[bool, typer.Option("--json", help="One JSON object when ready, on one line.")] = False,
) -> None:
    """Run the control plane (Postgres, NATS, registry, placement, health) in the foreground; Ctrl-C ends it.

    Data and keys stay in .postman/up for the next time. While it runs, .postman/up/env has the variables that other
    programs need (`. .postman/up/env`), and .postman/up/env.helper those of a helper.
    """
    state = state_dir or STATE / "up"
    other = running(state)
    if other:
        _fail(f"it runs already, as process {other.pid}, on {other.registry_url}")
    for number in ENDS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup, and shells for jobs in the background, have it
            signal.signal(number, _interrupt)

    def say(text: str) -> None:
        typer.echo(f"postman up: {text}", err=True)

    ports: dict[Service, int] = {"registry": registry_port, "placement": placement_port, "health": health_port}
    plane = ControlPlane(state, host=host, nats_port=nats_port, ports=ports, progress=say)
    try:
        with plane:
            _show(plane, state, json_out)
            while True:
                time.sleep(LOOK_S)
                plane.revive()
    except (EmbeddedError, SettingsError) as error:
        _fail(str(error))
    except (OSError, subprocess.SubprocessError) as error:  # no space, no permission, a machine that stands still
        _fail(f"{error}. State is in {state}, see there and the space left (df)")
    except KeyboardInterrupt:
        say("ended")
        return


def _interrupt(number: int, frame: object) -> None:
    for each in ENDS:
        signal.signal(each, signal.SIG_IGN)  # ending takes a moment; a second signal must not break it off
    raise KeyboardInterrupt


def _show(plane: ControlPlane, state: Path, json_out: bool) -> None:
    if json_out:
        print(json.dumps(asdict(plane.ready)), flush=True)
        return
    print(f"\n# for other terminals; the same as:  . {state / 'env'}")
    print((state / "env").read_text())
    print(f"# a helper has a NATS user of its own:  . {state / 'env.helper'}\n")
    print("API keys, by role:", ", ".join(plane.ready.api_key_files.values()))
    print("Ctrl-C ends it.", flush=True)


def _fail(cause: str) -> None:
    typer.echo(f"postman up: {cause}", err=True)
    raise typer.Exit(1)
