# SPDX-License-Identifier: Apache-2.0
"""`postman place`: tell placement what there is, have it solved, look at the reasons, put it in force."""

from __future__ import annotations

import json
import time
import tomllib
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console

from postman_cli.deployment import Deployment, DeploymentError
from postman_cli.output import console, show_json, show_table, told_errors

app = typer.Typer(no_args_is_help=True, help="Decide which helpers the clients use, and put it in force.")

LARGE_S: Final = 60.0  # for thousands of demands, beyond the solver's time: to check, explain, store, wait for a turn
ACKNOWLEDGED_S_MAX: Final = 2.0  # helpers say it with their heartbeats, five a second
ACKNOWLEDGED_LOOK_S: Final = 0.2
INPUT_KEYS: Final = frozenset({"sites", "links", "demands"})
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
PlacementId = Annotated[str | None, typer.Argument(help="A placement's id [default: the newest].")]


@app.command("set")
def set_inputs(
    file: Annotated[Path, typer.Argument(help="TOML or JSON with sites, links and demands.")],
    json_out: Json = False,
) -> None:
    """Replace the topology (sites, links) and the demands by what a file says. What the file leaves out stays."""
    with told_errors("place set"):
        inputs = read_inputs(file)
        deployment = Deployment.find("operator")
        versions = {}
        if inputs.keys() & {"sites", "links"}:
            known = deployment.ask("placement", "GET", "/v1/topology")
            topology = {part: inputs.get(part, known[part]) for part in ("sites", "links")}
            versions["topology"] = deployment.ask("placement", "PUT", "/v1/topology", body=topology, timeout_s=LARGE_S)[
                "version"
            ]
        if "demands" in inputs:
            demands = {"items": inputs["demands"]}
            versions["demands"] = deployment.ask("placement", "PUT", "/v1/demands", body=demands, timeout_s=LARGE_S)[
                "version"
            ]
    if json_out:
        show_json(versions)
    else:
        for name, version in versions.items():
            typer.echo(f"{name}: version {version}")


def read_inputs(file: Path) -> dict[str, Any]:
    """The file's content; DeploymentError names what is wrong with it."""
    try:
        text = file.read_text("utf-8")
        inputs = json.loads(text) if file.suffix == ".json" else tomllib.loads(text)
        json.dumps(inputs, ensure_ascii=False, allow_nan=False).encode()  # no body can have TOML's dates and nan
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise DeploymentError(f"{file}: {error}. Give a file of TOML, or of JSON with the ending .json") from None
    if not isinstance(inputs, dict) or not inputs.keys() & INPUT_KEYS or inputs.keys() - INPUT_KEYS:
        names = ", ".join(sorted(INPUT_KEYS))
        raise DeploymentError(f"{file}: must have lists by the names {names}, at least one, and nothing else")
    return inputs


@app.command("get")
def get_inputs() -> None:
    """Print the topology and the demands that placement knows, as JSON that `place set` takes."""
    with told_errors("place get"):
        deployment = Deployment.find("viewer")
        topology = deployment.ask("placement", "GET", "/v1/topology")
        demands = deployment.ask("placement", "GET", "/v1/demands")
    show_json({"sites": topology["sites"], "links": topology["links"], "demands": demands["items"]})


@app.command("solve")
def solve(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show; it cannot be applied.")] = False,
    apply_it: Annotated[bool, typer.Option("--apply", help="Put it in force at once.")] = False,
    headroom: Annotated[float, typer.Option(min=0, max=0.99, help="Share of each helper that stays free.")] = 0.3,
    backup_required: Annotated[bool, typer.Option("--backup-required", help="Refuse groups without one.")] = False,
    exclude_helper: Annotated[list[int] | None, typer.Option(help="A helper id not to use; repeatable.")] = None,
    time_s_max: Annotated[float, typer.Option(min=0.1, max=60, help="The solver's time.")] = 10.0,
    json_out: Json = False,
) -> None:
    """Have the best placement found for what is known now, and show it."""
    if dry_run and apply_it:
        raise typer.BadParameter("a dry run cannot be applied; give --dry-run or --apply")
    request = {
        "dry_run": dry_run,
        "headroom": headroom,
        "backup_required": backup_required,
        "excluded_helpers": exclude_helper or [],
        "time_s_max": time_s_max,
    }
    with told_errors("place solve"):
        deployment = Deployment.find("operator")
        found = deployment.ask("placement", "POST", "/v1/placements", body=request, timeout_s=time_s_max + LARGE_S)
        if apply_it:
            found = _apply(deployment, found["placement_id"])
    _show(found, json_out)


@app.command("apply")
def apply_placement(placement_id: PlacementId = None, json_out: Json = False) -> None:
    """Put a placement in force: clients and helpers hear of it at once."""
    with told_errors("place apply"):
        deployment = Deployment.find("operator")
        applied = _apply(deployment, placement_id or _newest(deployment))
    _show(applied, json_out)


def _apply(deployment: Deployment, placement_id: str) -> dict[str, Any]:
    """In force at once; what the helpers say to it is waited for a moment, to be shown."""
    applied = deployment.ask("placement", "POST", f"/v1/placements/{placement_id}/apply", timeout_s=LARGE_S)
    deadline = time.monotonic() + ACKNOWLEDGED_S_MAX
    while any(helper["is_acknowledged"] is False for helper in applied["helpers"]) and time.monotonic() < deadline:
        time.sleep(ACKNOWLEDGED_LOOK_S)
        applied = deployment.ask("placement", "GET", f"/v1/placements/{placement_id}")
    return applied


@app.command("explain")
def explain(
    placement_id: PlacementId = None,
    group: Annotated[str | None, typer.Option(help="Only this group.")] = None,
    json_out: Json = False,
) -> None:
    """Show for each group why it has these helpers, what each part costs, and why not another."""
    with told_errors("place explain"):
        deployment = Deployment.find("viewer")
        found = deployment.ask(
            "placement", "GET", f"/v1/placements/{placement_id or _newest(deployment)}", timeout_s=LARGE_S
        )
    if group is not None:
        found["assignments"] = [item for item in found["assignments"] if item["group"] == group]
        if not found["assignments"]:
            typer.echo(f"postman place explain: placement {found['placement_id']} has no group {group}", err=True)
            raise typer.Exit(1)
    if json_out:
        show_json(found)
        return
    out = console()
    _show_summary(out, found)
    for item in found["assignments"]:
        _show_reasons(out, item)


def _newest(deployment: Deployment) -> str:
    items = deployment.ask("placement", "GET", "/v1/placements", params={"limit": 1})["items"]
    if not items:
        raise DeploymentError("there is no placement yet. Make one with: postman place solve")
    return str(items[0]["placement_id"])


@app.command("list")
def list_placements(json_out: Json = False) -> None:
    """Show the newest placements."""
    with told_errors("place list"):
        items = Deployment.find("viewer").ask("placement", "GET", "/v1/placements")["items"]
    if json_out:
        show_json(items)
    else:
        show_table(console(), items, ("placement_id", "state", "epoch", "made_at", "cost", "gap", "assignments"))


@app.command("show")
def show_assignments(json_out: Json = False) -> None:
    """Show who uses which helper now."""
    with told_errors("place show"):
        answer = Deployment.find("viewer").ask("placement", "GET", "/v1/assignments")
    if json_out:
        show_json(answer)
        return
    if answer["epoch"] is None:
        typer.echo("no placement was applied yet. Make one with: postman place solve --apply")
        return
    out = console()
    out.print(f"epoch {answer['epoch']}, placement {answer['placement_id']}")
    show_table(out, answer["items"], ("group", "service", "site", "primary", "backup"))


def _show(found: dict[str, Any], json_out: bool) -> None:
    if json_out:
        show_json(found)
        return
    out = console()
    _show_summary(out, found)
    show_table(out, [_row(item) for item in found["assignments"]], ("group", "service", "primary", "backup", "cost"))
    if found["state"] == "proposed":
        out.print(f"\nput it in force: postman place apply {found['placement_id']}")


def _row(item: dict[str, Any]) -> dict[str, Any]:
    def way(found: dict[str, Any] | None) -> str | None:
        return None if found is None else f"helper {found['helper_id']} at {found['site']}, {found['total_us']:,.0f} us"

    return item | {"primary": way(item["primary"]), "backup": way(item["backup"])}


def _show_summary(out: Console, found: dict[str, Any]) -> None:
    proof = "optimal" if found["is_optimal"] else f"at most {found['gap']:.2%} above the best"
    epoch = f", epoch {found['epoch']}" if found["epoch"] is not None else ""
    out.print(f"placement {found['placement_id']}: {found['state']}{epoch}; {proof}; {found['solve_s']:.2f} s")
    parts = ", ".join(f"{name.replace('_', ' ')} {value:,.0f}" for name, value in found["cost"].items())
    out.print(f"cost in packet-microseconds per second: {parts}; bound {found['bound']:,.0f}")
    for note in found["notes"]:
        out.print(f"note: {note}", markup=False)
    columns = ("helper_id", "name", "site", "role", "rate_pps", "capacity_pps", "worst_failure_rate_pps")
    show_table(out, found["helpers"], (*columns, "is_acknowledged"))
    out.print()


def _show_reasons(out: Console, item: dict[str, Any]) -> None:
    out.print(f"\n{item['group']} to {item['service']}: {item['rate_pps']:,.0f} packets/s, cost {item['cost']:,.0f}")
    for role in ("primary", "backup"):
        way = item[role]
        if way is None:
            out.print(f"  {role}: none: {item['backup_missing_reason']}", markup=False)
            continue
        legs = f"{way['client_leg_us']:,.0f} + {way['helper_us']:,.0f} + {way['server_leg_us']:,.0f} us"
        kind = "measured" if way["measured"] else "by links"
        out.print(f"  {role}: helper {way['helper_id']} at {way['site']}: {legs} ({kind}), cost {way['cost']:,.0f}")
    for other in item["alternatives"]:
        more = "" if other["cost_difference"] is None else f" ({other['cost_difference']:+,.0f})"
        out.print(f"  not helper {other['helper_id']} at {other['site']}: {other['reason']}{more}", markup=False)
