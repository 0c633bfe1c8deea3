# SPDX-License-Identifier: Apache-2.0
"""The step `lint`: formats, types and the borders between parts. Each tool counts as one test."""

from __future__ import annotations

import subprocess

from postman_cli.checkout import ROOT
from postman_cli.testing.model import Choice, Outcome
from postman_cli.testing.runner import Runner, StepFailed

NOTED_LINES = 8  # of a tool that complains; the log has all
TYPED_FOLDERS = (
    "devtools",
    "libs/contracts/src",
    "libs/kit/src",
    "libs/vcl/src",
    "libs/cli/src",
    "services/registry/src",
    "services/helper/src",
    "services/placement/src",
    "services/health/src",
)


def run(runner: Runner, choice: Choice) -> Outcome:
    """All tools run, also after one has failed."""
    c_files = _tracked("*.c", "*.h")
    tools: dict[str, list[str]] = {
        "ruff check": ["ruff", "check", "--no-fix", "."],
        "ruff format": ["ruff", "format", "--check", "."],
        "mypy": ["mypy", *TYPED_FOLDERS],
        "clang-format": ["clang-format", "--dry-run", "-Werror", *c_files],
        "check_layers": ["python", "devtools/check_layers.py"],
        "check_files": ["python", "devtools/check_files.py"],
        "cases": ["python", "devtools/cases.py", "--check"],
    }
    outcome = Outcome()
    for name, command in tools.items():
        start = runner.log.stat().st_size
        if runner.run(command) == 0:
            outcome.passed += 1
        else:
            outcome.add(Outcome.failure(f"{name} has complaints:"))
            outcome.notes += [f"  {line}" for line in runner.log_since(start).splitlines()[-NOTED_LINES:]]
    return outcome


def _tracked(*patterns: str) -> list[str]:
    """Files of the checkout that git knows or would take in; without git, all of them."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *patterns]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if listed.returncode != 0:
        raise StepFailed(f"git ls-files: {listed.stderr.strip()}")
    return sorted({name for name in listed.stdout.split("\0") if name and (ROOT / name).exists()})
