# SPDX-License-Identifier: Apache-2.0
"""What a run leaves behind is found: processes, files, and only ours."""

from __future__ import annotations

import os
import secrets
import subprocess
import tempfile
import time
from pathlib import Path

from postman_cli.testing import leftovers

DEADLINE_S = 10.0


def test_a_process_of_the_run_is_found_and_ended() -> None:
    run_id = secrets.token_hex(8)
    env = os.environ | {leftovers.RUN_VARIABLE: run_id, leftovers.STEP_VARIABLE: "network"}
    process = subprocess.Popen(["sleep", "1000"], env=env, start_new_session=True)
    try:
        ends_s = time.monotonic() + DEADLINE_S  # the environment is visible from exec on
        while not leftovers.processes_of(run_id) and time.monotonic() < ends_s:
            time.sleep(0.01)
        outcome = leftovers.check(leftovers.snapshot(), run_id)
        assert outcome.failed == 1
        assert outcome.notes == [f"process {process.pid} of step network: sleep 1000"]
        process.wait(DEADLINE_S)
    finally:
        process.kill()
        process.wait()
    assert leftovers.processes_of(run_id) == []


def test_other_processes_are_left_alone() -> None:
    process = subprocess.Popen(["sleep", "1000"])
    try:
        leftovers.check(leftovers.snapshot(), secrets.token_hex(8))
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()


def test_a_file_with_a_name_of_ours_fails_and_another_is_mentioned() -> None:
    before = leftovers.snapshot()
    ours = Path(tempfile.mkdtemp(prefix="postman-", dir="/tmp"))
    others = Path(tempfile.mkdtemp(prefix="zz-", dir="/tmp"))
    try:
        outcome = leftovers.check(before, secrets.token_hex(8))
    finally:
        ours.rmdir()
        others.rmdir()
    assert f"new file {ours}" in outcome.notes
    assert f"new, perhaps another program's: {others}" in outcome.notes
    assert outcome.failed >= 1


def test_huge_pages_that_stay_in_use_fail() -> None:
    now = leftovers.snapshot()
    before = leftovers.Snapshot(now.files, now.interfaces, now.hugepages_used - 2)
    outcome = leftovers.check(before, secrets.token_hex(8))
    assert "2 huge pages are still in use" in outcome.notes
