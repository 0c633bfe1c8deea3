# SPDX-License-Identifier: Apache-2.0
"""The table of commands: every entry loads, wrong words end with status 2, help works without loading anything."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from postman_cli.main import COMMANDS, app_for


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_loads_and_has_help(name: str) -> None:
    result = CliRunner().invoke(app_for(name), [name, "--help"])
    assert result.exit_code == 0, result.output
    assert "Usage" in result.output


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_has_help(name: str) -> None:
    def without_help(command: Any) -> list[list[str]]:
        own = [one.opts for one in command.params if one.param_type_name == "option" and not one.help]
        return own + [opts for below in getattr(command, "commands", {}).values() for opts in without_help(below)]

    whole: Any = typer.main.get_command(app_for(name))
    assert without_help(whole.commands[name]) == []


def test_help_names_all_commands() -> None:
    result = CliRunner().invoke(app_for(None), ["--help"])
    assert result.exit_code == 0
    for name in COMMANDS:
        assert name in result.output


@pytest.mark.parametrize("words", [["nonsense"], ["version", "--nonsense"], ["test", "--only", "nonsense"]])
def test_wrong_usage_ends_with_status_2(words: list[str]) -> None:
    assert CliRunner().invoke(app_for(words[0]), words).exit_code == 2


def test_version_as_json() -> None:
    result = CliRunner().invoke(app_for("version"), ["version", "--json"])
    facts = json.loads(result.output)
    assert facts["postman"] == "0.1.0"
    assert facts["python"] == ".".join(map(str, sys.version_info[:3]))


def test_help_imports_no_command() -> None:
    program = (
        "import sys; from postman_cli.main import app_for; app_for(None);"
        "print([m for m in sys.modules if m.startswith('postman_cli.') and m != 'postman_cli.main'])"
    )
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("postman pla", {"place"}),
        ("postman place so", {"solve"}),
        ("postman place solve --he", {"--headroom", "--help"}),
    ],
)
def test_a_shell_completes_commands_and_options(line: str, expected: set[str]) -> None:
    words = {"_POSTMAN_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(line.split()) - 1)}
    program = [sys.executable, "-m", "postman_cli"]
    printed = subprocess.run(program, env=os.environ | words, capture_output=True, text=True, check=True).stdout
    assert set(printed.split()) == expected
