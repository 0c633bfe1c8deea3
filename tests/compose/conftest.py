# SPDX-License-Identifier: Apache-2.0
"""The installation that all tests of this folder share: built, started, and removed at the end."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # pytest's importlib mode adds no folder to the path

from compose_project import Project, why_not

START_TIMEOUT_S = 300  # the bound of 90 s is a test of its own


@pytest.fixture(scope="session")
def project() -> Iterator[Project]:
    """Everything up and healthy, from the sources as they are."""
    reason = why_not()
    if reason:
        pytest.skip(f"no containers: {reason}")
    made = Project(f"postman-test-{os.getpid()}")
    made.compose("build", "--quiet")
    try:
        made.compose("up", "--build", "--detach")
        made.wait_healthy(START_TIMEOUT_S)
        yield made
    finally:
        made.remove()
