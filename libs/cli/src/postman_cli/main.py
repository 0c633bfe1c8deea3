# SPDX-License-Identifier: Apache-2.0
"""The table of commands. Only the module of the command that was asked for is imported, so each starts quickly."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import NamedTuple

import typer

HELP = """Postman carries many clients' small messages over helper nodes that join them into large packets.

Each command sets the checkout up first when something is missing or has changed. State is in .postman/ of the
checkout. Exit status: 0 well, 1 failed, 2 wrong usage.
"""

COMPLETION = "_POSTMAN_COMPLETE"
"""Set by the shell's completion script (`postman --install-completion`)."""


class Entry(NamedTuple):
    """Where a command is, and the line that --help shows."""

    module: str
    about: str


COMMANDS = {
    "build": Entry("postman_cli.commands.build", "Set the checkout up, nothing else."),
    "demo": Entry("postman_cli.demo.cli", "A test network on this machine with clients, helpers, servers and faults."),
    "bench": Entry("postman_cli.bench.cli", "Measure what Postman costs and gains."),
    "test": Entry("postman_cli.commands.test", "Run all tests and checks."),
    "fuzz": Entry("postman_cli.commands.fuzz", "Fuzz the parsers for longer than `test` does."),
    "up": Entry("postman_cli.commands.up", "Run the control plane (Postgres, NATS, services) in the foreground."),
    "status": Entry("postman_cli.commands.status", "Show the services, the helpers and the servers."),
    "place": Entry("postman_cli.commands.place", "Decide which helpers the clients use, and put it in force."),
    "drain": Entry("postman_cli.commands.drain", "Take a helper out of use unnoticed, and bring it back."),
    "events": Entry("postman_cli.commands.events", "Show what happened, and what happens."),
    "traffic": Entry("postman_cli.traffic.cli", "Send requests that go on and on, and check each reply."),
    "lab": Entry("postman_cli.lab.cli", "Make test networks and run programs in their hosts."),
    "version": Entry("postman_cli.commands.version", "Print the versions of Postman and what it runs on."),
}


def app_for(command: str | None) -> typer.Typer:
    """The command line with one command loaded; the others are there for --help and for spelling suggestions."""
    app = typer.Typer(
        name="postman",
        help=HELP,
        no_args_is_help=True,
        add_completion=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for name, entry in COMMANDS.items():
        if name == command:
            _add(app, name, entry)
        else:
            app.command(name, help=entry.about)(_not_loaded)
    return app


def _add(app: typer.Typer, name: str, entry: Entry) -> None:
    loaded = importlib.import_module(entry.module).app
    assert isinstance(loaded, typer.Typer)
    single = len(loaded.registered_commands) == 1 and not loaded.registered_groups and not loaded.registered_callback
    if single:
        callback = loaded.registered_commands[0].callback
        assert callback is not None
        app.command(name)(callback)
    else:
        app.add_typer(loaded, name=name)


def _not_loaded() -> None:
    raise AssertionError("only the command on the command line is ever called")


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of `postman` and `python -m postman_cli`."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words and COMPLETION in os.environ:  # a shell asks for the ends of a word: of which command, it says here
        words = os.environ.get("COMP_WORDS", os.environ.get("_TYPER_COMPLETE_ARGS", "")).split()[1:]
        app_for(_command_of(words))([], prog_name="postman")
        return
    if words[:1] == ["help"]:
        words = [*words[1:2], "--help"]
    app_for(_command_of(words))(words, prog_name="postman")


def _command_of(words: Sequence[str]) -> str | None:
    return next((word for word in words if not word.startswith("-")), None)
