#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Do the tests of the transport bite? Plants the bugs of devtools/mutants.toml, one after the other, in a copy of the
sources, and demands that the test named there fails, or that the simulator does within 1,000 seeds.

    devtools/mutants.py [NAME...]       all of them, or those; ends with 1 when one survives or no longer applies
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "devtools" / "mutants.toml"
STATE = Path(os.environ.get("POSTMAN_STATE_DIR") or ROOT / ".postman") / "mutants"
TREE, BUILD = STATE / "tree", STATE / "build"
COPIED = ("meson.build", "meson_options.txt", "libs", "services/helper/worker")
SIMULATOR = "simulator"
SEED_STEPS = ((1, 40), (41, 160), (201, 800))  # first seed, count: most bugs show early
CMOCKA_FAILED = re.compile(r"^\[  FAILED  \] (\w+)$", re.MULTILINE)
SEED_FAILED = re.compile(r"^seed (\d+) FAILED(?: at [\d.]+ s)?: (.*)$", re.MULTILINE)
RUN_S_MAX = 120  # of one program: a bug may well make it hang, which is a failure too


@dataclass(frozen=True)
class Mutant:
    """One planted bug: in `file`, `old` (which stands there once) becomes `new`."""

    name: str
    plants: str
    file: str
    old: str
    new: str
    seen_by: str  # SIMULATOR, or "program: test"

    def program(self) -> str:
        return "vcl-sim" if self.seen_by == SIMULATOR else self.seen_by.split(":")[0]


class Unusable(Exception):
    """The mutants cannot be judged: the text says why."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="of mutants; none: all")
    wanted = parser.parse_args().names
    mutants = [Mutant(**entry) for entry in tomllib.loads(TABLE.read_text())["mutant"]]
    unknown = set(wanted) - {mutant.name for mutant in mutants}
    if unknown:
        parser.error(f"no such mutant: {', '.join(sorted(unknown))}")
    chosen = [mutant for mutant in mutants if not wanted or mutant.name in wanted]
    survivors = 0
    try:
        prepare(chosen)
        for mutant in chosen:
            start_s = time.monotonic()
            seen = try_out(mutant)
            survivors += seen is None
            verdict = f"seen by {seen}" if seen else f"SURVIVES {mutant.seen_by}"
            print(f"{mutant.name:<24} {time.monotonic() - start_s:4.1f} s  {verdict}", flush=True)
    except Unusable as error:
        print(f"mutants: {error}")
        return 1
    print(f"mutants: {len(chosen)} planted, {survivors} survived")
    return 1 if survivors else 0


def prepare(mutants: list[Mutant]) -> None:
    """The copy is as the sources are, is built, and passes: else a failure would say nothing."""
    copy_sources()
    if not (BUILD / "build.ninja").exists():
        options = ["-Dbuildtype=debug", "-Doptimization=1", "-Dworker=disabled", "-Dpython=disabled", "-Dtests=enabled"]
        options += ["-Dwerror=false"]  # a bug may leave something unused
        must(["meson", "setup", *options, str(BUILD), str(TREE)])
    must(["ninja", "-C", str(BUILD), "build.ninja"])  # which programs there are may have changed
    build(sorted({mutant.program() for mutant in mutants}))
    for program in sorted({mutant.program() for mutant in mutants} - {"vcl-sim"}):
        status, text = run([str(program_path(program))])
        if status != 0:
            raise Unusable(f"{program} fails without any bug: {text[-500:]}")


def copy_sources() -> None:
    """Files that are the same stay untouched, so that ninja builds only what changed."""
    listed = must(["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard", *COPIED])
    names = {name for name in listed.split("\0") if name and (ROOT / name).is_file()}
    for name in names:
        source, copy = ROOT / name, TREE / name
        if not copy.exists() or copy.read_bytes() != source.read_bytes():
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, copy)
            shutil.copymode(source, copy)
    for copy in list(TREE.rglob("*")):
        if copy.is_file() and str(copy.relative_to(TREE)) not in names:
            copy.unlink()


def try_out(mutant: Mutant) -> str | None:
    """Who saw it; None: nobody."""
    path = TREE / mutant.file
    sound = path.read_text()
    if sound.count(mutant.old) != 1:
        raise Unusable(f"{mutant.name}: its old text is {sound.count(mutant.old)} times in {mutant.file}, not once")
    path.write_text(sound.replace(mutant.old, mutant.new))
    try:
        build([mutant.program()])
        if mutant.seen_by == SIMULATOR:
            return seen_by_simulator()
        return seen_by_test(mutant)
    finally:
        path.write_text(sound)


def seen_by_test(mutant: Mutant) -> str | None:
    program, test = (part.strip() for part in mutant.seen_by.split(":"))
    status, text = run([str(program_path(program))])
    if status == 0:
        return None
    if test in CMOCKA_FAILED.findall(text):
        return test
    if status in (-6, -11, None):
        return f"{test}, where the program ends" if f"[ RUN      ] {test}\n" in text else None
    return None


def seen_by_simulator() -> str | None:
    for first, count in SEED_STEPS:
        jobs = str(os.cpu_count() or 1)
        command = [str(program_path("vcl-sim")), "--from", str(first), "--seeds", str(count), "--jobs", jobs]
        status, text = run([*command, "--repeat", "0"])
        failed = SEED_FAILED.search(text)
        if failed:
            return f"seed {failed[1]}: {failed[2][:90]}"
        if status is None:
            return f"a seed from {first} on, which hangs"
    return None


# --- programs ---------------------------------------------------------------------------------------------------------
def program_path(name: str) -> Path:
    return next(targets(name))


def targets(name: str) -> Iterator[Path]:
    for target in json.loads(must(["meson", "introspect", "--targets", str(BUILD)])):
        if target["type"] == "executable" and target["name"] == name:
            yield Path(target["filename"][0])
            return
    raise Unusable(f"no program {name}")


def build(names: list[str]) -> None:
    paths = [str(program_path(name).relative_to(BUILD)) for name in names]
    must(["ninja", "-C", str(BUILD), "-j", str(os.cpu_count() or 1), *paths])


def run(command: list[str]) -> tuple[int | None, str]:
    """Status and output; no status: it was ended because it took too long."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=RUN_S_MAX)
    except subprocess.TimeoutExpired as late:
        return None, (late.stdout or b"").decode(errors="replace") if isinstance(late.stdout, bytes) else ""
    return done.returncode, done.stdout + done.stderr


def must(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise Unusable(f"{' '.join(command[:3])} ended with {done.returncode}: {(done.stdout + done.stderr)[-2000:]}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
