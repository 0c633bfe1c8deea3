# SPDX-License-Identifier: Apache-2.0
"""`postman lab`: make a test network, run programs in its hosts, and leave nothing behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Annotated

import typer

from .namespaces import LabError
from .network import LabNetwork
from .topology import TOPOLOGIES, Topology

app = typer.Typer(
    help="Test networks of namespaces, with addresses of their own and no route out.", no_args_is_help=True
)

_STATE = "lab.json"


def _state_file() -> Path:
    return Path(os.environ.get("POSTMAN_STATE_DIR", ".postman")) / _STATE


def _topology(name: str) -> Topology:
    if name not in TOPOLOGIES:
        raise typer.BadParameter(f"no topology {name!r}; there are: {', '.join(TOPOLOGIES)}")
    return TOPOLOGIES[name]


def _describe(lab: LabNetwork) -> dict[str, object]:
    hosts = [
        {
            "name": host.name,
            "role": host.role,
            "pid": lab[host.name].pid,
            "mgmt_address": host.mgmt_address,
            "data_address": host.data_address if host.on_data_network else None,
        }
        for host in lab.topology.hosts
    ]
    return {"topology": lab.topology.name, "switch_pid": lab.switch.pid, "gro_tuned": lab.gro_tuned, "hosts": hosts}


def _fail(error: LabError) -> typer.Exit:
    typer.echo(f"postman lab: {error}", err=True)
    return typer.Exit(1)


@app.command("list")
def list_topologies(json_out: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the topologies."""
    if json_out:
        typer.echo(json.dumps({t.name: {"about": t.about, "hosts": len(t.hosts)} for t in TOPOLOGIES.values()}))
        return
    for t in TOPOLOGIES.values():
        typer.echo(f"{t.name:8} {t.about}: {' '.join(h.name for h in t.hosts)}")


@app.command()
def up(
    topology: Annotated[str, typer.Argument(help="Which topology; see `postman lab list`.")] = "demo",
    json_out: Annotated[bool, typer.Option("--json", help="Print the hosts as JSON.")] = False,
) -> None:
    """Make a topology and hold it until Ctrl-C or SIGTERM."""
    signals = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)  # before the children: they inherit it, and die with us anyway
    state = _state_file()
    try:
        with LabNetwork(_topology(topology)) as lab:
            described = _describe(lab)
            state.parent.mkdir(parents=True, exist_ok=True)
            state.write_text(json.dumps(described))
            if json_out:
                typer.echo(json.dumps(described))
            else:
                for host in lab.topology.hosts:
                    data = host.data_address if host.on_data_network else "-"
                    typer.echo(f"{host.name:5} {host.role:8} data {data:14} mgmt {host.mgmt_address}")
                typer.echo("run something in a host: ./postman lab exec c1 -- ping s1-address; Ctrl-C ends the lab")
            signal.sigwait(signals)
    except LabError as error:
        raise _fail(error) from error
    finally:
        state.unlink(missing_ok=True)


@app.command("exec", context_settings={"ignore_unknown_options": True})
def exec_in(
    host: Annotated[str, typer.Argument(help="The host's name, as `postman lab up` shows it.")],
    command: Annotated[list[str], typer.Argument(help="The command and its arguments, after `--`.")],
) -> None:
    """Run a command in a host of the lab that is up."""
    state = _state_file()
    if not state.exists():
        typer.echo("postman lab: no lab is up here; start one with `./postman lab up`", err=True)
        raise typer.Exit(1)
    pids = {h["name"]: h["pid"] for h in json.loads(state.read_text())["hosts"]}
    if host not in pids:
        typer.echo(f"postman lab: no host {host!r}; there are: {', '.join(pids)}", err=True)
        raise typer.Exit(1)
    os.execvp("nsenter", ["nsenter", "-t", str(pids[host]), "-n", "-m", "--", *command])  # noqa: S606 - the command is the user's own


@app.command("run", context_settings={"ignore_unknown_options": True})
def run_in(
    topology: Annotated[str, typer.Argument(help="Which topology.")],
    host: Annotated[str, typer.Argument(help="In which of its hosts.")],
    command: Annotated[list[str], typer.Argument(help="The command and its arguments, after `--`.")],
) -> None:
    """Make a topology, run one command in one host, take the topology down."""
    chosen = _topology(topology)
    if host not in {h.name for h in chosen.hosts}:
        raise typer.BadParameter(f"no host {host!r} in {topology}: {', '.join(h.name for h in chosen.hosts)}")
    try:
        with LabNetwork(chosen) as lab:
            code = subprocess.run(lab[host].enter(command), check=False).returncode
    except LabError as error:
        raise _fail(error) from error
    raise typer.Exit(code)
