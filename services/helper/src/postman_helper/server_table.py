# SPDX-License-Identifier: Apache-2.0
"""From the worker's table of servers to the registry's, in the fewest commands. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from postman_contracts.rest import TrunkServer

Table = dict[tuple[int, int], TrunkServer]


@dataclass(frozen=True, slots=True)
class SetServer:
    """Add or replace one shard."""

    server: TrunkServer


@dataclass(frozen=True, slots=True)
class RemoveServer:
    """Remove a server with all its shards."""

    server_id: int


Command = SetServer | RemoveServer


def table_of(servers: Iterable[TrunkServer]) -> Table:
    """Servers by (server_id, shard)."""
    return {(server.server_id, server.shard): server for server in servers}


def table_diff(old: Table, new: Table) -> list[Command]:
    """Commands that turn `old` into `new`. The worker removes whole servers only: one that loses a shard is removed
    and its other shards are set again, which costs its clients a moment of `unknown_server` drops."""
    shrunk = {server_id for server_id, shard in old if (server_id, shard) not in new}
    commands: list[Command] = [RemoveServer(server_id) for server_id in sorted(shrunk)]
    for key in sorted(new):
        if new[key] != old.get(key) or key[0] in shrunk:
            commands.append(SetServer(new[key]))
    return commands


def table_after(table: Table, command: Command) -> Table:
    """The table once the worker has taken a command."""
    if isinstance(command, SetServer):
        return table | {(command.server.server_id, command.server.shard): command.server}
    return {key: server for key, server in table.items() if key[0] != command.server_id}


def describe(command: Command) -> str:
    """A command for the log, without keys."""
    if isinstance(command, SetServer):
        server = command.server
        return f"set {server.server_id} shard {server.shard} at {server.data_address}:{server.udp_port}"
    return f"remove {command.server_id}"
