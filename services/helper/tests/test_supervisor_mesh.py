# SPDX-License-Identifier: Apache-2.0
"""The supervisor among the other services: reports of its worker's end, assignments, what its heartbeats say."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Callable
from typing import Any

import nats
import pytest
from supervisor_parts import SITE, Helper, heard, next_heartbeat, order

from postman_contracts import subjects
from postman_contracts.messages import HelperHeartbeat, HelperReport


async def report_after(helper: Helper, event: str, do: Callable[[], object]) -> HelperReport:
    """The report of this kind that follows."""
    helper_id = helper.entry()["helper_id"]
    async with heard(helper.control_plane.nats_url, subjects.helper_report(helper_id)) as until:
        do()
        return HelperReport.model_validate_json((await until(lambda found: found["event"] == event)).data)


def test_a_worker_that_ends_is_reported_at_once(helper: Helper) -> None:
    start = helper.wait_serving(1)
    report = asyncio.run(report_after(helper, "worker-ended", lambda: os.kill(start["pid"], signal.SIGKILL)))
    assert (report.incarnation, report.detail) == (1, "killed by SIGKILL")
    assert report.helper_id == helper.entry()["helper_id"]


@pytest.mark.slow
def test_a_silent_worker_is_reported_before_its_end(helper: Helper) -> None:
    helper.wait_serving(1)
    report = asyncio.run(report_after(helper, "worker-silent", lambda: helper.worker.tell("mute")))
    assert (report.incarnation, report.detail) == (1, "no answer for 5 s")


def test_a_worker_that_is_stopped_in_order_is_not_reported(helper: Helper) -> None:
    helper.wait_serving(1)
    helper_id = helper.entry()["helper_id"]

    async def listen() -> list[str]:
        """The subjects of what it says until it is gone."""
        client = await nats.connect(helper.control_plane.nats_url)
        heard_subjects: list[str] = []

        async def on_report(message: nats.aio.msg.Msg) -> None:
            heard_subjects.append(message.subject)

        await client.subscribe(subjects.helper_report(helper_id), cb=on_report)
        await client.flush()
        helper.process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(helper.wait_exit) == 0
        await client.flush()
        await client.close()
        return heard_subjects

    assert asyncio.run(listen()) == []


def test_heartbeats_say_when_the_next_one_comes(helper: Helper, control_plane: Any) -> None:
    helper.wait_serving(1)
    helper_id = helper.entry()["helper_id"]
    beat = asyncio.run(next_heartbeat(control_plane.nats_url, helper_id, lambda _: True))
    assert HelperHeartbeat.model_validate(beat).interval_s == 0.1


# --- assignments --------------------------------------------------------------------------------------


def apply_a_placement(helper: Helper) -> int:
    """One group at one site, which can only get a helper there; the epoch."""
    topology = {"sites": [{"name": SITE}], "links": []}
    demand = {"group": "g", "service": "echo", "site": SITE, "server_site": SITE, "rate_pps": 1000}
    with helper.control_plane.client("operator", "placement") as client:
        client.put("/v1/topology", json=topology).raise_for_status()
        client.put("/v1/demands", json={"items": [demand]}).raise_for_status()
        placement = client.post("/v1/placements", json={}, timeout=30).raise_for_status().json()
        applied = client.post(f"/v1/placements/{placement['placement_id']}/apply").raise_for_status().json()
    return int(applied["epoch"])


def test_an_epoch_that_names_it_is_prepared_for_and_said(helper: Helper, control_plane: Any) -> None:
    first = helper.wait_serving(1)
    helper_id = helper.entry()["helper_id"]
    epoch = apply_a_placement(helper)

    def prepared(incarnation: int) -> None:
        def wanted(beat: dict[str, Any]) -> bool:
            return bool(beat["incarnation"] == incarnation and beat["assignment_epoch"] == epoch)

        asyncio.run(next_heartbeat(control_plane.nats_url, helper_id, wanted))

    prepared(1)
    helper.wait_until(lambda: "prepared for assignments" in helper.log.read_text(), what="what it heard on NATS")
    os.kill(first["pid"], signal.SIGKILL)
    prepared(2)  # of which it hears by its lease


def test_foreign_messages_do_not_harm_it(helper: Helper, control_plane: Any) -> None:
    first = helper.wait_serving(1)
    helper_id = helper.entry()["helper_id"]

    async def send() -> None:
        for user, subject in (
            ("registry", subjects.helper_order(helper_id)),
            ("placement", subjects.assignment_fact("changed")),
        ):
            client = await nats.connect(control_plane.nats.url_of(user))
            for payload in (b"", b"{", b"\xff" * 100, b'{"order": "explode"}', json.dumps({"epoch": -1}).encode()):
                await client.publish(subject, payload)
            await client.close()

    asyncio.run(send())
    order(helper, "drain")
    helper.wait_until(lambda: helper.worker.events("drain"), what="an order after all that")
    order(helper, "undrain")
    assert helper.wait_serving(1)["pid"] == first["pid"]
