# SPDX-License-Identifier: Apache-2.0
"""An attacker at the switch of a lab: puts hostile Ethernet frames, made from captured ones, onto one port.

Runs inside the switch's namespace: inject.py PCAP DEVICE TARGET_IP COUNT. It prints how many of each kind it sent.
Source addresses, ports and identifiers are those of live traffic, which is the best an attacker on the network could do
without the keys. The same seed each time.
"""

from __future__ import annotations

import json
import random
import socket
import sys

from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Packet
from scapy.utils import PcapReader

KINDS = ("replayed", "truncated", "flipped", "garbage", "extended", "unknown_id", "unknown_version")
# Bytes 4 to 11 of a C-frame are its connection or session id; of a trunk batch helper, worker, shard and incarnation.
ID_AT, ID_BYTES = 4, 8


def hostile(kind: str, payload: bytes, rng: random.Random) -> bytes:
    """One hostile UDP payload made from a live one."""
    buf = bytearray(payload)
    if kind == "truncated":
        return bytes(buf[: rng.randrange(len(buf))])
    if kind == "flipped":
        buf[rng.randrange(len(buf))] ^= 1 << rng.randrange(8)
    elif kind == "garbage":
        buf = bytearray(rng.randbytes(rng.randrange(1, 1400)))
    elif kind == "extended":
        buf += rng.randbytes(rng.randrange(1, 16))
    elif kind == "unknown_id":
        buf[ID_AT : ID_AT + ID_BYTES] = rng.randbytes(ID_BYTES)
    elif kind == "unknown_version":
        buf[0] ^= 0x80
    return bytes(buf)


def frame(live: Packet, payload: bytes) -> bytes:
    """The live frame with another UDP payload, lengths and checksums made right again."""
    eth, ip, udp = live[Ether], live[IP], live[UDP]
    ether = Ether(src=eth.src, dst=eth.dst)
    return bytes(ether / IP(src=ip.src, dst=ip.dst) / UDP(sport=udp.sport, dport=udp.dport) / payload)


def main() -> None:
    pcap, device, target, count = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
    with PcapReader(pcap) as packets:
        live = [p for p in packets if UDP in p and p[IP].dst == target and bytes(p[UDP].payload)]
    rng = random.Random(20)
    sent = dict.fromkeys(KINDS, 0)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as port:
        port.bind((device, 0))
        for n in range(count):
            kind = KINDS[n % len(KINDS)]
            packet = rng.choice(live)
            port.send(frame(packet, hostile(kind, bytes(packet[UDP].payload), rng))[:1514])
            sent[kind] += 1
    sys.stdout.write(json.dumps({"sent": sent, "from_live": len(live)}))


if __name__ == "__main__":
    main()
