# SPDX-License-Identifier: Apache-2.0
"""Network namespaces without names.

A namespace is held by one sleeping child that dies with us, so even a lab that is killed with SIGKILL leaves nothing
behind: no entry under /run/netns, no veth, no bridge. Others enter it by the holder's pid (`nsenter -t PID -n -m`).
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


class LabError(RuntimeError):
    """The lab could not be built; the text names the cause and the repair."""


def die_with_parent() -> None:
    """Runs in a child between fork and exec: the kernel ends it when our process ends, however that happens."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def require_root() -> None:
    if os.geteuid() != 0:
        raise LabError("the lab makes network namespaces, which needs root: run it again with sudo")
    missing = [tool for tool in ("ip", "ethtool", "unshare", "nsenter") if shutil.which(tool) is None]
    if missing:
        raise LabError(f"not found: {', '.join(missing)}; `./postman build` installs them")


def run(argv: Sequence[str], *, what: str) -> None:
    """Runs a set-up command; its failure becomes a LabError with what it printed."""
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise LabError(f"{what} failed: {' '.join(argv)}: {done.stderr.strip() or done.stdout.strip()}")


class Namespace:
    """One host: a network namespace with a mount namespace whose /sys shows its own interfaces."""

    def __init__(self, name: str) -> None:
        self.name = name
        # The holder says "held" once it is inside, so that nobody enters too early.
        script = "ip link set lo up; mount -t sysfs sysfs /sys 2>/dev/null; echo held; exec sleep infinity"
        self._holder = subprocess.Popen(
            ["unshare", "--net", "--mount", "sh", "-c", script],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            preexec_fn=die_with_parent,
        )
        assert self._holder.stdout is not None
        assert self._holder.stderr is not None
        if self._holder.stdout.readline().strip() != b"held":
            cause = self._holder.stderr.read().decode().strip()
            self.close()
            raise LabError(f"cannot make a network namespace: {cause}; in a container it needs SYS_ADMIN and NET_ADMIN")

    @property
    def pid(self) -> int:
        return self._holder.pid

    def enter(self, argv: Sequence[str]) -> list[str]:
        """The command that runs argv inside this host; nsenter execs, so the pid is the program's own."""
        return ["nsenter", "-t", str(self.pid), "-n", "-m", "--", *argv]

    def run(self, *argv: str) -> None:
        run(self.enter(argv), what=f"set-up of host {self.name}")

    def start(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        stdin: int | IO[bytes] | None = subprocess.DEVNULL,
        stdout: int | IO[bytes] | None = None,
        stderr: int | IO[bytes] | None = None,
        cwd: Path | None = None,
    ) -> subprocess.Popen[bytes]:
        """Starts a program in this host; it dies with us."""
        return subprocess.Popen(
            self.enter(argv),
            env={**os.environ, **(env or {})},
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            cwd=cwd,
            preexec_fn=die_with_parent,
        )

    def write_sysfs(self, path: str, value: str) -> bool:
        """Sets a tunable of this host's interfaces; False where the kernel or the container does not let us."""
        done = subprocess.run(self.enter(["sh", "-c", f"echo {value} > {path}"]), capture_output=True, check=False)
        return done.returncode == 0

    def close(self) -> None:
        self._holder.kill()
        self._holder.wait()
        for stream in (self._holder.stdout, self._holder.stderr):
            if stream is not None:
                stream.close()
