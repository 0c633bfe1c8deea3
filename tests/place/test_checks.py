# SPDX-License-Identifier: Apache-2.0
"""The border checks can fail: each rule finds its breach in a tree made for it."""

from __future__ import annotations

from pathlib import Path

import check_files
import check_layers
import pytest


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty checkout for check_layers, with the folders that it looks into."""
    wire, worker = tmp_path / "libs/wire", tmp_path / "services/helper/worker"
    for folder in (wire / "include/postman", worker, tmp_path / "libs/vcl/core", tmp_path / "libs/vcl/include/vcl"):
        folder.mkdir(parents=True)
    (wire / "meson.build").write_text("pmw_sources = files('frame.c')\n")
    (worker / "meson.build").write_text("relay_sources = files('relay.c')\n")
    (wire / "frame.c").write_text("#include <string.h>\n")
    (worker / "relay.c").write_text('#include "relay.h"\n')
    (tmp_path / "libs/vcl/include/vcl/engine.h").write_text("#include <stdint.h>\n")
    monkeypatch.setattr(check_layers, "ROOT", tmp_path)
    monkeypatch.setattr(check_layers, "WIRE", wire)
    monkeypatch.setattr(check_layers, "WORKER", worker)
    return tmp_path


def source(tree: Path, place: str, text: str) -> None:
    path = tree / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_a_clean_tree_has_no_breach(tree: Path) -> None:
    source(tree, "services/registry/src/postman_registry/domain.py", "import dataclasses\n")
    source(tree, "services/registry/src/postman_registry/store.py", "import sqlalchemy\n")
    assert [*check_layers.c_includes(), *check_layers.python_imports()] == []


@pytest.mark.parametrize(
    ("place", "text", "reason"),
    [
        ("libs/vcl/core/conn.c", "#include <time.h>\n", "includes <time.h>"),
        ("libs/vcl/core/conn.c", "#include <sys/socket.h>\n", "includes <sys/socket.h>"),
        ("services/helper/worker/relay.c", "#include <rte_mbuf.h>\n", "includes <rte_mbuf.h>"),
        ("libs/wire/frame.c", "#include <vcl/engine.h>\n", "not above the engine"),
    ],
)
def test_sans_io_c(tree: Path, place: str, text: str, reason: str) -> None:
    source(tree, place, text)
    assert [breach for breach in check_layers.c_includes() if reason in breach and breach.startswith(place)]


@pytest.mark.parametrize(
    ("place", "text", "reason"),
    [
        ("services/registry/src/postman_registry/domain.py", "import asyncio\n", "domain.py imports asyncio"),
        ("services/registry/src/postman_registry/domain.py", "x = dt.datetime.now()\n", "reads a clock"),
        ("services/registry/src/postman_registry/api.py", "from sqlalchemy import select\n", "SQL outside"),
        ("services/helper/src/postman_helper/lease.py", "import nats\n", "NATS outside"),
        ("services/helper/src/postman_helper/x.py", "import postman_registry\n", "not below it"),
        ("libs/contracts/src/postman_contracts/x.py", "import postman_kit\n", "not below it"),
        ("libs/vcl/src/vcl/x.py", "from postman_cli import main\n", "not below it"),
    ],
)
def test_python(tree: Path, place: str, text: str, reason: str) -> None:
    source(tree, place, text)
    breaches = [*check_layers.python_imports()]
    assert len(breaches) == 1
    assert breaches[0].startswith(f"{place}:1: ")
    assert reason in breaches[0]


@pytest.mark.parametrize(
    "symbol", ["clock_gettime", "socket", "getrandom", "randombytes_buf", "printf", "pthread_create"]
)
def test_impure_symbols_are_not_allowed(symbol: str) -> None:
    assert not check_layers.PURE_SYMBOLS.fullmatch(symbol)


@pytest.mark.parametrize(
    ("text", "reason"),
    [("int x;\n", "SPDX"), ("/* SPDX-License-Identifier: Apache-2.0 */\n" * 401, "more than 400"), ("x", "line end")],
)
def test_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, reason: str) -> None:
    monkeypatch.setattr(check_files, "ROOT", tmp_path)
    source(tmp_path, "x.c", text)
    assert any(reason in breach for breach in check_files.check(tmp_path / "x.c"))
