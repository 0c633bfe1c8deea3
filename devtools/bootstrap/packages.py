# SPDX-License-Identifier: Apache-2.0
"""Installs the distribution packages that are missing, with apt. The only step that writes outside the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from bootstrap.checkout import Checkout, digest, is_stamped, write_stamp
from bootstrap.progress import CommandFailed, SetupError, Step

# build the C parts
BUILD = ("gcc", "libc6-dev", "pkg-config", "libdpdk-dev", "libsodium-dev", "libcmocka-dev")
# make test networks and look at them
RUN = ("iproute2", "ethtool", "iputils-ping", "tcpdump", "procps")
# fuzzers and their run-time libraries; the model checker
TEST = ("clang", "libclang-rt-dev", "llvm", "spin")
# part of another package in some releases: asked for only where it exists
MAY_BE_UNKNOWN = frozenset({"libclang-rt-dev"})

COMMANDS_WITH_TESTS = frozenset({"test", "fuzz"})
DPKG_STATUS = Path("/var/lib/dpkg/status")
APT_LISTS = Path("/var/lib/apt/lists")


def wanted(command: str) -> tuple[str, ...]:
    """The packages that this sub-command needs."""
    names = BUILD + RUN + (TEST if command in COMMANDS_WITH_TESTS else ())
    if Path(sys.executable).resolve().is_relative_to("/usr/bin"):  # the distribution's Python comes in pieces
        python = f"python{sys.version_info.major}.{sys.version_info.minor}"
        names += (f"{python}-dev", f"{python}-venv")
    return names


def install(checkout: Checkout, command: str) -> None:
    """Installs what is missing; returns at once when dpkg's state has not changed since the last look."""
    if os.environ.get("POSTMAN_SETUP_PACKAGES") == "skip":
        return
    if not DPKG_STATUS.exists() or not shutil.which("apt-get"):
        raise SetupError(
            "this is not a Debian or Ubuntu machine",
            f"install the equivalents of: {' '.join(wanted(command))}; then set POSTMAN_SETUP_PACKAGES=skip",
        )
    names = wanted(command)
    stamp = checkout.state / "stamps" / ("packages-test" if command in COMMANDS_WITH_TESTS else "packages")
    if is_stamped(stamp, _stamp_value(names)):
        return
    missing = _missing(names)
    if missing:
        title = f"installing {len(missing)} distribution packages"
        with Step(title, checkout.logs / "packages.log", f": {' '.join(missing)}") as step:
            step.announce()
            _apt_install(step, missing)
    write_stamp(stamp, _stamp_value(names))


def _stamp_value(names: Sequence[str]) -> str:
    return digest(*names, str(DPKG_STATUS.stat().st_mtime_ns))


def _missing(names: Sequence[str]) -> list[str]:
    query = subprocess.run(
        ["dpkg-query", "-W", "-f", "${db:Status-Status} ${Package}\n", *names], capture_output=True, text=True
    )
    installed = {line.split()[1] for line in query.stdout.splitlines() if line.startswith("installed ")}
    return [name for name in names if name not in installed]


def _apt_install(step: Step, missing: Sequence[str]) -> None:
    root = as_root(missing)
    apt = [*root, "env", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8", "apt-get", "-q", "-y"]
    apt += ["-o", "DPkg::Lock::Timeout=300", "-o", "Dpkg::Use-Pty=0", "-o", "Acquire::Retries=3"]
    updated = not any(APT_LISTS.glob("*_Packages*"))
    try:
        if updated:
            step.run([*apt, "update"], cwd=Path("/"))
        try:
            step.run([*apt, "install", "--no-install-recommends", *_known(missing)], cwd=Path("/"))
        except CommandFailed:
            if updated:
                raise
            step.run([*apt, "update"], cwd=Path("/"))  # the list may be older than the archive
            step.run([*apt, "install", "--no-install-recommends", *_known(missing)], cwd=Path("/"))
    except CommandFailed as error:
        sudo = "".join(f"{word} " for word in root)
        repair = f"{sudo}apt-get update && {sudo}apt-get install --no-install-recommends {' '.join(missing)}"
        raise SetupError("apt could not install the distribution packages", repair, step.log) from error


def _known(names: Sequence[str]) -> list[str]:
    return [name for name in names if name not in MAY_BE_UNKNOWN or _has_candidate(name)]


def _has_candidate(name: str) -> bool:
    policy = subprocess.run(["apt-cache", "policy", name], capture_output=True, text=True, env={"LC_ALL": "C"}).stdout
    return "Candidate: " in policy and "Candidate: (none)" not in policy


def as_root(missing: Sequence[str]) -> list[str]:
    """The words before a command that make it run as root; SetupError where that cannot be."""
    if os.geteuid() == 0:
        return []
    if shutil.which("sudo"):
        return ["sudo"] if sys.stdin.isatty() else ["sudo", "-n"]
    raise SetupError(
        f"{len(missing)} distribution packages are missing, and neither root nor sudo is at hand to install them",
        f"as root: apt-get install --no-install-recommends {' '.join(missing)}",
    )
