# SPDX-License-Identifier: Apache-2.0
"""The NATS server's configuration: one account with a user for each kind of process, and what each may say and hear.

Without a user's password nobody gets in. Passwords are made at the first start, a file each.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from postman_contracts.permissions import USERS, NatsUser
from postman_kit.secret_files import kept_secret, private_folder

ADMIN: Final = "postman"
"""The operator's own user, who may do everything in the account; no service has its password."""

_ACCOUNT: Final = "POSTMAN"
_STORE_BYTES_MAX: Final = 1 << 30


@dataclass(frozen=True, slots=True)
class NatsServer:
    """What of the server's configuration depends on where it runs."""

    listen: str
    """ADDRESS:PORT."""
    store_dir: str
    pid_file: str = ""
    monitor: str = ""
    """ADDRESS:PORT of its pages on itself, which ask for no password; empty for none."""
    tls_cert: str = ""
    tls_key: str = ""


def nats_passwords(folder: Path) -> dict[str, str]:
    """The password of each user, from files in this folder that are made if need be."""
    private_folder(folder)
    return {name: kept_secret(folder / name) for name in (ADMIN, *USERS)}


def render_nats_config(server: NatsServer, passwords: dict[str, str]) -> str:
    """`server.conf`. The server's format is a superset of JSON."""
    admin: dict[str, Any] = {"user": ADMIN, "password": passwords[ADMIN]}
    users = [
        {"user": user.name, "password": passwords[user.name], "permissions": _permissions(user)}
        for user in USERS.values()
    ]
    config: dict[str, Any] = {
        "listen": server.listen,
        "jetstream": {"store_dir": server.store_dir, "max_file_store": _STORE_BYTES_MAX},
        "accounts": {_ACCOUNT: {"jetstream": "enabled", "users": [admin, *users]}},
    }
    if server.pid_file:
        config["pid_file"] = server.pid_file
    if server.monitor:
        config["http"] = server.monitor
    if server.tls_cert:
        config["tls"] = {"cert_file": server.tls_cert, "key_file": server.tls_key}
    return json.dumps(config, indent=2) + "\n"


def _permissions(user: NatsUser) -> dict[str, Any]:
    """What is not listed is refused. Who may publish nothing needs that said: an empty list would permit everything."""
    return {
        "publish": {"allow": list(user.publish)} if user.publish else {"deny": [">"]},
        "subscribe": {"allow": [*user.subscribe, f"{user.inbox_prefix}.>"]},
    }
