# SPDX-License-Identifier: Apache-2.0
"""A fake worker to spawn, and a supervisor that spawns it."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from supervisor_parts import Helper  # found by the line above

_SCRIPT = Path(__file__).with_name("fake_worker.py")


class FakeWorker:
    """A worker binary of its own folder: see fake_worker.py."""

    def __init__(self, folder: Path) -> None:
        self.dir = folder
        self.binary = folder / "postman-helper-worker"
        self.binary.write_text(
            f"#!/bin/sh\nexport FAKE_WORKER_DIR='{folder}'\nexec '{sys.executable}' '{_SCRIPT}' \"$@\"\n"
        )
        self.binary.chmod(0o755)

    def tell(self, what: str, text: str = "") -> None:
        """Switches a behaviour on."""
        (self.dir / what).write_text(text)

    def untell(self, what: str) -> None:
        """Switches it off."""
        (self.dir / what).unlink()

    def events(self, kind: str) -> list[dict[str, Any]]:
        """What all its processes recorded of one kind, in order."""
        path = self.dir / "events.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [event for event in map(json.loads, lines) if event["event"] == kind]


@pytest.fixture
def fake_worker() -> Iterator[FakeWorker]:
    # Not in tmp_path: the path of the control socket would be too long for the kernel where tests run side by side.
    folder = Path(tempfile.mkdtemp(prefix="pmw"))
    yield FakeWorker(folder)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def helper(control_plane: Any, fake_worker: Any, wait_until: Callable[..., Any], tmp_path: Path) -> Iterator[Helper]:
    started = Helper(control_plane, fake_worker, wait_until, tmp_path / "supervisor.log")
    try:
        yield started
    finally:
        started.stop()
        sys.stderr.write(started.log.read_text())
