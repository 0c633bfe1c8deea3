# SPDX-License-Identifier: Apache-2.0
"""How single tests are counted from what the tools report, and the closing line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from postman_cli.testing import c_tests, mutants, python_tests, report, simulator
from postman_cli.testing.model import Outcome, Result, Step

PASSED_3 = "[==========] 3 test(s) run.\n[  PASSED  ] 3 test(s).\n"
FAILED_1_OF_3 = "[==========] 3 test(s) run.\n[  PASSED  ] 2 test(s).\n[  FAILED  ] 1 test(s), listed below:\n"


@pytest.mark.parametrize(
    ("entry", "counts"),
    [
        ({"result": "OK", "stdout": PASSED_3}, (3, 0, 0)),
        ({"result": "OK", "stdout": "", "stderr": PASSED_3}, (3, 0, 0)),
        ({"result": "OK", "stdout": "no counts"}, (1, 0, 0)),
        ({"result": "FAIL", "stdout": FAILED_1_OF_3}, (2, 1, 0)),
        ({"result": "FAIL", "stdout": PASSED_3, "stderr": "leak found"}, (3, 1, 0)),
        ({"result": "TIMEOUT", "stdout": ""}, (0, 1, 0)),
        ({"result": "SKIP", "stdout": ""}, (0, 0, 1)),
    ],
)
def test_a_cmocka_program(entry: dict[str, str], counts: tuple[int, int, int]) -> None:
    outcome = c_tests.count({"name": "wire_test", **entry})
    assert (outcome.passed, outcome.failed, outcome.skipped) == counts


def test_a_pytest_report(tmp_path: Path) -> None:
    report_file = tmp_path / "report.xml"
    report_file.write_text(
        '<testsuites><testsuite><testcase classname="a" name="one"/>'
        '<testcase classname="a" name="two"><failure message="x"/></testcase>'
        '<testcase classname="a" name="three"><error message="x"/></testcase>'
        '<testcase classname="a" name="four"><skipped message="needs root"/></testcase></testsuite></testsuites>'
    )
    outcome = python_tests.read_report(report_file)
    assert (outcome.passed, outcome.failed, outcome.skipped) == (1, 2, 1)
    assert outcome.notes == ["a::two", "a::three", "1 skipped: needs root"]


def test_closing_line() -> None:
    assert report.closing_line(Outcome(passed=3)) == "3 passed, 0 failed"
    assert report.closing_line(Outcome(passed=3, failed=1, skipped=2)) == "3 passed, 1 failed, 2 skipped"


def test_json_has_the_totals() -> None:
    step = Step("a", "", lambda runner, choice: Outcome(), budget_s=5)
    results = [Result(step, Outcome(passed=2, notes=["n"]), 1.0), Result(step, Outcome(failed=1), 2.0)]
    facts = json.loads(report.as_json(results))
    assert (facts["passed"], facts["failed"], facts["skipped"]) == (2, 1, 0)
    assert facts["steps"][0]["notes"] == ["n"]


@pytest.mark.parametrize(
    ("text", "status", "counts"),
    [
        ("a  1.0 s  seen by x\nmutants: 20 planted, 0 survived\n", 0, (20, 0)),
        ("a  1.0 s  SURVIVES x\nmutants: 20 planted, 1 survived\n", 1, (19, 1)),
        ("mutants: 20 planted, 0 survived\n", 1, (20, 1)),
        ("mutants: no program x\n", 1, (0, 1)),
        ("", -9, (0, 1)),
    ],
)
def test_mutants_totals(text: str, status: int, counts: tuple[int, int]) -> None:
    outcome = mutants.read_totals(text, status)
    assert (outcome.passed, outcome.failed) == counts


@pytest.mark.parametrize(
    ("text", "status", "counts"),
    [
        ("2000 seeds, 0 failed, 125 run twice, in 40.1 s: ...\n", 0, (2000, 0)),
        ("seed 7 FAILED at 1.0 s: order: x\n2000 seeds, 1 failed, 1 run twice\n", 1, (1999, 1)),
        ("1999 seeds, 0 failed\n", 0, (1999, 1)),
        ("2000 seeds, 0 failed\n", 1, (2000, 1)),
        ("terminated\n", -11, (0, 1)),
    ],
)
def test_simulator_totals(text: str, status: int, counts: tuple[int, int]) -> None:
    outcome = simulator.read_totals(text, status, seeds=2000)
    assert (outcome.passed, outcome.failed) == counts
