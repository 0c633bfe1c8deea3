# SPDX-License-Identifier: Apache-2.0
"""Helpers die under traffic: the ledgers of the two ends stay clean."""

from __future__ import annotations

import pytest

from postman_cli.demo.stack import Stack
from postman_cli.demo.traffic import Traffic

pytestmark = [pytest.mark.root, pytest.mark.timeout(240)]


def test_the_helper_in_use_is_killed(stack: Stack) -> None:
    names = stack.wait_helpers()
    traffic = Traffic(stack)
    traffic.start(connections=32, requests=40_000)
    traffic.follow(until=20_000, on_helper=True)
    used = traffic.helper_id
    assert used in names
    stack.kill_worker(names[used])
    verdict, client, server = traffic.finish()
    assert verdict.clean, verdict
    assert client["errors"] == server["errors"] == []
    assert verdict.sent == 2 * 40_000
    moves = [e for e in client["path_events"] if e["type"] == "path_moved"]
    assert any(event["from_helper_id"] == used for event in moves), client["path_events"]


def test_all_helpers_are_killed_and_the_direct_path_carries_on(stack: Stack) -> None:
    traffic = Traffic(stack)
    traffic.start(connections=16, requests=30_000)
    traffic.follow(until=10_000)
    for program in stack.helpers.values():
        # A supervisor's death is its worker's too, so no new worker appears.
        program.process.kill()
        program.process.wait()
    verdict, client, server = traffic.finish()
    assert verdict.clean, verdict
    assert client["errors"] == server["errors"] == []
    last_move = [e for e in client["path_events"] if e["type"] == "path_moved"][-1]
    assert last_move["to_helper_id"] == 0


def test_a_helper_drains_and_nothing_notices(stack: Stack) -> None:
    names = stack.wait_helpers()
    traffic = Traffic(stack)
    traffic.start(connections=16, requests=40_000)
    traffic.follow(until=10_000, on_helper=True)
    drained = names[traffic.helper_id]
    program = stack.helpers.pop(drained)
    assert program.stop(timeout_s=60) == 0, program.log_tail()
    verdict, client, server = traffic.finish()
    assert verdict.clean, verdict
    assert client["errors"] == server["errors"] == []


def test_an_ordered_drain_moves_the_traffic_and_the_helper_stays(stack: Stack) -> None:
    names = stack.wait_helpers()
    traffic = Traffic(stack)
    traffic.start(connections=16, requests=40_000)
    traffic.follow(until=10_000, on_helper=True)
    drained = traffic.helper_id
    worker_pid = stack.worker_pid(names[drained])
    stack.ask("registry", "POST", f"/v1/helpers/{drained}/drain")
    verdict, client, server = traffic.finish()
    assert verdict.clean, verdict
    assert client["errors"] == server["errors"] == []
    moves = [e for e in client["path_events"] if e["type"] == "path_moved" and e["from_helper_id"] == drained]
    assert moves, client["path_events"]
    assert stack.registry(f"/v1/helpers/{drained}")["state"] == "draining"
    stack.ask("registry", "POST", f"/v1/helpers/{drained}/undrain")
    assert drained in stack.wait_helpers()
    assert stack.worker_pid(names[drained]) == worker_pid
