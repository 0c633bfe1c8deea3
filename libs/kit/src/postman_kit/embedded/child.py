# SPDX-License-Identifier: Apache-2.0
"""A server as a child process: started, waited for, stopped; dead when we are; its leftovers recognised and removed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from postman_kit.embedded import launch
from postman_kit.secret_files import SecretError, kept_secret

HOST: Final = "127.0.0.1"
POLL_S: Final = 0.02
_LOG_TAIL_BYTES: Final = 2000
_LOG_BYTES_MAX: Final = 4 * 1024 * 1024


class EmbeddedError(Exception):
    """A server that cannot be started: why, and what to do."""


class StateDirectory:
    """The directory of one server: exists, private, and ours alone while we hold its lock."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._lock: int | None = None

    def acquire(self) -> None:
        """Make and lock it. The kernel frees the lock when we die, however we die: it is never stale."""
        if self._lock is not None:
            return
        try:
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise EmbeddedError(f"{self.path}: {error.strerror}. Choose another POSTMAN_STATE_DIR") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip()
            os.close(descriptor)
            raise EmbeddedError(
                f"{self.path} is in use by process {owner or '?'}. Stop that one, or choose another POSTMAN_STATE_DIR"
            ) from None
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._lock = descriptor

    def release(self) -> None:
        """Let others have it."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def secret(self, name: str) -> str:
        """The secret of this name: made at first use, in a file that only the owner reads."""
        try:
            return kept_secret(self.path / name)
        except SecretError:  # another secret would not be the one that the server was made with
            raise EmbeddedError(
                f"{self.path / name} is empty or was changed. Put back what it was, or remove {self.path} to begin "
                "anew; its content is lost"
            ) from None


def is_held(path: Path) -> bool:
    """Whether a process holds the state directory of this path now."""
    try:
        descriptor = os.open(path / "lock", os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


class Child:
    """One running server process."""

    def __init__(self, name: str, log_path: Path, stop_signal: signal.Signals) -> None:
        self._name = name
        self._log_path = log_path
        self._stop_signal = stop_signal
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""
        return self._process.pid if self.is_running and self._process else None

    @property
    def is_running(self) -> bool:
        """Whether it runs now."""
        return self._process is not None and self._process.poll() is None

    @property
    def exit_status(self) -> int | None:
        """How it ended, None while it runs or before it was started."""
        return self._process.poll() if self._process else None

    def start(
        self, command: list[str], *, identity: str = "keep", environment: Mapping[str, str] | None = None
    ) -> None:
        """Start it, with our environment or the given one.

        It gets the stop signal when the thread that starts it ends, so this must be the main thread.
        """
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("start embedded servers from the main thread: they end with the thread that starts them")
        self._turn_log()
        with self._log_path.open("ab") as log:
            self._process = subprocess.Popen(
                launch_command(self._stop_signal, identity, command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for us; we stop it in order
                cwd=self._log_path.parent,
                env=environment,
            )

    def wait_until(self, is_ready: Callable[[], bool], timeout_s: float) -> None:
        """Poll until it is ready. EmbeddedError with the end of its log if it dies or takes too long."""
        deadline = time.monotonic() + timeout_s
        while not is_ready():
            if not self.is_running:
                raise EmbeddedError(f"{self._name} ended with status {self.exit_status}:\n{self.log_tail()}")
            if time.monotonic() > deadline:
                raise EmbeddedError(f"{self._name} was not ready within {timeout_s:g} s:\n{self.log_tail()}")
            time.sleep(POLL_S)

    def stop(self, timeout_s: float = 10.0) -> None:
        """Ask it to end, then make it end."""
        process = self._process
        if process is None:
            return
        for order in (self._stop_signal, signal.SIGKILL):
            if process.poll() is not None:
                break
            process.send_signal(order)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout_s)
        self._process = None

    def _turn_log(self) -> None:
        """One old log is kept, so that logs stay bounded over any number of starts."""
        with contextlib.suppress(OSError):
            if self._log_path.stat().st_size > _LOG_BYTES_MAX:
                self._log_path.rename(self._log_path.with_name(self._log_path.name + ".old"))

    def log_tail(self) -> str:
        """The end of its log."""
        try:
            return self._log_path.read_bytes()[-_LOG_TAIL_BYTES:].decode("utf-8", "replace").strip()
        except OSError:
            return "(no log)"


def launch_command(stop_signal: signal.Signals, identity: str, command: list[str]) -> list[str]:
    """The command line that becomes `command`, see launch.py. -I -S: no site, nothing of the environment: fast."""
    launcher = [sys.executable, "-I", "-S", launch.__file__]
    return [*launcher, str(os.getpid()), str(int(stop_signal)), identity, *command]


def end_leftover(pid: int, stop_signal: signal.Signals, timeout_s: float = 10.0) -> None:
    """End a process that is not our child: the server of an owner that died."""
    for order in (stop_signal, signal.SIGKILL):
        deadline = time.monotonic() + timeout_s
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, order)
        while time.monotonic() < deadline:
            if not is_alive(pid):
                return
            time.sleep(POLL_S)
    raise EmbeddedError(f"process {pid} does not end. End it by hand")


def is_alive(pid: int) -> bool:
    """Whether this process exists and is no zombie. One whose first thread is a zombie lives while others end."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text("ascii", errors="replace").rpartition(")")[2].split()[0]
        return state not in "ZX" or len(os.listdir(f"/proc/{pid}/task")) > 1  # noqa: PTH208
    except (OSError, IndexError):
        return False


def choose_port(port: int, name: str, host: str = HOST, *, before: int = 0) -> int:
    """The port itself if it is free; for 0 the one it had before if that is free, else any free one."""
    if port == 0 and before != 0:
        with contextlib.suppress(EmbeddedError):
            return choose_port(before, name, host)
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise EmbeddedError(
                f"{name}: port {port} on {host} cannot be had: {error.strerror}. Stop what uses it (see 'ss -ltnp'), "
                "or choose another"
            ) from None
        return int(probe.getsockname()[1])
