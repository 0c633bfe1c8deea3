# SPDX-License-Identifier: Apache-2.0
"""What is on the wire at a helper: small datagrams in and large ones out to the server, and the reverse for replies."""

from __future__ import annotations

import time
from pathlib import Path
from statistics import mean

import pytest
from scapy.layers.inet import IP, UDP
from scapy.utils import PcapReader

from postman_cli.demo.stack import Stack
from postman_cli.demo.traffic import Traffic

pytestmark = [pytest.mark.root, pytest.mark.timeout(240)]

CLIENT_PORT, TRUNK_PORT = 4701, 4702
# The longest of the small frames: an OPEN, 136. A message of 64 bytes has 84 as a short frame, a long one at most 117.
SMALL_BYTES_MAX = 140
LARGE_BYTES = 1200
SEVERAL = 2


def capture(stack: Stack, helper: str, path: Path) -> None:
    """Traffic while tcpdump listens at the switch port of one helper."""
    traffic = Traffic(stack)
    dump = stack.lab.switch.start(
        ["tcpdump", "-i", f"d-{helper}", "-B", "16384", "-U", "-w", str(path), "-c", "20000", "udp"]
    )
    try:
        time.sleep(0.5)  # tcpdump says nothing once it listens; a late start only makes the capture shorter
        # A busy machine can look like a dead helper. What is shown here is the helper, so there is no other path.
        traffic.start(connections=64, requests=20_000, VCL_PATHS="helpers")
        verdict, client, _ = traffic.finish()
        assert verdict.clean, verdict
        assert client["errors"] == []
    finally:
        dump.terminate()
        dump.wait()


def payloads(path: Path) -> dict[tuple[str, int, str, int], list[int]]:
    """UDP payload lengths of a capture by (source, source port, destination, destination port)."""
    found: dict[tuple[str, int, str, int], list[int]] = {}
    with PcapReader(str(path)) as packets:
        for packet in packets:
            if UDP in packet:
                key = (packet[IP].src, packet[UDP].sport, packet[IP].dst, packet[UDP].dport)
                found.setdefault(key, []).append(packet[UDP].len - 8)
    return found


def test_small_in_large_out_and_the_reverse(stack: Stack, tmp_path: Path) -> None:
    topology = stack.lab.topology
    client, server = topology.host("c1").data_address, topology.host("s1").data_address
    # Which of the two the client uses is the registry's choice: with only one there is no choice.
    stack.helpers.pop("h2").stop(timeout_s=60)
    helper = topology.host("h1").data_address
    path = tmp_path / "helper.pcap"
    capture(stack, "h1", path)
    flows = payloads(path)

    def lengths(source: str, target: str, source_port: int = 0, target_port: int = 0) -> list[int]:
        return [
            length
            for (src, sport, dst, dport), all_lengths in flows.items()
            if src == source and dst == target and source_port in (0, sport) and target_port in (0, dport)
            for length in all_lengths
        ]

    small_in = lengths(client, helper, target_port=CLIENT_PORT)
    large_out = lengths(helper, server, source_port=TRUNK_PORT)
    large_in = lengths(server, helper, target_port=TRUNK_PORT)
    small_out = lengths(helper, client, source_port=CLIENT_PORT)
    assert min(map(len, (small_in, large_out, large_in, small_out))) > 100

    data_in = [n for n in small_in if n >= 64]
    data_out = [n for n in small_out if n >= 64]
    assert sum(n <= SMALL_BYTES_MAX for n in data_in) >= 0.99 * len(data_in)
    assert sum(n <= SMALL_BYTES_MAX for n in data_out) >= 0.99 * len(data_out)
    # Several of them in each trunk datagram, so fewer and larger datagrams on the server's side, both ways. How many
    # depends on the machine's load (the demo reports the mean), and opening and closing count here as well.
    for small, large in ((data_in, large_out), (data_out, large_in)):
        assert mean(large) > SEVERAL * mean(small)
        assert len(small) > SEVERAL * len(large)
        assert max(large) > LARGE_BYTES
    assert lengths(client, server) == []  # nothing went past the helper
