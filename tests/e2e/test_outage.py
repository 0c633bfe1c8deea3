# SPDX-License-Identifier: Apache-2.0
"""The control plane is advice: with all of it dead, open connections go on and survive a helper's death."""

from __future__ import annotations

import signal

import psutil
import pytest

from postman_cli.demo.stack import Stack
from postman_cli.demo.traffic import Traffic

pytestmark = [pytest.mark.root, pytest.mark.timeout(240)]


def test_registry_postgres_and_nats_die_and_then_a_helper(stack: Stack) -> None:
    names = stack.wait_helpers()
    traffic = Traffic(stack)
    traffic.start(connections=32, requests=120_000)
    traffic.follow(until=10_000)

    assert stack.control is not None
    family = psutil.Process(stack.control.process.pid)
    members = [*family.children(recursive=True), family]
    commands = " ".join(" ".join(p.cmdline()) for p in members)
    assert "postgres" in commands
    assert "nats-server" in commands
    assert "postman_registry" in commands
    for member in members:
        member.send_signal(signal.SIGKILL)
    psutil.wait_procs(members, timeout=10)
    assert not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in members)

    traffic.follow(until=30_000, on_helper=True)  # traffic goes on
    used = traffic.helper_id
    assert used in names
    stack.kill_worker(names[used])
    verdict, client, server = traffic.finish()
    assert verdict.clean, verdict
    assert client["errors"] == server["errors"] == []
    # Without a registry the killed helper cannot come back, so a client that got all its replies had left it.
    moves = [event for event in client["path_events"] if event["type"] == "path_moved"]
    assert moves
    assert moves[-1]["to_helper_id"] != used
