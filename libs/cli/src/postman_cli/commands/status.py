# SPDX-License-Identifier: Apache-2.0
"""`postman status`: what the registry knows, as tables or JSON."""

from __future__ import annotations

import json
from typing import Annotated, Any

import httpx
import typer
from rich.console import Console
from rich.table import Table

from postman_cli.checkout import STATE
from postman_cli.control_plane import Ready, running
from postman_kit.settings import PostmanSettings, SettingsError

app = typer.Typer()
ANSWER_S_MAX = 5.0
PAGES_MAX = 1000

HELPER_COLUMNS = ("helper_id", "name", "state", "incarnation", "data_address", "client_port", "trunk_port", "version")
SERVER_COLUMNS = (
    "server_id",
    "service",
    "state",
    "incarnation",
    "host",
    "tcp_port",
    "data_address",
    "udp_port",
    "shards",
)


class StatusError(Exception):
    """Nothing can be shown; the text says why and what to do."""


@app.command("status")
def status(json_out: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Show the registry's health, and the helpers and servers that it knows.

    Asks the control plane of `postman up` in this checkout; POSTMAN_REGISTRY_URL with POSTMAN_API_KEY or
    POSTMAN_API_KEY_FILE names another one.
    """
    try:
        url, key = _target(running(STATE / "up"))
        facts = _ask(url, key)
    except (StatusError, SettingsError) as error:
        typer.echo(f"postman status: {error}", err=True)
        raise typer.Exit(1) from None
    if json_out:
        print(json.dumps(facts, indent=2))
    else:
        _show(facts)
    if not facts["ready"]:
        raise typer.Exit(1)


def _target(local: Ready | None) -> tuple[str, str]:
    """Where to ask and with which key: the environment and postman.toml win over what runs in this checkout."""
    settings = PostmanSettings.load()
    told = settings.model_fields_set
    if local and "registry_url" not in told:
        if told & {"api_key", "api_key_file"}:
            return local.registry_url, settings.client_api_key()
        with open(local.api_key_files["viewer"]) as file:  # noqa: PTH123 (a name from up.json)
            return local.registry_url, file.read().strip()
    if "registry_url" not in told and not told & {"api_key", "api_key_file"}:
        raise StatusError("no control plane runs in this checkout. Start one with: ./postman up")
    return settings.registry_url, settings.client_api_key()


def _ask(url: str, key: str) -> dict[str, Any]:
    try:
        with httpx.Client(base_url=url, timeout=ANSWER_S_MAX, headers={"Authorization": f"Bearer {key}"}) as client:
            health = client.get("/readyz").json()
            return {
                "registry_url": url,
                "ready": health.get("status") == "ready",
                "checks": health.get("checks", {}),
                "helpers": _all_pages(client, "/v1/helpers"),
                "servers": _all_pages(client, "/v1/servers"),
            }
    except httpx.ConnectError:
        raise StatusError(f"no registry answers on {url}. Start one with ./postman up, or correct the URL") from None
    except (httpx.HTTPError, ValueError) as error:
        raise StatusError(f"{url}: {error}") from None


def _all_pages(client: httpx.Client, path: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    after: int | None = None
    for _ in range(PAGES_MAX):
        answer = client.get(path, params={} if after is None else {"after": after})
        body = answer.json()
        if answer.is_error:
            raise StatusError(f"{path}: {answer.status_code} {body.get('title', '')}: {body.get('detail', '')}")
        items += body["items"]
        after = body["next"]
        if after is None:
            return items
    raise StatusError(f"{path}: more than {PAGES_MAX} pages")


def _show(facts: dict[str, Any]) -> None:
    console = Console()
    checks = ", ".join(f"{name} {'well' if well else 'away'}" for name, well in facts["checks"].items())
    state = "[green]ready[/]" if facts["ready"] else "[red]not ready[/]"
    console.print(f"registry {facts['registry_url']}: {state} ({checks})", highlight=False)
    for title, columns in (("helpers", HELPER_COLUMNS), ("servers", SERVER_COLUMNS)):
        items = facts[title]
        console.print(f"\n{len(items)} {title}", highlight=False)
        if not items:
            continue
        table = Table(*columns, box=None, pad_edge=False)
        for item in items:
            table.add_row(*(str(item.get(column, "-")) for column in columns))
        console.print(table)
