# SPDX-License-Identifier: Apache-2.0
"""The command line of the benches, and the nemesis' list of faults."""

from __future__ import annotations

import json
import random
from collections import Counter

import pytest
from typer.testing import CliRunner

from postman_cli.bench import catalog
from postman_cli.bench.cli import app
from postman_cli.bench.nemesis import schedule
from postman_cli.lab.impairment import LinkFault


def test_without_a_name_it_lists_them_and_each_can_be_loaded() -> None:
    listed = json.loads(CliRunner().invoke(app, ["--json"]).stdout)
    assert list(listed) == list(catalog.BENCHES)
    for name in listed:
        assert callable(catalog.load(name))
        assert name in CliRunner().invoke(app, []).stdout


@pytest.mark.parametrize(
    "arguments",
    [["nothing"], ["failover", "--all"], ["failover", "--kills", "3"], ["header", "--seconds", "1"]],
)
def test_what_makes_no_sense_is_wrong_usage(arguments: list[str]) -> None:
    assert CliRunner().invoke(app, arguments).exit_code == 2


def test_the_same_seed_makes_the_same_faults_and_all_that_were_asked_for() -> None:
    faults = schedule(random.Random(4), 100, 50)
    assert faults == schedule(random.Random(4), 100, 50)
    assert faults != schedule(random.Random(5), 100, 50)
    counts = Counter(faults)
    assert counts == {"kill": 100, "pause": 50, "cut": 30, "loss": 30, "delay": 30, "restart": 15}


def test_a_link_fault_is_told_in_parts_of_a_million() -> None:
    assert LinkFault(0.01, 1.0, 200, 50).arguments(3) == ["3", "10000", "1000000", "200", "50"]
