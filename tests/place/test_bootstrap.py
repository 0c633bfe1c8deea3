# SPDX-License-Identifier: Apache-2.0
"""The set-up: stamps, the interpreter's packages, failures that tell the cause, and two invocations at once."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from pathlib import Path

import pytest
from bootstrap import main as bootstrap_main
from bootstrap import packages
from bootstrap.checkout import Checkout, digest, is_stamped, write_stamp
from bootstrap.progress import CommandFailed, SetupError, Step, report

ROOT = Path(__file__).resolve().parents[2]


def test_a_digest_knows_where_parts_end() -> None:
    assert digest("ab", "c") != digest("a", "bc")
    assert digest("ab", "c") == digest(b"ab", b"c")


def test_a_stamp_is_good_for_its_own_value_only(tmp_path: Path) -> None:
    stamp = tmp_path / "deep" / "stamp"
    assert not is_stamped(stamp, "one")
    write_stamp(stamp, "one")
    assert is_stamped(stamp, "one")
    assert not is_stamped(stamp, "two")


def test_a_failing_command_leaves_its_output_in_the_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "step.log"
    with pytest.raises(CommandFailed), Step("a step", log) as step:
        step.run(["sh", "-c", "echo the cause; exit 7"], cwd=tmp_path)
    report(SetupError("a step failed", "do this", log))
    shown = capsys.readouterr().err
    assert "the cause" in shown
    assert "to repair: do this" in shown
    assert str(log) in shown


def test_a_missing_tool_is_named(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="no-such-tool is not installed"), Step("a step", tmp_path / "log") as step:
        step.run(["no-such-tool"], cwd=tmp_path)


def test_not_root_and_no_sudo_says_what_root_must_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages.os, "geteuid", lambda: 1000)
    monkeypatch.setattr(packages.shutil, "which", lambda name: None)
    with pytest.raises(SetupError) as caught:
        packages.as_root(["libfoo-dev"])
    assert "apt-get install --no-install-recommends libfoo-dev" in caught.value.repair


def test_tests_need_more_packages_than_other_commands() -> None:
    assert set(packages.wanted("up")) < set(packages.wanted("test"))
    assert "clang" in packages.wanted("fuzz")


def test_help_of_a_fresh_checkout_sets_nothing_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bootstrap_main.main(str(tmp_path), ["--help"]) == 0
    assert "./postman build" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_a_second_invocation_waits_for_the_first(tmp_path: Path) -> None:
    program = (
        "import sys; sys.path.insert(0, sys.argv[1] + '/devtools')\n"
        "from bootstrap.main import acquire\n"
        "with open(sys.argv[2], 'w') as lock: acquire(lock.fileno()); print('has it')"
    )
    path = tmp_path / "lock"
    with path.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        command = [sys.executable, "-I", "-c", program, str(ROOT), str(path)]
        second = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert second.stderr is not None
        assert "waiting for it" in second.stderr.readline()
        assert second.poll() is None
    out, _ = second.communicate(timeout=30)
    assert out.strip() == "has it"


def test_works_through_a_symbolic_link_from_anywhere(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(ROOT / "postman")
    done = subprocess.run([tmp_path / "link", "--help"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "demo" in done.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link"]


def test_the_lock_names_no_place() -> None:
    text = Checkout(ROOT).lock.read_text()
    assert "://" not in text
    assert not any(line.startswith(("-i", "--index", "--extra", "--find", "--trusted")) for line in text.splitlines())
