# SPDX-License-Identifier: Apache-2.0
"""Runs the commands of a step into its log file and says on standard error what is going on, briefly."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

ANNOUNCE_AFTER_S = 0.3  # steps with nothing to do stay silent
LOG_TAIL_LINES = 25


class SetupError(Exception):
    """The set-up cannot go on: why, what to do about it, and the log that has the details."""

    def __init__(self, cause: str, repair: str = "", log: Path | None = None) -> None:
        super().__init__(cause)
        self.cause, self.repair, self.log = cause, repair, log


class CommandFailed(Exception):
    """A command ended with a non-zero status."""


def say(text: str) -> None:
    """One line for the person; standard output belongs to the sub-command."""
    print(f"postman: {text}", file=sys.stderr, flush=True)


class Step:
    """One step of the set-up: announces itself when it takes longer than a moment, and its duration at the end."""

    def __init__(self, title: str, log: Path, details: str = "") -> None:
        self.title, self.log, self.details = title, log, details
        self._started_s = time.monotonic()
        self._announced = False
        self._timer = threading.Timer(ANNOUNCE_AFTER_S, self.announce)
        self._timer.daemon = True

    def __enter__(self) -> Step:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self.log.write_bytes(b"")
        self._timer.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._timer.cancel()
        self._timer.join()
        if self._announced and error is None:
            say(f"{self.title}: done in {time.monotonic() - self._started_s:.0f} s")

    def announce(self) -> None:
        """Says the title once."""
        if not self._announced:
            self._announced = True
            say(f"{self.title}{self.details} ...")

    def run(self, command: Sequence[str | Path], *, cwd: Path, env: Mapping[str, str] | None = None) -> None:
        """Runs a command, its output into the log. Raises CommandFailed, or SetupError when it is not installed."""
        words = [str(word) for word in command]
        with self.log.open("ab") as log:
            log.write(f"$ {' '.join(words)}\n".encode())
            log.flush()
            try:
                status = subprocess.run(
                    words, cwd=cwd, env=dict(env or os.environ), stdin=subprocess.DEVNULL, stdout=log, stderr=log
                ).returncode
            except FileNotFoundError as error:
                raise SetupError(f"{words[0]} is not installed") from error
        if status != 0:
            raise CommandFailed(f"{words[0]} ended with status {status}")


def report(error: SetupError) -> None:
    """Prints a failure: the log's tail first, so that the cause and the repair stay on the screen."""
    if error.log and error.log.exists():
        tail = error.log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:]
        for line in tail:
            print(f"  | {line}", file=sys.stderr)
    say(f"error: {error.cause}")
    if error.repair:
        say(f"to repair: {error.repair}")
    if error.log:
        say(f"full log: {error.log}")
