# SPDX-License-Identifier: Apache-2.0
"""Every service, NATS and Postgres killed at random under traffic: who talks does not notice, and nothing that was
acknowledged is lost.

Workload, nemesis and checker are apart: the traffic's two ledgers, this file's killing, and chaos_writer.py, which
reads everything back after the last kill. For longer than a moment: POSTMAN_CHAOS_S=300 ./postman test --only network
-k chaos
"""

from __future__ import annotations

import json
import os
import random
import time
from pathlib import Path

import psutil
import pytest

from postman_cli.demo.stack import Program, Stack

pytestmark = [pytest.mark.root, pytest.mark.slow]

CHAOS_S = float(os.environ.get("POSTMAN_CHAOS_S", "20"))
SEED = int(os.environ.get("POSTMAN_CHAOS_SEED", "1"))
BETWEEN_KILLS_S = (1.0, 6.0)
LONGEST_S = CHAOS_S + 120
WRITES = {"measurement", "placement", "epoch", "server", "server gone"}
PORT = 7007
PARTS = {
    "registry": "postman_registry",
    "placement": "postman_placement",
    "health": "postman_health",
    "nats": "nats-server",
    "postgres": "bin/postgres",
}
SITES = [
    {"name": "h1", "domain": "a"},
    {"name": "h2", "domain": "b"},
]
LINKS = [{"a": "h1", "b": "h2", "rtt_us": 500}]
DEMAND = {"group": "chaos", "service": "chaos", "site": "h1", "server_site": "h2", "rate_pps": 100}


def pid_of(control: Program, part: str) -> int | None:
    """The process of a part of `postman up`: its oldest child of that name (the postmaster, not its children)."""
    try:
        children = psutil.Process(control.process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return None
    found = []
    for child in children:
        try:
            if any(PARTS[part] in word for word in child.cmdline()):
                found.append((child.create_time(), child.pid))
        except psutil.Error:
            continue
    return min(found)[1] if found else None


def torment(control: Program, writer: Program) -> dict[str, int]:
    """Kills parts at random with SIGKILL; how often each. Goes on until each kind of write was acknowledged, too."""
    choice = random.Random(SEED)
    began_s = time.monotonic()
    killed = dict.fromkeys(PARTS, 0)
    order = list(PARTS)

    def is_enough() -> bool:
        written = {line.get("acknowledged") for line in writer.lines}
        return time.monotonic() - began_s > CHAOS_S and all(killed.values()) and written >= WRITES

    while not is_enough():
        assert time.monotonic() - began_s < LONGEST_S, (killed, writer.lines[-20:])
        assert control.process.poll() is None, f"postman up gave up:\n{control.log_tail(40)}"
        # each of them in the first round, however short
        part = order.pop(choice.randrange(len(order))) if order else choice.choice(list(PARTS))
        pid = pid_of(control, part)
        if pid is not None:
            psutil.Process(pid).kill()
            killed[part] += 1
        elif killed[part] == 0:
            order.append(part)
        time.sleep(choice.uniform(*BETWEEN_KILLS_S))
    return killed


@pytest.mark.timeout(LONGEST_S + 300)
def test_everything_of_the_control_plane_is_killed_again_and_again(stack: Stack, tmp_path: Path) -> None:
    books = tmp_path
    control = stack.control
    assert control is not None
    stack.ask("placement", "PUT", "/v1/topology", {"sites": SITES, "links": LINKS})
    stack.ask("placement", "PUT", "/v1/demands", {"items": [DEMAND]})
    where = ["--host", stack.lab.topology.host("s1").data_address, "--port", str(PORT)]
    server = stack.start(
        "s1", "traffic-server", "postman_cli", ["traffic", "server", *where, "--ledger", str(books / "s")]
    )
    client = stack.start(
        "c1",
        "traffic-client",
        "postman_cli",
        ["traffic", "client", *where, "--connections", "32", "--rate", "2000", "--ledger", str(books / "c")],
    )
    writer = stack.start(
        "ctl", "writer", "chaos_writer", [json.dumps(stack.ready)], PYTHONPATH=str(Path(__file__).parent)
    )
    writer.wait_for(lambda line: "ready" in line, "a writer that writes")
    killed = torment(control, writer)
    writer.process.terminate()
    verdict = writer.wait_for(lambda line: "verdict" in line, "the writer's verdict", timeout_s=180)["verdict"]
    assert client.stop() == 0, client.log_tail()
    assert server.stop() == 0, server.log_tail()
    book = json.loads((books / "c").read_text())

    assert min(killed.values()) >= 1
    assert verdict["lost"] == []
    assert verdict["events_missing"] == []
    assert verdict["events_twice"] == 0
    assert min(verdict["acknowledged"].values()) >= 1, verdict
    assert book["clean"], book
    assert book["errors"] == 0
    assert book["received"] == book["sent"] > 0
    assert book["outstanding"] == 0
