# SPDX-License-Identifier: Apache-2.0
"""The steps `c-unit`, `c-sanitized` and `c-threads`: cmocka tests by `meson test`, in the release build and in those
with sanitizers."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

from postman_cli.checkout import RELEASE_BUILD
from postman_cli.testing.c_builds import SANITIZED, THREADED
from postman_cli.testing.model import Choice, Outcome
from postman_cli.testing.runner import Runner

# cmocka's closing lines; one program holds many tests
CMOCKA_PASSED = re.compile(r"\[  PASSED  \] (\d+) test")
CMOCKA_FAILED = re.compile(r"\[  FAILED  \] (\d+) test")
CMOCKA_SKIPPED = re.compile(r"\[  SKIPPED \] (\d+) test")

SANITIZER_ENV = {
    "ASAN_OPTIONS": "detect_leaks=1:abort_on_error=0:strict_string_checks=1",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
}


THREADED_SUITE = "vcl-io"


def run_release(runner: Runner, choice: Choice) -> Outcome:
    """Tests of the build that is used."""
    return _meson_test(runner, RELEASE_BUILD, {})


def run_sanitized(runner: Runner, choice: Choice) -> Outcome:
    """The same tests under AddressSanitizer, LeakSanitizer and UndefinedBehaviorSanitizer."""
    SANITIZED.configure(runner)
    SANITIZED.build(runner)
    return _meson_test(runner, SANITIZED.folder, SANITIZER_ENV)


def run_threaded(runner: Runner, choice: Choice) -> Outcome:
    """Those of the parts that have threads (libs/vcl/io), under ThreadSanitizer; a report of it fails the program."""
    THREADED.configure(runner)
    THREADED.build(runner, f"{THREADED_SUITE}-tests")
    return _meson_test(runner, THREADED.folder, {}, "--suite", THREADED_SUITE)


def _meson_test(runner: Runner, build: Path, env: dict[str, str], *which: str) -> Outcome:
    log = build / "meson-logs" / "testlog.json"
    log.unlink(missing_ok=True)
    jobs = str(os.cpu_count() or 1)
    status = runner.run(
        ["meson", "test", "-C", build, "--no-rebuild", "--print-errorlogs", "--num-processes", jobs, *which],
        env=env,
    )
    entries = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    outcome = Outcome()
    for entry in entries:
        outcome.add(count(entry))
    if not entries:
        return Outcome.failure(f"meson found no tests in {build.name}/")
    if status != 0 and outcome.failed == 0:
        outcome.add(Outcome.failure(f"meson test ended with {status}"))
    return outcome


def count(entry: dict[str, str]) -> Outcome:
    """One test program's tests: by cmocka's closing lines, or as one test when it has none."""
    text = entry.get("stdout", "") + entry.get("stderr", "")
    good = entry["result"] in ("OK", "EXPECTEDFAIL")
    passed = sum(int(number) for number in CMOCKA_PASSED.findall(text))
    skipped = sum(int(number) for number in CMOCKA_SKIPPED.findall(text))
    if entry["result"] == "SKIP":
        return Outcome(skipped=max(1, skipped))
    if good:
        return Outcome(passed=passed if passed or skipped else 1, skipped=skipped)
    failed = max([1, *(int(number) for number in CMOCKA_FAILED.findall(text))])
    return Outcome(passed, failed, skipped, [f"{entry['name']}: {entry['result'].lower()}"])
