# SPDX-License-Identifier: Apache-2.0
"""One failover, one trace: what the dead helper's supervisor saw, health's verdict, its push, the client's resume.

In a lab, with DPDK helpers; the OTLP receiver runs in the control host, which all others reach.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import otlp_receiver
import pytest
from otlp_receiver import Received, Span, chain

from postman_cli.demo.stack import Stack
from postman_cli.demo.traffic import Traffic
from postman_cli.lab.network import LabNetwork
from postman_cli.lab.topology import TOPOLOGIES

pytestmark = [pytest.mark.root, pytest.mark.timeout(240)]

CHECKOUT = Path(__file__).resolve().parents[2]
RECEIVER_PORT = 4318
KILLS_MAX = 4  # on a busy machine the client may have left the helper by itself, just before
INTERNAL, PRODUCER, CONSUMER = 1, 4, 5  # SpanKind of OTLP


@pytest.fixture
def received(tmp_path: Path) -> Received:
    """What the lab's receiver has kept."""
    return Received(tmp_path / "otlp")


@pytest.fixture
def stack(received: Received, otlp_variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    """A whole Postman, all of which exports."""
    work_dir = CHECKOUT / ".postman" / "mesh" / str(os.getpid())  # short: Unix sockets are made in it
    with LabNetwork(TOPOLOGIES["demo"]) as lab, Stack(lab, work_dir) as running:
        control = lab.topology.with_role("control")[0]
        url = f"http://{control.mgmt_address}:{RECEIVER_PORT}"
        for name, value in (otlp_variables | {"OTEL_EXPORTER_OTLP_ENDPOINT": url}).items():
            monkeypatch.setenv(name, value)
        receiver = lab[control.name].start(
            [sys.executable, otlp_receiver.__file__, control.mgmt_address, str(RECEIVER_PORT), str(received.folder)]
        )
        try:
            running.start_control()
            for host in lab.topology.with_role("helper"):
                running.start_helper(host)
            running.wait_helpers()
            yield running
            running.stop()
        finally:
            stop(receiver)


def stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.wait(20)


def test_one_trace_from_the_helpers_death_to_the_clients_resume(
    stack: Stack, received: Received, wait_until: Callable[..., Any]
) -> None:
    traffic = Traffic(stack)
    traffic.start(connections=4, requests=4_000_000)  # more than it will have time for

    def resumed() -> list[Span]:
        spans = received.spans()
        ways = [chain(spans, span) for span in spans if span.name == "vcl.resume"]
        return next((way for way in ways if way[-1].name == "helper.worker_ended"), [])

    way: list[Span] = []
    for _ in range(KILLS_MAX):
        traffic.follow(until=1, on_helper=True)
        host = stack.wait_helpers().get(traffic.helper_id)
        if host is None:
            continue
        stack.kill_worker(host)
        with contextlib.suppress(AssertionError):
            way = wait_until(resumed, timeout_s=15, what="a resume in the trace of a helper's death")
            break
    assert way, sorted({(span.service, span.name) for span in received.spans()})
    way.reverse()
    assert [(span.service, span.name) for span in way] == [
        ("postman-helper", "helper.worker_ended"),
        ("postman-helper", "publish postman.v1.report.helper.*"),
        ("postman-health", "process postman.v1.report.helper.*"),
        ("postman-health", "health.verdict"),
        ("postman-health", "publish postman.v1.verdict.helper.*"),
        ("postman-demo-client", "vcl.resume"),
    ]
    assert [span.kind for span in way[1:5]] == [PRODUCER, CONSUMER, INTERNAL, PRODUCER]
    assert way[3].attributes["postman.verdict"] == "down"
    assert way[-1].attributes["vcl.helper.from"] == way[0].attributes["postman.helper.id"]
    begins = [span.begin_ns for span in way[:-1]]  # one machine, one clock; the resume counts from the first silence
    assert begins == sorted(begins)
    assert all(span.trace_id == way[0].trace_id for span in way)

    def history() -> bool:
        names = [(span.service, span.name) for span in received.spans() if span.trace_id == way[0].trace_id]
        return ("postman-health", "publish postman.v1.fact.verdict.down") in names

    wait_until(history, what="the history's fact in the same trace")
