# SPDX-License-Identifier: Apache-2.0
"""Extra builds of the C parts, beside the release build that ./postman makes: with sanitizers, and for fuzzing."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from postman_cli.checkout import ROOT
from postman_cli.testing.runner import Runner

SANITIZERS = "address,undefined"


@dataclass(frozen=True)
class CBuild:
    """A build folder and how it is configured."""

    folder: Path
    options: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)

    def configure(self, runner: Runner) -> None:
        """Configures when the configuration has changed since the last time."""
        stamp = self.folder / "postman-stamp"
        lock = (ROOT / "requirements.lock").read_bytes()  # another meson needs a fresh folder
        wanted = hashlib.sha256(repr((self.options, sorted(self.env.items()))).encode() + lock).hexdigest()
        if not stamp.exists() or stamp.read_text() != wanted:
            shutil.rmtree(self.folder, ignore_errors=True)
            runner.must(["meson", "setup", *self.options, self.folder], env=self.env)
            stamp.write_text(wanted)

    def build(self, runner: Runner, *targets: str) -> None:
        """Builds the targets, or everything."""
        runner.must(["ninja", "-C", self.folder, "-j", str(os.cpu_count() or 1), *targets])


SANITIZED = CBuild(
    ROOT / "build-asan",
    # -O1: fast enough to run the tests, and traces keep their frames
    ("-Dbuildtype=debug", "-Doptimization=1", f"-Dsanitize={SANITIZERS}", "-Dtests=enabled", "-Dworker=enabled"),
)

THREADED = CBuild(
    ROOT / "build-tsan",
    (
        "-Dbuildtype=debug",
        "-Doptimization=1",
        "-Dsanitize=thread",
        "-Dtests=enabled",
        "-Dworker=disabled",
        "-Dpython=disabled",
    ),
)

FUZZED = CBuild(
    ROOT / "build-fuzz",
    # b_lundef: clang leaves the sanitizers' symbols to the program, so shared objects have undefined ones
    (
        "-Dbuildtype=debugoptimized",
        f"-Dsanitize={SANITIZERS}",
        "-Dfuzz=true",
        "-Dtests=disabled",
        "-Dworker=disabled",
        "-Db_lundef=false",
    ),
    {"CC": "clang"},
)
