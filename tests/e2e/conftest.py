# SPDX-License-Identifier: Apache-2.0
"""One whole Postman in a lab for each test: control plane, two DPDK helpers, a server host and a client host."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from postman_cli.demo.stack import Stack
from postman_cli.lab.network import LabNetwork
from postman_cli.lab.topology import TOPOLOGIES

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture
def stack(request: pytest.FixtureRequest) -> Iterator[Stack]:
    """Everything up and both helpers serving."""
    # Unix socket paths are short: the test's name would not fit.
    work_dir = CHECKOUT / ".postman" / "e2e" / str(os.getpid())
    with LabNetwork(TOPOLOGIES["demo"]) as lab, Stack(lab, work_dir) as running:
        running.start_control()
        for host in lab.topology.with_role("helper"):
            running.start_helper(host)
        running.wait_helpers()
        yield running
