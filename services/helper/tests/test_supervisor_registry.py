# SPDX-License-Identifier: Apache-2.0
"""The whole supervisor as a process, with the real registry, NATS and Postgres, and a worker that moves no packets."""

from __future__ import annotations

import asyncio
import base64
import os
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest
from supervisor_parts import Helper, drain_commands, next_heartbeat, order, register_server

from postman_contracts.tokens import trunk_keys
from postman_helper.incarnation import SILENT_S_MAX

REGISTRATION = {"data_address": "198.18.0.10", "client_port": 4701, "trunk_port": 4702, "workers": 1, "version": "0"}


def test_a_worker_is_started_with_the_identity_that_the_registry_gave(helper: Helper) -> None:
    start = helper.wait_serving(1)
    assert start["mode"] == "0o600"
    assert start["config"]["helper_id"] == str(helper.entry()["helper_id"])
    assert start["config"]["data_address"] == "198.18.0.10/24"
    assert len(bytes.fromhex(start["config"]["cid_key"])) == 16


def test_heartbeats_carry_the_workers_stats(helper: Helper, control_plane: Any) -> None:
    helper.wait_serving(1)
    helper_id = helper.entry()["helper_id"]
    heartbeat = asyncio.run(next_heartbeat(control_plane.nats_url, helper_id, lambda beat: bool(beat["stats"])))
    assert (heartbeat["v"], heartbeat["incarnation"], heartbeat["state"]) == (1, 1, "up")
    assert heartbeat["stats"]["drops.malformed"] == 7


def test_the_server_table_follows_the_registry(helper: Helper, control_plane: Any) -> None:
    helper.wait_serving(1)
    with control_plane.client("agent") as client:
        grant = register_server(client, 7001)
        helper.wait_until(lambda: len(sets_of(helper, grant)) == 2, what="server set of both shards")
        keys = trunk_keys(base64.b64decode(grant["trunk_secret"]), helper.entry()["helper_id"], 1)
        hexes = [keys.to_server.hex(), keys.to_helper.hex()]
        assert [words[2:] for words in sets_of(helper, grant)] == [
            ["0", "198.18.0.20", "7001", *hexes],
            ["1", "198.18.0.20", "7002", *hexes],
        ]
        client.delete(f"/v1/servers/{grant['server_id']}", params={"incarnation": grant["incarnation"]})
    removal = ["remove", str(grant["server_id"])]
    helper.wait_until(lambda: removal in [event["words"] for event in helper.worker.events("server")], what="removal")


def sets_of(helper: Helper, grant: dict[str, Any]) -> list[list[str]]:
    words = [event["words"] for event in helper.worker.events("server")]
    return [w for w in words if w[0] == "set" and w[1] == str(grant["server_id"])]


def test_a_crashed_worker_comes_back_as_the_next_incarnation(helper: Helper, control_plane: Any) -> None:
    with control_plane.client("agent") as client:
        grant = register_server(client, 7101)
        os.kill(helper.wait_serving(1)["pid"], signal.SIGKILL)
        helper.wait_serving(2)

        def has_keys_of_both() -> bool:
            # Nobody else renews this server's lease, which a busy machine may let run out before the second worker.
            renewal = {"incarnation": grant["incarnation"]}
            client.put(f"/v1/servers/{grant['server_id']}/lease", json=renewal).raise_for_status()
            return len({tuple(command[-2:]) for command in sets_of(helper, grant)}) == 2

        helper.wait_until(has_keys_of_both, what="the servers' table with keys of its own, for each incarnation")
        client.delete(f"/v1/servers/{grant['server_id']}", params={"incarnation": grant["incarnation"]})


def test_a_worker_that_does_not_start_is_tried_again(helper: Helper, fake_worker: Any) -> None:
    helper.wait_serving(1)
    fake_worker.tell("start", "exit")
    os.kill(helper.starts()[0]["pid"], signal.SIGKILL)
    helper.wait_until(lambda: len(helper.starts()) >= 3, what="two more starts")
    fake_worker.untell("start")
    helper.wait_serving()
    assert helper.entry()["incarnation"] == len(helper.starts()), "each start has an identity of its own"
    assert "EAL: no such device" in helper.log.read_text()


def test_a_stale_incarnation_gets_a_new_identity_and_a_new_worker(helper: Helper, control_plane: Any) -> None:
    first = helper.wait_serving(1)
    with control_plane.client("agent") as client:
        thief = client.post("/v1/helpers", json={"name": helper.name, **REGISTRATION}).raise_for_status().json()
    assert thief["incarnation"] == 2
    helper.wait_serving(3)
    assert [event["pid"] for event in helper.worker.events("sigterm")] == [first["pid"]]
    assert len(helper.starts()) == 2


def test_sigterm_drains_gives_the_lease_back_and_exits_with_0(helper: Helper) -> None:
    pid = helper.wait_serving(1)["pid"]
    helper.worker.tell("busy")
    helper.process.send_signal(signal.SIGTERM)
    helper.wait_until(lambda: helper.entry()["state"] == "draining", what="state draining")
    helper.wait_until(lambda: helper.worker.events("drain"), what="drain on")
    assert helper.process.poll() is None, "data still flows"
    helper.worker.untell("busy")
    assert helper.wait_exit() == 0
    assert helper.entry()["state"] == "gone"
    assert [event["pid"] for event in helper.worker.events("sigterm")] == [pid]


def test_a_second_sigterm_does_not_wait_for_the_data(helper: Helper) -> None:
    helper.wait_serving(1)
    helper.worker.tell("busy")
    helper.process.send_signal(signal.SIGTERM)
    helper.wait_until(lambda: helper.worker.events("drain"), what="drain on")
    helper.process.send_signal(signal.SIGTERM)
    assert helper.wait_exit() == 0
    assert helper.entry()["state"] == "gone"


def test_an_operators_order_parks_it_until_the_order_to_serve_again(helper: Helper, control_plane: Any) -> None:
    first = helper.wait_serving(1)
    helper_id = helper.entry()["helper_id"]
    order(helper, "drain")
    helper.wait_until(lambda: drain_commands(helper) == ["on"], what="drain on")
    asyncio.run(next_heartbeat(control_plane.nats_url, helper_id, lambda beat: beat["state"] == "draining"))
    assert helper.entry()["state"] == "draining"
    order(helper, "undrain")
    helper.wait_serving(1)
    assert drain_commands(helper) == ["on", "off"]
    asyncio.run(next_heartbeat(control_plane.nats_url, helper_id, lambda beat: beat["state"] == "up"))
    assert [start["pid"] for start in helper.starts()] == [first["pid"]], "the same worker all the time"


def test_a_parked_helper_stays_so_when_its_worker_or_it_itself_starts_again(helper: Helper) -> None:
    helper.wait_serving(1)
    order(helper, "drain")
    helper.wait_until(lambda: drain_commands(helper) == ["on"], what="drain on")
    os.kill(helper.starts()[-1]["pid"], signal.SIGKILL)
    helper.wait_until(lambda: drain_commands(helper) == ["on", "on"], what="drain on for the next worker")
    helper.stop()
    helper.start()
    helper.wait_until(lambda: drain_commands(helper) == ["on", "on", "on"], what="drain on after the restart")
    helper.wait_until(lambda: (entry := helper.entry())["state"] == "draining" and entry["stats"], what="its lease")
    assert helper.entry()["incarnation"] == 3
    order(helper, "undrain")
    helper.wait_serving(3)


def test_a_parked_helper_leaves_on_sigterm(helper: Helper) -> None:
    helper.wait_serving(1)
    order(helper, "drain")
    helper.wait_until(lambda: drain_commands(helper) == ["on"], what="drain on")
    helper.process.send_signal(signal.SIGTERM)
    assert helper.wait_exit() == 0
    assert helper.entry()["state"] == "gone"


def test_orders_are_heard_without_nats(helper: Helper, control_plane: Any) -> None:
    helper.wait_serving(1)
    control_plane.nats.stop()
    try:
        order(helper, "drain")
        helper.wait_until(lambda: drain_commands(helper) == ["on"], what="drain on")
        order(helper, "undrain")
        helper.wait_until(lambda: drain_commands(helper) == ["on", "off"], what="drain off")
        helper.wait_serving(1)
    finally:
        control_plane.nats.start()


def test_an_outage_of_the_registry_does_not_touch_the_worker(helper: Helper, control_plane: Any) -> None:
    first = helper.wait_serving(1)
    control_plane.stop_registry()
    helper.wait_until(lambda: helper.log.read_text().count("lease not renewed") >= 3, what="renewals that fail")
    control_plane.start()
    helper.wait_serving(1)
    assert [start["pid"] for start in helper.starts()] == [first["pid"]]
    assert not helper.worker.events("sigterm")


def test_a_worker_that_crashes_in_an_outage_comes_back_after_it(helper: Helper, control_plane: Any) -> None:
    first = helper.wait_serving(1)
    control_plane.stop_registry()
    os.kill(first["pid"], signal.SIGKILL)
    helper.wait_until(lambda: "not registered" in helper.log.read_text(), what="a registration that fails")
    control_plane.start()
    helper.wait_serving(2)


def test_without_nats_the_lease_is_kept(helper: Helper, control_plane: Any) -> None:
    helper.wait_serving(1)
    control_plane.nats.stop()
    try:
        expires = helper.entry()["lease_expires_at"]
        helper.wait_until(lambda: helper.entry()["lease_expires_at"] > expires, what="a renewal")
        assert len(helper.starts()) == 1
    finally:
        control_plane.nats.start()
    helper_id = helper.entry()["helper_id"]
    asyncio.run(next_heartbeat(control_plane.nats_url, helper_id, lambda beat: True))


@pytest.mark.slow
def test_a_silent_worker_gets_no_heartbeats_and_is_replaced(helper: Helper) -> None:
    first = helper.wait_serving(1)
    helper.worker.tell("mute")
    helper.wait_until(lambda: helper.entry()["state"] == "down", what="state down")
    helper.wait_until(lambda: "is killed" in helper.log.read_text(), what="the end of the silent worker")
    helper.worker.untell("mute")
    helper.wait_until(lambda: len(helper.starts()) >= 2, what="its successor")
    assert helper.wait_serving()["pid"] != first["pid"]


def test_a_second_supervisor_of_the_same_helper_is_told_so(helper: Helper) -> None:
    helper.wait_serving(1)
    second = helper.run_second()
    assert second.returncode == 2
    assert f"in use by process {helper.process.pid}" in second.stderr
    assert helper.entry()["incarnation"] == 1


def test_a_server_that_the_worker_refuses_is_tried_again_with_the_next_change(
    helper: Helper, control_plane: Any
) -> None:
    helper.wait_serving(1)
    helper.worker.tell("refuse")
    with control_plane.client("agent") as client:
        first = register_server(client, 7201)
        helper.wait_until(lambda: "no space" in helper.log.read_text(), what="the refusal")
        helper.worker.untell("refuse")
        second = register_server(client, 7301)
        helper.wait_until(lambda: len(sets_of(helper, second)) == 2 == len(sets_of(helper, first)), what="both servers")
        for grant in (first, second):
            client.delete(f"/v1/servers/{grant['server_id']}", params={"incarnation": grant["incarnation"]})


@pytest.mark.slow
def test_a_pause_of_the_supervisor_does_not_cost_the_worker(helper: Helper, wait_until: Callable[..., Any]) -> None:
    first = helper.wait_serving(1)
    helper.process.send_signal(signal.SIGSTOP)
    continue_at_s = time.monotonic() + SILENT_S_MAX + 1.0
    wait_until(lambda: time.monotonic() > continue_at_s)
    assert helper.entry()["state"] == "down"
    helper.process.send_signal(signal.SIGCONT)
    assert helper.wait_serving(1)["pid"] == first["pid"]
    assert len(helper.starts()) == 1
