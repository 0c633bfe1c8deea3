# SPDX-License-Identifier: Apache-2.0
"""Runs the programs of a step: into the step's log, inside its time budget, in a process group of their own."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from postman_cli.checkout import ROOT

GRACE_S = 5.0  # between SIGTERM and SIGKILL; a sanitized program writes its report in that time


class StepFailed(Exception):
    """A program that the step cannot go on without ended badly; the text says which and how."""


class Cancelled(Exception):
    """The whole run is ending."""


class Runner:
    """One step's way to run programs. Programs get `env`; what they print goes to `log`."""

    def __init__(self, log: Path, env: Mapping[str, str], budget_s: float, cancelled: threading.Event) -> None:
        self.log, self.env = log, dict(env)
        self._ends_s = time.monotonic() + budget_s
        self._cancelled = cancelled
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_bytes(b"")

    def run(
        self,
        command: Sequence[str | Path],
        *,
        cwd: Path = ROOT,
        env: Mapping[str, str] | None = None,
        log: Path | None = None,
    ) -> int:
        """Runs a program to its end and returns its status; over budget it is ended and StepFailed raised."""
        words = [str(word) for word in command]
        with (log or self.log).open("ab") as out:
            out.write(f"$ {' '.join(words)}\n".encode())
            out.flush()
            try:
                process = subprocess.Popen(
                    words,
                    cwd=cwd,
                    env=self.env | dict(env or {}),
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=out,
                    start_new_session=True,
                )
            except OSError as error:
                raise StepFailed(f"{words[0]} cannot be run: {error.strerror}") from error
            try:
                return self._wait(process, Path(words[0]).name)
            finally:
                end_group(process)

    def must(self, command: Sequence[str | Path], *, cwd: Path = ROOT, env: Mapping[str, str] | None = None) -> None:
        """Runs a program that has to succeed for the step to make sense."""
        status = self.run(command, cwd=cwd, env=env)
        if status != 0:
            words = " ".join(str(word) for word in command[:2])
            raise StepFailed(f"{words} ended with {status}")

    def log_since(self, offset: int) -> str:
        """What was logged after the log had this many bytes."""
        with self.log.open("rb") as log:
            log.seek(offset)
            return log.read().decode(errors="replace")

    def _wait(self, process: subprocess.Popen[bytes], name: str) -> int:
        while True:
            try:
                return process.wait(timeout=0.1)
            except subprocess.TimeoutExpired:
                if self._cancelled.is_set():
                    raise Cancelled from None
                if time.monotonic() > self._ends_s:
                    raise StepFailed(f"{name} was still running when the step's time was over") from None


def end_group(process: subprocess.Popen[bytes]) -> None:
    """Ends what is left of a program's process group: asked first, then forced."""
    for number, wait_s in ((signal.SIGTERM, GRACE_S), (signal.SIGKILL, GRACE_S)):
        if not _group_alive(process):
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        ends_s = time.monotonic() + wait_s
        while _group_alive(process) and time.monotonic() < ends_s:
            time.sleep(0.02)


def _group_alive(process: subprocess.Popen[bytes]) -> bool:
    process.poll()  # collect the leader, else its entry keeps the group alive
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return False
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return any(_group(pid) == process.pid and is_alive(pid) for pid in pids)


def is_alive(pid: int) -> bool:
    """Whether it runs: in a container without an init, ended orphans stay as zombies, which are not alive."""
    fields = _stat(pid)
    return bool(fields) and fields[0] not in "ZX"


def _group(pid: int) -> int:
    fields = _stat(pid)
    return int(fields[2]) if fields else 0


def _stat(pid: int) -> list[str]:
    """State, parent, group and more, the fields after the name; empty when there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return []
