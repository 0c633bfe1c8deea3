# SPDX-License-Identifier: Apache-2.0
"""The step `fuzz`: time shared among the fuzzers, and no input lost that broke something."""

from __future__ import annotations

import base64
import os
import threading
from pathlib import Path

import pytest

from postman_cli.testing import fuzzers
from postman_cli.testing.runner import Runner

FAKE = """#!/bin/sh
for word; do case $word in -artifact_prefix=*) prefix=${word#*=};; esac; done
printf 'bad input' > "${prefix}crash-1"
echo 'file.c:1: not true: a == b' >&2
exit 77
"""


@pytest.mark.parametrize(
    ("nb_fuzzers", "cores", "expected_s"), [(10, 2, 48), (9, 2, 48), (1, 2, 240), (100, 2, 10), (4, 8, 240)]
)
def test_share_of_the_time(nb_fuzzers: int, cores: int, expected_s: int) -> None:
    assert fuzzers.share(240, nb_fuzzers, cores) == expected_s


def test_a_finding_is_kept_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each time it is found, also when the fuzzer's own folder has it already."""
    monkeypatch.setattr(fuzzers, "STATE", tmp_path / "state")
    program = tmp_path / "fake_fuzz"
    program.write_text(FAKE)
    program.chmod(0o755)
    for run in ("first", "second"):
        runner = Runner(tmp_path / run / "fuzz.log", os.environ, 30, threading.Event())
        outcome = fuzzers._run_one(runner, fuzzers.Fuzzer("fake_fuzz", program, ()), 1)
        copy = tmp_path / run / "fuzz-fake_fuzz-crash-1"
        assert outcome.failed == 1
        assert copy.read_bytes() == b"bad input"
        assert str(copy) in outcome.notes[0]
        assert base64.b64encode(b"bad input").decode() in outcome.notes[-1]
        assert any("file.c:1: not true: a == b" in note for note in outcome.notes)
        log = (tmp_path / run / "fuzz-fake_fuzz.log").read_text()
        assert base64.b64encode(b"bad input").decode() in log
