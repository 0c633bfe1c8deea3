# SPDX-License-Identifier: Apache-2.0
"""`postman status`: what the registry knows, as tables or JSON."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from postman_cli.checkout import STATE
from postman_cli.control_plane import Ready, running
from postman_kit.settings import PostmanSettings, SettingsError

app = typer.Typer()
ANSWER_S_MAX = 5.0
PAGES_MAX = 1000
PIPE_COLUMNS = 400  # a pipe has no width: what reads it shall get whole values

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
        try:
            return local.registry_url, Path(local.api_key_files["viewer"]).read_text().strip()
        except (OSError, KeyError) as error:
            raise StatusError(f"no key for {local.registry_url}: {error}. Set POSTMAN_API_KEY_FILE") from None
    if "registry_url" not in told and not told & {"api_key", "api_key_file"}:
        raise StatusError("no control plane runs in this checkout. Start one with: ./postman up")
    return settings.registry_url, settings.client_api_key()


def _ask(url: str, key: str) -> dict[str, Any]:
    try:
        with httpx.Client(
            base_url=url,
            timeout=ANSWER_S_MAX,
            headers={"Authorization": f"Bearer {key}"},
            trust_env=False,  # a proxy for the web is no way to the registry
        ) as client:
            health = _object(client.get("/readyz"))
            return {
                "registry_url": url,
                "ready": health.get("status") == "ready",
                "checks": health.get("checks", {}),
                "helpers": _all_pages(client, "/v1/helpers"),
                "servers": _all_pages(client, "/v1/servers"),
            }
    except httpx.ConnectError:
        raise StatusError(f"no registry answers on {url}. Start one with ./postman up, or correct the URL") from None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise StatusError(f"{url}: {error or type(error).__name__}") from None


def _object(answer: httpx.Response) -> dict[str, Any]:
    try:
        body = answer.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise StatusError(f"{answer.url}: the answer ({answer.status_code}) is not a registry's. Correct the URL")
    return body


def _all_pages(client: httpx.Client, path: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    after: int | None = None
    for _ in range(PAGES_MAX):
        answer = client.get(path, params={} if after is None else {"after": after})
        body = _object(answer)
        if answer.is_error:
            raise StatusError(f"{path}: {answer.status_code} {body.get('title', '')}: {body.get('detail', '')}")
        items += body.get("items", [])
        after = body.get("next")
        if after is None:
            return items
    raise StatusError(f"{path}: more than {PAGES_MAX} pages")


def _show(facts: dict[str, Any]) -> None:
    console = Console()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = PIPE_COLUMNS
    checks = ", ".join(f"{name} {'well' if well else 'away'}" for name, well in facts["checks"].items())
    state = "[green]ready[/]" if facts["ready"] else "[red]not ready[/]"
    console.print(f"registry {facts['registry_url']}: {state} ({checks})", highlight=False)
    for title, columns in (("helpers", HELPER_COLUMNS), ("servers", SERVER_COLUMNS)):
        items = facts[title]
        console.print(f"\n{len(items)} {title}", highlight=False)
        if not items:
            continue
        table = Table(*(Column(name, overflow="fold") for name in columns), box=None, pad_edge=False)
        for item in items:
            table.add_row(*(Text(str(item.get(column, "-"))) for column in columns))  # Text: [x] is no markup
        console.print(table)
