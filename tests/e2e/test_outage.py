# SPDX-License-Identifier: Apache-2.0
"""The control plane is advice: with all of it dead, open connections go on and survive a helper's death."""

from __future__ import annotations

import contextlib
import signal
import time

import psutil
import pytest

from postman_cli.demo.stack import Stack
from postman_cli.demo.traffic import Traffic

pytestmark = [pytest.mark.root, pytest.mark.timeout(240)]


def lives(process: psutil.Process) -> bool:
    """False for a zombie, too: in a container, nobody may be there to wait for orphans of the killed."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_registry_postgres_and_nats_die_and_then_a_helper(stack: Stack) -> None:
    names = stack.wait_helpers()
    traffic = Traffic(stack)
    traffic.start(connections=32, requests=120_000)
    traffic.follow(until=10_000)

    assert stack.control is not None
    family = psutil.Process(stack.control.process.pid)
    members = [family, *family.children(recursive=True)]  # it itself first: it would start again what ended
    commands = " ".join(" ".join(p.cmdline()) for p in members)
    assert "postgres" in commands
    assert "nats-server" in commands
    assert "postman_registry" in commands
    for member in members:
        with contextlib.suppress(psutil.NoSuchProcess):  # gone with its parent
            member.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 10
    while any(map(lives, members)):
        assert time.monotonic() < deadline
        time.sleep(0.01)

    traffic.follow(until=30_000, on_helper=True)  # traffic goes on
    used = traffic.helper_id
    assert used in names
    assert traffic.client is not None
    assert traffic.client.process.poll() is None  # there is something left to lose
    stack.kill_worker(names[used])
    verdict, client, server = traffic.finish()
    assert verdict.clean, verdict
    assert client["errors"] == server["errors"] == []
    # Without a registry the killed helper cannot come back, so a client that got all its replies had left it.
    moves = [event for event in client["path_events"] if event["type"] == "path_moved"]
    assert moves
    assert moves[-1]["to_helper_id"] != used
