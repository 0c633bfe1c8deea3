# SPDX-License-Identifier: Apache-2.0
"""A thousand forged, truncated and replayed datagrams each at the helper and at the server, under traffic.

Counters move, nothing else does.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from postman_cli.demo.stack import Stack
from postman_cli.demo.traffic import Traffic

pytestmark = [pytest.mark.root, pytest.mark.timeout(240)]

INJECT = Path(__file__).with_name("inject.py")
COUNT = 1050  # for each target; a multiple of the number of kinds
CONNECTIONS = 16
REQUESTS_MAX = 3_000_000  # more than there is time for: the traffic ends after the last hostile datagram


def capture(stack: Stack, device: str, path: Path) -> None:
    argv = ["tcpdump", "-i", device, "-U", "-w", str(path), "-c", "3000", "udp"]
    subprocess.run(stack.lab.switch.enter(argv), check=True, capture_output=True, timeout=60)


def inject(stack: Stack, pcap: Path, device: str, target: str) -> dict[str, int]:
    argv = stack.lab.switch.enter([sys.executable, str(INJECT), str(pcap), device, target, str(COUNT)])
    done = subprocess.run(argv, check=True, capture_output=True, text=True, timeout=60)
    said = json.loads(done.stdout)
    assert said["from_live"] > 0
    sent: dict[str, int] = said["sent"]
    assert sum(sent.values()) == COUNT
    return sent


def drops(stats: dict) -> int:
    return sum(stats["drops"].values())


def test_hostile_datagrams_change_nothing_but_counters(stack: Stack, tmp_path: Path) -> None:
    names = stack.wait_helpers()
    traffic = Traffic(stack)
    traffic.start(connections=CONNECTIONS, requests=REQUESTS_MAX)
    helper_id = 0
    while helper_id == 0:  # a busy machine is on the direct path for a while
        traffic.follow(until=5_000, on_helper=True)
        helper_id = traffic.helper_id
        assert traffic.client is not None
        assert traffic.client.process.poll() is None
    helper = names[helper_id]
    topology = stack.lab.topology
    before = stack.worker_stats(helper)
    worker = stack.worker_pid(helper)

    for host in (helper, "s1"):
        path = tmp_path / f"{host}.pcap"
        capture(stack, f"d-{host}", path)
        sent = inject(stack, path, f"d-{host}", topology.host(host).data_address)
        assert min(sent.values()) > 100

    after = stack.worker_stats(helper)
    assert traffic.client is not None
    assert traffic.client.process.poll() is None  # all of it happened under traffic
    traffic.enough()
    verdict, client, server = traffic.finish()
    assert verdict.clean, verdict
    assert client["errors"] == server["errors"] == []
    # Every path change that the server made is one that the client asked for: only the client raises the epoch, from 1.
    last_epoch = max((event["epoch"] for event in client["path_events"]), default=1)
    assert server["vcl"]["path_moves"] <= last_epoch - 1
    assert stack.worker_pid(helper) == worker

    # What cannot be genuine is dropped and counted by name: at least truncated, garbage, extended and wrong versions.
    assert drops(after) - drops(before) >= COUNT * 4 // 7 * 0.9
    assert sum(server["vcl"]["drops"].values()) >= COUNT * 5 // 7 * 0.9
    assert server["vcl"]["sessions"] == 1
    assert server["vcl"]["connections"] <= CONNECTIONS
    assert server["vcl"]["accepts"] == CONNECTIONS
