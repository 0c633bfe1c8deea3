# SPDX-License-Identifier: Apache-2.0
"""The step `fuzz`, and what `postman fuzz` uses: libFuzzer programs, each for a time, from the corpora in the tree.

A fuzzer is an executable of the fuzz build whose name ends in `_fuzz`. Its corpus is the folder `corpus/<subject>`
beside or above its source (`frame_fuzz` reads `corpus/frame`); what it finds is kept under .postman/fuzz/<name>. Inputs
that broke something are also copied into the folder of the run and written into its log; the outcome names them and
has them too, for a log that is gone with its machine.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from postman_cli.checkout import ROOT, STATE
from postman_cli.testing.c_builds import FUZZED
from postman_cli.testing.c_tests import SANITIZER_ENV
from postman_cli.testing.model import Choice, Outcome
from postman_cli.testing.runner import Runner

STEP_SECONDS, SECONDS_MIN, SECONDS_FAST = 120, 10, 5  # of the step, whatever the number of fuzzers; of one fuzzer
INPUT_BYTES_MAX = 4096  # two of the largest datagrams: enough to cross every limit
INPUT_TIMEOUT_S = 10
MEMORY_MIB_MAX = 2048

FINDINGS = ("crash-*", "leak-*", "oom-*", "timeout-*", "slow-unit-*")  # what libFuzzer calls the inputs it keeps

COMPLAINT = re.compile(r"^.*(?:not true:|ERROR: \w+Sanitizer:|runtime error:).*$", re.MULTILINE)
INPUTS_RUN = re.compile(r"stat::number_of_executed_units: *(\d+)")


@dataclass(frozen=True)
class Fuzzer:
    """A built fuzzer and the inputs it begins with."""

    name: str
    program: Path
    seeds: tuple[Path, ...]


def run(runner: Runner, choice: Choice) -> Outcome:
    """Each fuzzer for a fixed time, as many at once as there are cores."""
    return run_fuzzers(runner, SECONDS_FAST if choice.fast else None, [])


def run_fuzzers(runner: Runner, seconds: int | None, names: list[str]) -> Outcome:
    """Builds and runs the named fuzzers, or all, each for `seconds`, or for its share of the step's time. One fuzzer
    counts as one test."""
    FUZZED.configure(runner)
    found = [fuzzer for fuzzer in find(runner.env) if not names or fuzzer.name in names]
    unknown = set(names) - {fuzzer.name for fuzzer in found}
    if unknown or not found:
        return Outcome.failure(f"no such fuzzer: {', '.join(sorted(unknown))}" if unknown else "no fuzzers were built")
    FUZZED.build(runner, *(str(fuzzer.program.relative_to(FUZZED.folder)) for fuzzer in found))
    if seconds is None:
        seconds = share(STEP_SECONDS, len(found), os.cpu_count() or 1)
    outcome = Outcome()
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for each in pool.map(lambda fuzzer: _run_one(runner, fuzzer, seconds), found):
            outcome.add(each)
    return outcome


def share(total_s: int, nb_fuzzers: int, cores: int) -> int:
    """Seconds for each, so that all take total_s on these cores."""
    rounds = -(-nb_fuzzers // cores)
    return max(SECONDS_MIN, total_s // rounds)


def find(env: dict[str, str]) -> list[Fuzzer]:
    """The fuzzers of the fuzz build, by meson's own list of targets."""
    listing = subprocess.run(
        ["meson", "introspect", "--targets", FUZZED.folder], env=env, capture_output=True, text=True, check=True
    )
    fuzzers = []
    for target in json.loads(listing.stdout):
        if target["type"] == "executable" and target["name"].endswith("_fuzz"):
            source = Path(target["defined_in"]).parent
            fuzzers.append(Fuzzer(target["name"], Path(target["filename"][0]), _seeds(target["name"], source)))
    return sorted(fuzzers, key=lambda fuzzer: fuzzer.name)


def _seeds(name: str, source: Path) -> tuple[Path, ...]:
    subject = name.removesuffix("_fuzz")
    folders = [folder / "corpus" / subject for folder in (source, source.parent) if ROOT in (folder, *folder.parents)]
    return tuple(folder for folder in folders if folder.is_dir())


def _run_one(runner: Runner, fuzzer: Fuzzer, seconds: int) -> Outcome:
    work = STATE / "fuzz" / fuzzer.name
    (work / "found").mkdir(parents=True, exist_ok=True)
    log = runner.log.with_name(f"fuzz-{fuzzer.name}.log")
    log.write_bytes(b"")
    limits = [f"-max_total_time={seconds}", f"-max_len={INPUT_BYTES_MAX}", f"-timeout={INPUT_TIMEOUT_S}"]
    limits += [f"-rss_limit_mb={MEMORY_MIB_MAX}", "-print_final_stats=1", f"-artifact_prefix={work}/"]
    before = _findings(work)
    status = runner.run([fuzzer.program, *limits, work / "found", *fuzzer.seeds], env=SANITIZER_ENV, log=log)
    runs = INPUTS_RUN.search(log.read_text(errors="replace"))
    if status == 0 and runs and int(runs[1]) > 0:
        return Outcome(passed=1, notes=[f"{fuzzer.name}: {int(runs[1]):,} inputs"])
    complaint = COMPLAINT.search(log.read_text(errors="replace"))
    kept = _keep(work, _findings(work) - before, log)
    outcome = Outcome.failure(f"{fuzzer.name} ended with {status}: see {log}; inputs: {', '.join(kept) or 'none'}")
    outcome.notes += [complaint[0].strip()] if complaint else []
    outcome.notes += [f"in base64: {base64.b64encode(Path(copy).read_bytes()).decode()}" for copy in kept]
    return outcome


def _findings(work: Path) -> set[tuple[Path, int]]:
    """Inputs that broke something, and when they were written: the same one may be found again."""
    return {(path, path.stat().st_mtime_ns) for pattern in FINDINGS for path in work.glob(pattern)}


def _keep(work: Path, new: set[tuple[Path, int]], log: Path) -> list[str]:
    """Copies the inputs beside the log, and writes them into it."""
    kept = []
    for path, _ in sorted(new):
        copy = log.with_name(f"fuzz-{work.name}-{path.name}")
        shutil.copyfile(path, copy)
        with log.open("a") as out:
            out.write(f"input {copy}, in base64: {base64.b64encode(path.read_bytes()).decode()}\n")
        kept.append(str(copy))
    return kept
