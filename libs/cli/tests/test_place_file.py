# SPDX-License-Identifier: Apache-2.0
"""Files for `postman place set`: what no request can carry is refused with the file's name."""

from __future__ import annotations

from pathlib import Path

import pytest

from postman_cli.commands.place import read_inputs
from postman_cli.deployment import DeploymentError


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("dates.toml", "sites = [{name = 2026-01-01}]"),
        ("nan.toml", "demands = [{rate_pps = nan}]"),
        ("surrogate.json", r'{"sites": [{"name": "\ud800"}]}'),
        ("deep.json", '{"sites": ' + "[" * 100_000),
        ("digits.json", '{"sites": ' + "9" * 5_000 + "}"),
        ("list.json", "[]"),
        ("other.toml", "helpers = []"),
        ("binary.toml", "\x00"),
    ],
)
def test_a_file_that_cannot_be_sent_is_named(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(DeploymentError, match=name):
        read_inputs(tmp_path / name)


def test_a_file_that_can_be_sent(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("sites = [{name = 'ü'}]")
    assert read_inputs(tmp_path / "a.toml") == {"sites": [{"name": "ü"}]}
