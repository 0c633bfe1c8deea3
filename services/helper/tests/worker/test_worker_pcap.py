# SPDX-License-Identifier: Apache-2.0
"""Packets in from a capture file, packets out to another (DPDK's net_pcap): no network, no rights, byte for byte."""

from __future__ import annotations

from typing import Any

import pytest
import wire_model as wire
from scapy.layers.inet import ICMP, IP, TCP, UDP, fragment
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Packet, Raw
from scapy.utils import rdpcap, wrpcap
from worker_peers import CLIENT_PORT, TRUNK_PORT, cid, data_frame, probe_frame
from worker_program import HELPER_ID, HELPER_IP, INCARNATION, Worker, WorkerFiles, eventually

MAC = "02:70:63:61:70:00"  # net_pcap's: 02 "pcap" 00
CLIENT_IP, CLIENT_MAC = "198.18.0.1", "02:00:00:00:00:01"
ROUTER_IP, ROUTER_MAC = "198.18.0.254", "02:00:00:00:00:fe"
FAR_IP = "203.0.113.5"
BROADCAST = "ff:ff:ff:ff:ff:ff"

WHO_HAS = Ether(src=CLIENT_MAC, dst=BROADCAST) / ARP(op=1, hwsrc=CLIENT_MAC, psrc=CLIENT_IP, pdst=HELPER_IP)


def _ip(**fields: Any) -> Packet:
    return Ether(src=CLIENT_MAC, dst=MAC) / IP(**{"src": CLIENT_IP, "dst": HELPER_IP, **fields})


def _udp(payload: bytes, port: int = CLIENT_PORT, **fields: Any) -> Packet:
    return _ip(**fields) / UDP(sport=4000, dport=port) / Raw(payload)


def _run(files: WorkerFiles, packets: list[Packet], nb_out: int, **changes: str) -> tuple[list[Packet], dict[str, int]]:
    """What the worker sends when it gets these packets, and its drop counters."""
    received, sent = files.folder / "in.pcap", files.folder / "out.pcap"
    wrpcap(str(received), packets)
    device = f"net_pcap0,rx_pcap={received},tx_pcap={sent}"
    with Worker(files.binary, files.write(device=device, **changes)) as worker:
        assert worker.ready["mac"] == MAC
        eventually("all packets are read", lambda: worker.stats()["rx_packets"] == len(packets))
        eventually("the answers are sent", lambda: worker.stats()["tx_packets"] >= nb_out)
        drops = worker.drops()
    return list(rdpcap(str(sent))), drops


def test_arp_is_answered(files: WorkerFiles) -> None:
    out, drops = _run(files, [WHO_HAS], 1)
    assert len(out) == 1
    assert out[0][Ether].dst == CLIENT_MAC
    assert out[0][Ether].src == MAC
    arp = out[0][ARP]
    assert (arp.op, arp.hwsrc, arp.psrc, arp.hwdst, arp.pdst) == (2, MAC, HELPER_IP, CLIENT_MAC, CLIENT_IP)
    assert drops == {}


def test_ping_is_answered(files: WorkerFiles) -> None:
    request = _ip(ttl=3) / ICMP(id=7, seq=9) / Raw(b"abcdefg")
    out, drops = _run(files, [request], 1)
    expected = Ether(src=MAC, dst=CLIENT_MAC) / IP(src=HELPER_IP, dst=CLIENT_IP, ttl=64)
    expected = expected / ICMP(type=0, id=7, seq=9) / Raw(b"abcdefg")
    assert [bytes(packet) for packet in out] == [bytes(expected)]
    assert drops == {}


def test_probe_of_a_known_neighbour(files: WorkerFiles) -> None:
    out, drops = _run(files, [WHO_HAS, _udp(probe_frame(7, nonce=5))], 2)
    assert len(out) == 2
    pong = out[1]
    assert (pong[Ether].src, pong[Ether].dst) == (MAC, CLIENT_MAC)
    assert (pong[IP].src, pong[IP].dst, pong[IP].flags) == (HELPER_IP, CLIENT_IP, "DF")
    assert (pong[UDP].sport, pong[UDP].dport) == (CLIENT_PORT, 4000)
    rebuilt = Ether(bytes(pong))
    del rebuilt[IP].chksum, rebuilt[UDP].chksum
    assert bytes(rebuilt) == bytes(pong)  # scapy computes the same checksums
    fields = wire.control_decode("pong", bytes(pong[UDP].payload))
    assert (fields["nonce"], fields["helper_id"], fields["incarnation"]) == (5, HELPER_ID, INCARNATION)
    assert drops == {"unknown_server": 1}  # nobody to pass it on to


def test_an_unknown_neighbour_is_asked_for(files: WorkerFiles) -> None:
    out, _ = _run(files, [_udp(probe_frame(7))], 1)
    assert out[0][Ether].dst == BROADCAST
    arp = out[0][ARP]
    assert (arp.op, arp.hwsrc, arp.psrc, arp.pdst) == (1, MAC, HELPER_IP, CLIENT_IP)


def test_a_far_client_is_answered_by_way_of_the_gateway(files: WorkerFiles) -> None:
    router = Ether(src=ROUTER_MAC, dst=BROADCAST) / ARP(op=1, hwsrc=ROUTER_MAC, psrc=ROUTER_IP, pdst=HELPER_IP)
    out, _ = _run(files, [router, _udp(probe_frame(7), src=FAR_IP)], 2, gateway=ROUTER_IP)
    assert (out[1][Ether].dst, out[1][IP].dst) == (ROUTER_MAC, FAR_IP)


def test_without_a_gateway_a_far_client_is_not(files: WorkerFiles) -> None:
    out, drops = _run(files, [_udp(probe_frame(7), src=FAR_IP)], 0)
    assert out == []
    assert drops == {"out_no_route": 1, "unknown_server": 1}


_LONG = _udp(bytes(1400))
_TO_US, _TO_ALL = Ether(src=CLIENT_MAC, dst=MAC), Ether(src=CLIENT_MAC, dst=BROADCAST)
_BAD: list[tuple[Packet, str]] = [
    (Ether(src=CLIENT_MAC, dst=ROUTER_MAC) / IP(src=CLIENT_IP, dst=HELPER_IP) / UDP(dport=CLIENT_PORT), "mac_not_ours"),
    (Ether(src=MAC, dst=MAC) / IP(src=CLIENT_IP, dst=HELPER_IP) / UDP(dport=CLIENT_PORT), "mac_source"),
    (Ether(src=CLIENT_MAC, dst=MAC, type=0x86DD) / Raw(bytes(60)), "ether_type"),
    (_TO_US / Dot1Q(vlan=5) / IP(dst=HELPER_IP) / UDP(), "ether_type"),
    (_TO_US / ARP(op=1, hwlen=5, psrc=CLIENT_IP, pdst=HELPER_IP), "arp_malformed"),
    (_TO_ALL / ARP(op=1, hwsrc=CLIENT_MAC, psrc=CLIENT_IP, pdst="198.18.0.77"), "arp_not_ours"),
    (_TO_ALL / ARP(op=2, hwsrc=CLIENT_MAC, psrc=HELPER_IP, pdst=HELPER_IP), "arp_conflict"),
    (_udp(b"", version=5), "ip_malformed"),
    (_udp(b"", len=2000), "ip_malformed"),
    (_udp(b"", chksum=1), "ip_checksum"),
    (fragment(_LONG, 600)[0], "ip_fragment"),
    (fragment(_LONG, 600)[-1], "ip_fragment"),
    (_udp(b"", dst="198.18.0.11"), "ip_not_ours"),
    (_udp(b"", src="198.18.0.255"), "ip_source"),
    (_udp(b"", src=HELPER_IP), "ip_source"),
    (_ip() / TCP(dport=CLIENT_PORT), "ip_protocol"),
    (_ip() / ICMP(type=3, code=3) / Raw(bytes(28)), "icmp"),
    (_ip() / UDP(sport=0, dport=CLIENT_PORT), "udp_malformed"),
    (_ip() / UDP(sport=9, dport=CLIENT_PORT, len=4000), "udp_malformed"),
    (_udp(b"", port=9), "udp_port"),
    (_udp(b""), "malformed"),
    (_udp(b"\x00" * 60), "malformed"),
    (_udp(data_frame(1, b"x")[:20]), "malformed"),
    (_udp(data_frame(cid(1, 9), b"x")), "unknown_server"),
    (_udp(wire.first_byte(10).to_bytes(1, "big") + bytes(47)), "not_for_helper"),
    (_udp(bytes(100), port=TRUNK_PORT), "trunk_unknown"),
]  # fmt: skip


@pytest.mark.parametrize(("packet", "reason"), _BAD, ids=[f"{i}-{reason}" for i, (_, reason) in enumerate(_BAD)])
def test_each_bad_packet_has_its_counter(files: WorkerFiles, packet: Packet, reason: str) -> None:
    out, drops = _run(files, [packet] * 3, 0)
    assert out == []
    assert drops == {reason: 3}


def test_all_bad_packets_at_once(files: WorkerFiles) -> None:
    """And a good one after them."""
    out, drops = _run(files, [packet for packet, _ in _BAD] * 20 + [WHO_HAS], 1)
    assert len(out) == 1
    assert sum(drops.values()) == 20 * len(_BAD)
