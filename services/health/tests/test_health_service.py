# SPDX-License-Identifier: Apache-2.0
"""Verdicts with a real Postgres and a real NATS: pushed, written, told as facts, known after a restart."""

from __future__ import annotations

from health_parts import TRACE_ID, TRACE_PARENT, Health, Site, until


async def test_a_report_is_pushed_written_and_told(health: Health, site: Site) -> None:
    site.speak(1)
    await site.pushed(1, "up")
    site.silence(1)
    await site.report(1, traceparent=TRACE_PARENT)
    push = await site.pushed(1, "down")
    assert push.reason == "its worker ended"
    said = await health.verdict(1)
    assert (said["verdict"], said["evidence"]["worker_ended"]) == ("down", 1)
    found = await until(lambda: health.events(kind="verdict.down"))
    assert found[0]["body"]["previous"] == "up"
    assert found[0]["trace_id"] == TRACE_ID
    assert TRACE_ID in site.headers[[push.verdict for push in site.pushes].index("down")]["traceparent"]
