# SPDX-License-Identifier: Apache-2.0
"""An attacker at the switch of a lab. Runs inside the switch's namespace:

    attacker.py CLIENT_PCAP SERVER_PCAP SPOOFED_MAC SPOOFED_IP

The captures are what an attacker on the path of the client's leg, and of a trunk, has seen. Each line of its standard
input is one attempt, as JSON: [what it makes, device, address of the target, how many]. It makes hostile UDP payloads
of the captures; they leave from the live sender's address, or from the spoofed one. Says what it sent as a JSON line.
The same seed each time.
"""

from __future__ import annotations

import json
import random
import socket
import struct
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from attack_wire import Datagram, datagrams

VERSION = 1 << 5
DATA, ACK, OPEN, OPEN_COOKIE, OPEN_ACK, RESUME, RESUME_ACK = 0, 1, 2, 3, 4, 5, 6
PATH_CHALLENGE, PROBE, PONG, BUSY, STATELESS_RESET, RESET, REFUSED, TRUNK = 7, 9, 10, 12, 13, 14, 17, 31
BATCH_SEQ = slice(12, 16)  # of a trunk datagram
PACE_S = 0.001  # after each few: a burst would be lost in queues, and nobody would have to refuse it
FEW = 4
# Bytes of the frames that servers answer clients with, of libs/wire/include/postman/wire.h.
ANSWERS = {OPEN_COOKIE: 56, OPEN_ACK: 76, RESUME_ACK: 52, PATH_CHALLENGE: 48, REFUSED: 44}


def type_of(payload: bytes) -> int:
    return payload[0] & 0x1F if payload and payload[0] >> 5 == 1 else -1


@dataclass
class Seen:
    """What the captures hold for one target."""

    live: list[Datagram]  # sent to the target
    frames: dict[int, list[bytes]]  # C-frames of clients, by type
    rng: random.Random

    def one(self, kind: int) -> bytes:
        return self.rng.choice(self.frames[kind])

    @property
    def cid(self) -> bytes:
        return self.one(DATA)[4:12]

    @property
    def session(self) -> bytes:
        """One that lives, as far as one can see: it has moved or probed its path."""
        return self.one(next(kind for kind in (RESUME, PROBE, OPEN) if kind in self.frames))[4:12]


def control(kind: int, name: bytes, epoch: int, body: bytes) -> bytes:
    return struct.pack(">BBBB8sI", VERSION | kind, 0, epoch & 0xFF, 0, name, epoch) + body


def forged_resume(seen: Seen) -> bytes:
    """A whole one of the live session, for a later epoch by the direct path; only its MAC is a guess."""
    rng, server_and_shard = seen.rng, seen.one(OPEN)[24:27]
    body = (
        rng.randbytes(8) + server_and_shard[:2] + bytes(2) + bytes([0, server_and_shard[2], 0, 0]) + rng.randbytes(16)
    )
    return control(RESUME, seen.session, rng.randrange(2, 300), body)


def injected_data(seen: Seen, cid: bytes) -> bytes:
    """64 bytes for a connection, with guessed numbers and a guessed check."""
    rng = seen.rng
    head = struct.pack(
        ">BBBB8sIIHH",
        VERSION | DATA,
        0x80,
        rng.choice((1, 2, 3)),
        0,
        cid,
        rng.randrange(1 << 16) * 64,
        rng.randrange(1 << 16) * 64,
        rng.randrange(1 << 11),
        64,
    )
    return head + rng.randbytes(64 + 4)


def forged_answer(seen: Seen) -> bytes:
    """Any answer of a server to the live session or one of its connections, with a guessed MAC or token."""
    rng = seen.rng
    kind = rng.choice([*ANSWERS, RESET, STATELESS_RESET])
    if kind == STATELESS_RESET:
        return bytes([VERSION | kind, 0, 0, 0]) + seen.cid + rng.randbytes(16)
    if kind == RESET:
        return control(kind, seen.cid, 1, rng.randbytes(8) + bytes([1, 0, 0, 0]) + rng.randbytes(16))
    body = bytearray(rng.randbytes(ANSWERS[kind] - 16))
    if kind in (OPEN_COOKIE, OPEN_ACK, REFUSED):
        body[0:8] = seen.one(OPEN)[16:24]  # a nonce that was used
    for kinds, start, end in (((RESUME_ACK,), 16, 20), ((REFUSED,), 9, 12), ((PATH_CHALLENGE,), 13, 16)):
        if kind in kinds:
            body[start:end] = bytes(end - start)  # reserved, or an empty list
    return control(kind, seen.session, rng.randrange(1, 4), bytes(body))


def forged_hint(seen: Seen) -> bytes:
    """BUSY for bytes in flight, and PONG that says "draining": the two frames without a MAC."""
    rng, data = seen.rng, seen.one(DATA)
    if rng.random() < 0.5:
        return bytes([VERSION | BUSY, 0, 0, 0]) + data[4:16] + struct.pack(">IHH", 0xFFFFFFFF, 1, 0)
    nonce = seen.one(PROBE)[16:24] if PROBE in seen.frames else rng.randbytes(8)
    return control(PONG, seen.session, 1, nonce + struct.pack(">HHI", 1, 1, 1) + bytes(16))


def altered(seen: Seen, payload: bytes | bytearray) -> bytes:
    flipped = bytearray(payload)
    flipped[seen.rng.randrange(len(flipped))] ^= 1 << seen.rng.randrange(8)
    return bytes(flipped)


def altered_batch(seen: Seen) -> bytes:
    """As it was but for one bit; or as new, with a number that was not there yet."""
    batch = bytearray(copied(seen))
    if seen.rng.random() < 0.5:
        return altered(seen, batch)
    number = int.from_bytes(batch[BATCH_SEQ], "big") + seen.rng.randrange(1 << 20, 1 << 24)
    batch[BATCH_SEQ] = (number & 0xFFFF_FFFF).to_bytes(4, "big")
    return bytes(batch)


def copied(seen: Seen) -> bytes:
    return seen.rng.choice(seen.live).payload


def copied_control(seen: Seen) -> bytes:
    """OPEN, RESUME and PROBE of clients, as they were."""
    return seen.one(seen.rng.choice([kind for kind in (OPEN, RESUME, PROBE) if kind in seen.frames]))


MAKERS: dict[str, Callable[[Seen], bytes]] = {
    "copies": copied,
    "copied control": copied_control,
    "copied data": lambda seen: seen.one(DATA),
    "altered batches": altered_batch,
    "altered frames": lambda seen: altered(seen, seen.one(seen.rng.choice(list(seen.frames)))),
    "forged RESUME": forged_resume,
    "data, guessed id": lambda seen: injected_data(seen, seen.rng.randbytes(8)),
    "data, known id": lambda seen: injected_data(seen, seen.cid),
    "forged answers": forged_answer,
    "forged hints": forged_hint,
}


def on_trunk(seen: Seen) -> list[Datagram]:
    return [datagram for datagram in seen.live if type_of(datagram.payload) == TRUNK]


class Attacker:
    def __init__(self, captures: list[Path], mac: str, address: str) -> None:
        self._seen = [datagram for path in captures for datagram in datagrams(path)]
        self._spoofed = bytes.fromhex(mac.replace(":", "")), socket.inet_aton(address), 6666
        self._frames: dict[int, list[bytes]] = {}
        for datagram in self._seen:
            if type_of(datagram.payload) in (DATA, OPEN, RESUME, PROBE):
                self._frames.setdefault(type_of(datagram.payload), []).append(datagram.payload)

    def attempt(self, makes: str, device: str, target: str, count: int) -> dict[str, int]:
        what, *conditions = makes.split("; ")
        live = [datagram for datagram in self._seen if datagram.to_ip == socket.inet_aton(target)]
        seen = Seen(live, self._frames, random.Random(48))
        if "trunk" in conditions:
            seen.live = on_trunk(seen)
        sent_bytes = 0
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as port:
            port.bind((device, 0))
            for n in range(count):
                template, payload = seen.rng.choice(seen.live), MAKERS[what](seen)
                port.send(template.frame(payload, self._spoofed if "spoofed" in conditions else None))
                sent_bytes += len(payload)
                if n % FEW == 0:
                    time.sleep(PACE_S)
        return {"sent": count, "bytes": sent_bytes}


def main() -> None:
    *captures, mac, address = sys.argv[1:]
    attacker = Attacker([Path(path) for path in captures], mac, address)
    for order in sys.stdin:
        sys.stdout.write(json.dumps(attacker.attempt(*json.loads(order))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
