# SPDX-License-Identifier: Apache-2.0
"""A worker process under test: its configuration file, its start, its control socket, its end."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

DEADLINE_S = 20.0
DEVICE_REFUSED = 4  # exit status
HELPER_ID = 3
INCARNATION = 9
CID_KEY = bytes(range(16))
HELPER_IP = "198.18.0.10"

_libc = ctypes.CDLL(None)
_LSAN_OPTIONS = f"suppressions={Path(__file__).with_name('lsan.supp')}:print_suppressions=0"


def _die_with_parent() -> None:
    _libc.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: an aborted test run leaves no worker


class WorkerNotStarted(AssertionError):
    """It ended before it said `ready`."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(f"exit status {status}: {words.strip()}")
        self.status = status


def eventually(what: str, is_true: Callable[[], object], deadline_s: float = DEADLINE_S) -> None:
    """Polls until something holds; fails with its name when it does not within the deadline."""
    end = time.monotonic() + deadline_s
    while not is_true():
        if time.monotonic() > end:
            raise AssertionError(f"not within {deadline_s:g} s: {what}")
        time.sleep(0.002)


class WorkerFiles:
    """Configuration files in one folder."""

    def __init__(self, binary: Path, folder: Path) -> None:
        self.binary = binary
        self.folder = folder
        self.control_socket = folder / "control.sock"

    def text(self, **changes: str | int | None) -> str:
        """A good configuration with changes; None leaves a key out."""
        values: dict[str, str | int | None] = {
            "helper_id": HELPER_ID,
            "incarnation": INCARNATION,
            "cid_key": CID_KEY.hex(),
            "data_address": f"{HELPER_IP}/24",
            "device": "net_null0",
            "hugepages": "no",
            "memory_mb": 64,
            "flows_max": 4096,
            "servers_max": 64,
            "control_socket": str(self.control_socket),
            **changes,
        }
        return "".join(f"{key}={value}\n" for key, value in values.items() if value is not None)

    def write(self, text: str | None = None, **changes: str | int | None) -> Path:
        path = self.folder / "worker.conf"
        path.unlink(missing_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(self.text(**changes) if text is None else text)
        return path

    def run(self, text: str | None = None, **changes: str | int | None) -> subprocess.CompletedProcess[str]:
        """Runs a worker that is expected to end by itself."""
        argv = [self.binary, "--config", self.write(text, **changes)]
        return subprocess.run(
            argv, capture_output=True, text=True, check=False, timeout=DEADLINE_S, preexec_fn=_die_with_parent
        )


class Worker:
    """A started worker. A context manager; `with` returns when it said `ready`."""

    def __init__(
        self, binary: Path, config: Path, enter: Callable[[Sequence[str]], list[str]] = lambda argv: list(argv)
    ) -> None:
        lines = config.read_text().splitlines()
        self.config = dict(line.split("=", 1) for line in lines)
        self.control_socket = Path(self.config["control_socket"])
        self._argv = enter([str(binary), "--config", str(config)])
        self.ready: dict[str, Any] = {}

    def __enter__(self) -> Worker:
        self.process = subprocess.Popen(
            self._argv,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "LSAN_OPTIONS": _LSAN_OPTIONS},  # for a sanitized build of the worker
            preexec_fn=_die_with_parent,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            _, words = self.process.communicate(timeout=DEADLINE_S)
            raise WorkerNotStarted(self.process.returncode, words)
        self.ready = json.loads(line)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        try:
            _, self.words = self.process.communicate(timeout=DEADLINE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
            raise AssertionError("the worker ignored SIGTERM") from None
        if kind is None:
            assert self.process.returncode in (0, -signal.SIGKILL), self.words

    def stop(self) -> int:
        """SIGTERM, and its exit status."""
        self.process.terminate()
        return self.process.wait(timeout=DEADLINE_S)

    def connect(self) -> socket.socket:
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        client.settimeout(DEADLINE_S)
        client.connect(str(self.control_socket))
        return client

    def ask(self, line: str) -> dict[str, Any]:
        """One request on a connection of its own."""
        with self.connect() as client:
            client.sendall(line.encode() + b"\n")
            with client.makefile("r", encoding="ascii") as answers:
                answer: dict[str, Any] = json.loads(answers.readline())
                return answer

    def must(self, line: str) -> dict[str, Any]:
        answer = self.ask(line)
        assert answer["ok"] is True, answer
        return answer

    def stats(self) -> dict[str, Any]:
        return self.must("stats")

    def drops(self) -> dict[str, int]:
        """The drop counters that are not zero."""
        return {reason: count for reason, count in self.stats()["drops"].items() if count}

    def cpu_share(self, seconds: float) -> float:
        """CPU time over time, printed: too noisy on a shared machine to be asserted."""

        def used() -> float:
            fields = Path(f"/proc/{self.ready['pid']}/stat").read_text().rpartition(")")[2].split()
            return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

        start, start_used = time.monotonic(), used()
        time.sleep(seconds)  # the measured interval, not a wait for something
        share = (used() - start_used) / (time.monotonic() - start)
        sys.stdout.write(f"idle worker on {self.ready['driver']}: {share:.2%} of a core\n")
        return share
