# SPDX-License-Identifier: Apache-2.0
"""`postman status`: the services, and the helpers and servers they know, as tables or JSON."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.markup import escape

from postman_cli.deployment import SERVICES, Deployment, DeploymentError
from postman_cli.output import console, show_json, show_table, told_errors

app = typer.Typer()

HELPER_COLUMNS = (
    "helper_id",
    "name",
    "site",
    "state",
    "desired_state",
    "verdict",
    "role",
    "incarnation",
    "data_address",
    "version",
)
SERVER_COLUMNS = (
    "server_id",
    "service",
    "site",
    "state",
    "incarnation",
    "host",
    "tcp_port",
    "data_address",
    "udp_port",
)


@app.command("status")
def status(json_out: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Show the services' health, the helpers with health's verdicts and their roles, and the servers.

    Asks the control plane of `postman up` in this checkout; POSTMAN_REGISTRY_URL, POSTMAN_PLACEMENT_URL and
    POSTMAN_HEALTH_URL with POSTMAN_API_KEY or POSTMAN_API_KEY_FILE name another one. Exit status 1 if a service is not
    ready.
    """
    with told_errors("status"):
        facts = gather(Deployment.find("viewer"))
    if json_out:
        show_json(facts)
    else:
        _show(facts)
    if not facts["ready"]:
        raise typer.Exit(1)


def gather(deployment: Deployment) -> dict[str, Any]:
    """Everything that is shown. The registry must answer; what the others would add is left out when they do not."""
    services = {service: deployment.readiness(service) for service in SERVICES}
    helpers = deployment.all_pages("registry", "/v1/helpers")
    _join(helpers, "verdict", _verdicts(deployment))
    epoch, roles = _roles(deployment)
    _join(helpers, "role", roles)
    return {
        "registry_url": deployment.urls["registry"],
        "ready": all(service["ready"] for service in services.values()),
        "services": services,
        "assignment_epoch": epoch,
        "helpers": helpers,
        "servers": deployment.all_pages("registry", "/v1/servers"),
    }


def _join(helpers: list[dict[str, Any]], column: str, known: dict[int, str]) -> None:
    for helper in helpers:
        helper[column] = known.get(helper["helper_id"])


def _verdicts(deployment: Deployment) -> dict[int, str]:
    try:
        return {item["helper_id"]: item["verdict"] for item in deployment.all_pages("health", "/v1/verdicts")}
    except DeploymentError:
        return {}


def _roles(deployment: Deployment) -> tuple[int | None, dict[int, str]]:
    """The epoch in force, and how many groups have each helper as primary or backup."""
    try:
        answer = deployment.ask("placement", "GET", "/v1/assignments")
    except DeploymentError:
        return None, {}
    roles: dict[int, str] = {}
    for kind in ("backup", "primary"):  # primary wins
        roles |= {item[kind]: kind for item in answer.get("items", []) if item.get(kind) is not None}
    return answer.get("epoch"), roles


def _show(facts: dict[str, Any]) -> None:
    out = console()
    for name, service in facts["services"].items():
        checks = ", ".join(f"{check} {'well' if well else 'away'}" for check, well in service["checks"].items())
        state = "[green]ready[/]" if service["ready"] else "[red]not ready[/]"
        out.print(f"{name} {escape(service['url'])}: {state} ({escape(service.get('error') or checks)})")
    epoch = facts["assignment_epoch"]
    out.print("no assignments: no placement was applied" if epoch is None else f"assignments: epoch {epoch}")
    for title, columns in (("helpers", HELPER_COLUMNS), ("servers", SERVER_COLUMNS)):
        out.print(f"\n{len(facts[title])} {title}")
        if facts[title]:
            show_table(out, facts[title], columns)
