# SPDX-License-Identifier: Apache-2.0
"""The set-up from start to end: lock, packages, virtual environment, C build; then the sub-command takes over."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from bootstrap import c_build, packages, python_env
from bootstrap.checkout import Checkout
from bootstrap.progress import SetupError, report, say

HELP_WORDS = frozenset({"", "--help", "-h", "help"})
FIRST_HELP = """\
Postman: small messages of many clients, joined into large packets by helpers on the way. TCP-like sockets.

This checkout is not set up yet. The first command does that, in a few minutes:

  ./postman build   only the set-up: distribution packages (apt), .venv, the C parts
  ./postman demo    a test network on this machine, with clients, helpers and servers
  ./postman test    all tests

After that, ./postman --help lists all commands.
"""


def main(root: str, arguments: Sequence[str]) -> int:
    """Does what is missing and replaces this process by the sub-command. Returns only on failure."""
    checkout = Checkout(Path(root))
    command = arguments[0] if arguments else ""
    if command in HELP_WORDS and not (checkout.venv / "postman-stamp").exists():
        print(FIRST_HELP, end="")
        return 0
    try:
        _set_up(checkout, command)
    except SetupError as error:
        report(error)
        return 1
    except OSError as error:  # no space, or files of another user
        repair = f"see who owns {checkout.state}, {checkout.venv} and {checkout.build}, and the space left (df)"
        report(SetupError(f"{error.filename or 'set-up'}: {error.strerror}", repair))
        return 1
    except KeyboardInterrupt:
        say("interrupted; the next run goes on from here")
        return 130
    return _hand_over(checkout, arguments)


def _hand_over(checkout: Checkout, arguments: Sequence[str]) -> NoReturn:
    os.execv(checkout.python, [str(checkout.python), "-m", "postman_cli", *arguments])  # noqa: S606 (no shell)


def _set_up(checkout: Checkout, command: str) -> None:
    checkout.logs.mkdir(parents=True, exist_ok=True)
    with (checkout.state / "setup.lock").open("w") as lock:
        acquire(lock.fileno())
        packages.install(checkout, command)
        python_env.prepare(checkout)
        if command not in HELP_WORDS:
            c_build.build(checkout)


def acquire(lock_fd: int) -> None:
    """Waits for another invocation that is setting up, and says so."""
    try:
        fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say("another ./postman is setting this checkout up; waiting for it")
        fcntl.flock(lock_fd, fcntl.LOCK_EX)
