# SPDX-License-Identifier: Apache-2.0
"""The lab's links lose, delay and cut as they are told, and are whole again afterwards."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from postman_cli.lab.impairment import CUT_FROM_HOST, CUT_TO_HOST, Impairment, LinkFault
from postman_cli.lab.network import LabNetwork
from postman_cli.lab.topology import TOPOLOGIES

pytestmark = [pytest.mark.root, pytest.mark.timeout(120)]

COUNT = 200  # as many as wait in a socket whose reader does not run
ECHO = """
import socket, sys
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.bind((sys.argv[1], 9))
print("ready", flush=True)
seen = 0
while True:
    said, who = sock.recvfrom(100)
    seen += said != b"how many"
    sock.sendto(said if said != b"how many" else b"%d" % seen, who)
    if said == b"how many":
        seen = 0
"""
ASK = """
import json, socket, sys, time
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.settimeout(0.2)
back, fastest = [], 9.0
for n in range(int(sys.argv[2])):
    began = time.monotonic()
    sock.sendto(b"%d" % n, (sys.argv[1], 9))
    if n % 20 == 19:
        time.sleep(0.002)
while True:
    try:
        back.append(int(sock.recv(100)))
    except TimeoutError:
        break
for n in range(5):
    began = time.monotonic()
    sock.sendto(b"0", (sys.argv[1], 9))
    try:
        sock.recv(100)
    except TimeoutError:
        break
    fastest = min(fastest, time.monotonic() - began)
print(json.dumps({"back": len(back), "in_order": back == sorted(back), "rtt_s": fastest}))
"""


def ask(lab: LabNetwork) -> dict[str, float]:
    """200 datagrams to s1 and their echoes; then the fastest of five one by one (9 s: none came back)."""
    argv = lab["c1"].enter([sys.executable, "-c", ASK, lab.topology.host("s1").data_address, str(COUNT)])
    said: dict[str, float] = json.loads(subprocess.run(argv, check=True, capture_output=True).stdout)
    return said


def test_loss_delay_and_cuts() -> None:
    with LabNetwork(TOPOLOGIES["direct"]) as lab:
        argv = [sys.executable, "-c", ECHO, lab.topology.host("s1").data_address]
        echo = lab["s1"].start(argv, stdout=subprocess.PIPE)
        try:
            assert echo.stdout is not None
            assert echo.stdout.readline() == b"ready\n"
            assert ask(lab)["back"] == COUNT

            with Impairment(lab, "c1", LinkFault(loss_from_host=0.2, loss_to_host=0.2), seed=1) as lossy:
                found = ask(lab)
            assert found["back"] < COUNT
            assert found["in_order"]
            assert min(lossy.counts["lost"]) > 0
            assert max(lossy.counts["lost"]) < COUNT / 2

            with Impairment(lab, "s1", LinkFault(delay_us=20_000, jitter_us=1000)) as slow:
                found = ask(lab)
            assert found["back"] == COUNT
            assert found["in_order"]
            assert found["rtt_s"] >= 0.040
            assert slow.counts["lost"] == [0, 0]

            for fault, lost, passed in ((CUT_FROM_HOST, 0, 1), (CUT_TO_HOST, 1, 0)):
                with Impairment(lab, "s1", fault) as cut:
                    assert ask(lab)["back"] == 0
                assert cut.counts["passed"][lost] == 0
                assert cut.counts["lost"][passed] == 0
                assert cut.counts["lost"][lost] > 0

            assert ask(lab)["back"] == COUNT  # whole again
        finally:
            echo.kill()
            echo.wait()
            if echo.stdout is not None:
                echo.stdout.close()
