# SPDX-License-Identifier: Apache-2.0
"""The last step, `leftovers`: what the other steps left on the machine. Anything new fails the run.

Processes are known by a variable in their environment, so that nobody else's are meant. Files are only looked at in
the shared folders of the machine; names that are not like ours may be another program's and are mentioned, not failed.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
from dataclasses import dataclass, field
from pathlib import Path

from postman_cli.testing.model import Outcome

RUN_VARIABLE = "POSTMAN_TEST_RUN"
STEP_VARIABLE = "POSTMAN_TEST_STEP"
SHARED_FOLDERS = ("/tmp", "/run", "/run/dpdk", "/run/netns", "/dev/shm", "/dev/hugepages")  # noqa: S108 (looked at, not used)
OURS = re.compile(r"postman|vcl|pmw|dpdk|rte|rtemap|\.s\.PGSQL|postgres|pgdata|embedded_pg|nats", re.IGNORECASE)
OUR_INTERFACES = re.compile(r"pm|vcl|lab|dtap|helper|server|client")


@dataclass(frozen=True)
class Snapshot:
    """The state of the machine that a run could change."""

    files: frozenset[str] = field(default_factory=frozenset)
    interfaces: frozenset[str] = field(default_factory=frozenset)
    hugepages_used: int = 0


def snapshot() -> Snapshot:
    """Looks at the machine now."""
    files = {f"{folder}/{name}" for folder in SHARED_FOLDERS for name in _names(Path(folder))}
    return Snapshot(frozenset(files), frozenset(_names(Path("/sys/class/net"))), _hugepages_used())


def check(before: Snapshot, run_id: str) -> Outcome:
    """Compares with now. Processes of the run are ended after they were counted."""
    now, outcome = snapshot(), Outcome()
    for pid, step, command in processes_of(run_id):
        outcome.add(Outcome.failure(f"process {pid} of step {step}: {command}"))
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    for path in sorted(now.files - before.files):
        if OURS.search(path.rpartition("/")[2]):
            outcome.add(Outcome.failure(f"new file {path}"))
        else:
            outcome.notes.append(f"new, perhaps another program's: {path}")
    for name in sorted(now.interfaces - before.interfaces):
        if OUR_INTERFACES.match(name):
            outcome.add(Outcome.failure(f"new network interface {name}"))
    if now.hugepages_used > before.hugepages_used:
        outcome.add(Outcome.failure(f"{now.hugepages_used - before.hugepages_used} huge pages are still in use"))
    if outcome.failed == 0:
        outcome.passed = 1
    return outcome


def processes_of(run_id: str) -> list[tuple[int, str, str]]:
    """Pid, step and command line of each process that inherited the run's variable, ourselves excepted."""
    mark = f"{RUN_VARIABLE}={run_id}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            environment = (entry / "environ").read_bytes().split(b"\0")
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:  # ended meanwhile, or another user's
            continue
        if mark in environment:
            steps = [word for word in environment if word.startswith(STEP_VARIABLE.encode() + b"=")]
            step = steps[0].decode().partition("=")[2] if steps else "?"
            found.append((int(entry.name), step, command))
    return found


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208 (names are wanted, and a folder that is not there has none)
    except OSError:
        return []


def _hugepages_used() -> int:
    try:
        facts = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        return int(facts["HugePages_Total"]) - int(facts["HugePages_Free"])
    except (OSError, KeyError, ValueError):  # a kernel without huge pages
        return 0
