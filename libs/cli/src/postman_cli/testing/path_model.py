# SPDX-License-Identifier: Apache-2.0
"""The step `model`: the path rules as a finite model (libs/vcl/model/paths.pml), searched to its end by spin."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from postman_cli.checkout import ROOT
from postman_cli.testing.model import Choice, Outcome
from postman_cli.testing.runner import Runner

SOURCE = ROOT / "libs" / "vcl" / "model" / "paths.pml"
DEPTH_MAX = 100_000  # of spin's search; a deeper one ends as an error, not as a success
MEMORY_MIB_MAX = 4000

STORED = re.compile(r"^\s*([\d.e+]+) states, stored", re.MULTILINE)
ERRORS = re.compile(r"errors: (\d+)")
INCOMPLETE = ("max search depth too small", "Search not completed", "out of memory", "reached -DMEMLIM")


@dataclass(frozen=True)
class Bounds:
    """One search: what it is called, and the constants of paths.pml that it sets."""

    name: str
    constants: tuple[str, ...]
    plant: bool = False  # a bug is planted: the search must find it


WRAP = ("REQUESTS=5", "REPLIES=0")  # numbers wrap: MODULUS is 4
BOTH = ("REQUESTS=3", "REPLIES=1")  # both directions
SEARCHES = (
    Bounds("numbers wrap", (*WRAP, "LOSSES=1", "REPEATS=1", "KILLS=1")),
    Bounds("both streams", (*BOTH, "LOSSES=1", "REPEATS=1", "KILLS=2")),
    Bounds("no check (W7)", (*WRAP, "LOSSES=0", "REPEATS=1", "KILLS=0", "PLANT_NO_CHECK"), plant=True),
    Bounds("no epoch check (S3)", (*BOTH, "LOSSES=0", "REPEATS=1", "KILLS=0", "PLANT_NO_EPOCH"), plant=True),
    Bounds("a hop frees (C1)", (*BOTH, "LOSSES=1", "REPEATS=0", "KILLS=0", "PLANT_HOP_ACK"), plant=True),
)


def run(runner: Runner, choice: Choice) -> Outcome:
    """All searches; the fast choice leaves out the largest one."""
    outcome = Outcome()
    for bounds in SEARCHES:
        if choice.fast and bounds.constants[:2] == BOTH and not bounds.plant:
            continue
        outcome.add(_search(runner, bounds))
    return outcome


def _search(runner: Runner, bounds: Bounds) -> Outcome:
    folder = runner.log.parent / "model" / re.sub(r"\W+", "-", bounds.name)
    folder.mkdir(parents=True, exist_ok=True)
    defines = [f"-D{constant}" for constant in bounds.constants]
    runner.must(["spin", *defines, "-a", SOURCE], cwd=folder)
    checks = ["-DSAFETY", "-DCOLLAPSE", f"-DMEMLIM={MEMORY_MIB_MAX}"]
    runner.must(["gcc", "-O2", "-w", *checks, "-o", folder / "pan", folder / "pan.c"])
    offset = runner.log.stat().st_size
    status = runner.run([folder / "pan", f"-m{DEPTH_MAX}", "-w24"], cwd=folder)
    return judge(bounds, status, runner.log_since(offset), folder)


def judge(bounds: Bounds, status: int, text: str, folder: Path) -> Outcome:
    """Without a plant: no error, and the whole space was seen. With one: an error was found."""
    errors, stored = ERRORS.search(text), STORED.search(text)
    if status != 0 or not errors or not stored:
        return Outcome.failure(f"model, {bounds.name}: the search ended with {status} before it told its result")
    nb_states = int(float(stored[1]))
    if bounds.plant:
        if errors[1] == "0":
            return Outcome.failure(f"model, {bounds.name}: {nb_states:,} states, and the planted bug was not found")
        return Outcome(passed=1, notes=[f"model, {bounds.name}: planted bug found after {nb_states:,} states"])
    if errors[1] != "0":
        return Outcome.failure(
            f"model, {bounds.name}: {errors[1]} errors; the way there: cd {folder} && spin -t -p {SOURCE.name}"
        )
    reason = next((reason for reason in INCOMPLETE if reason in text), None)
    if reason:
        return Outcome.failure(f"model, {bounds.name}: not exhaustive: {reason}")
    return Outcome(passed=1, notes=[f"model, {bounds.name}: all {nb_states:,} states, no error"])
