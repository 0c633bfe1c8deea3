# SPDX-License-Identifier: Apache-2.0
"""One whole Postman in a lab for each test: control plane, two DPDK helpers, a server host and a client host."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from postman_cli.demo.stack import Stack
from postman_cli.lab.network import LabNetwork
from postman_cli.lab.topology import TOPOLOGIES

CHECKOUT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(Path(__file__).parent))  # pytest's importlib mode adds no folder to the path


@contextmanager
def running_stack() -> Iterator[Stack]:
    """Everything up and both helpers serving."""
    # Unix socket paths are short: the test's name would not fit.
    work_dir = CHECKOUT / ".postman" / "e2e" / str(os.getpid())
    with LabNetwork(TOPOLOGIES["demo"]) as lab, Stack(lab, work_dir) as running:
        running.start_control()
        for host in lab.topology.with_role("helper"):
            running.start_helper(host)
        running.wait_helpers()
        yield running


@pytest.fixture
def stack() -> Iterator[Stack]:
    with running_stack() as running:
        yield running


@pytest.fixture(scope="module")
def shared_stack() -> Iterator[Stack]:
    """One for all tests of a file that leave it as it was."""
    with running_stack() as running:
        yield running
