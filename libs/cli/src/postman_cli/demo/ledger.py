# SPDX-License-Identifier: Apache-2.0
"""The endpoints' own books: what an application handed to its socket and what it got out, byte for byte.

Nothing here asks Postman. A message is 64 bytes that only one (connection, direction, sequence number) can have, so
whoever reads it knows whether it is the next one, was seen before, came late, or was altered; a running hash covers
every byte.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import asdict, dataclass, field
from typing import Any

MESSAGE_BYTES = 64
_HEAD = struct.Struct(">4sIQ")  # magic, connection, sequence number
_BODY_BYTES = MESSAGE_BYTES - _HEAD.size
REQUEST = b"REQ\n"
REPLY = b"REP\n"


def message(kind: bytes, connection: int, sequence: int) -> bytes:
    """The one message with this kind, connection and sequence number."""
    head = _HEAD.pack(kind, connection, sequence)
    return head + hashlib.blake2b(head, digest_size=_BODY_BYTES).digest()


def read_head(buf: bytes) -> tuple[bytes, int, int]:
    """(kind, connection, sequence number) as the message itself claims them."""
    kind, connection, sequence = _HEAD.unpack_from(buf)
    return kind, connection, sequence


@dataclass
class SentLedger:
    """One direction of one connection, as its sender wrote it."""

    messages: int = 0
    byte_count: int = 0
    _hash: Any = field(default_factory=lambda: hashlib.blake2b(digest_size=16), repr=False)

    def add(self, buf: bytes) -> None:
        self.messages += 1
        self.byte_count += len(buf)
        self._hash.update(buf)

    def report(self) -> dict[str, object]:
        return {"messages": self.messages, "bytes": self.byte_count, "hash": self._hash.hexdigest()}


class ReceivedLedger:
    """One direction of one connection, as its reader got it: cuts the stream into messages and judges each."""

    def __init__(self, kind: bytes, connection: int | None = None) -> None:
        self.kind = kind
        self.connection = connection  # None: the first message tells
        self.messages = 0
        self.byte_count = 0
        self.duplicated = 0
        self.reordered = 0
        self.corrupted = 0
        self._next = 0
        self._missing: set[int] = set()
        self._tail = b""
        self._hash = hashlib.blake2b(digest_size=16)

    def feed(self, buf: bytes) -> list[int]:
        """Takes what recv returned; gives the sequence numbers of the whole messages in it."""
        self.byte_count += len(buf)
        self._hash.update(buf)
        data = self._tail + buf if self._tail else buf
        whole = len(data) - len(data) % MESSAGE_BYTES
        self._tail = data[whole:]
        return [self._judge(data[at : at + MESSAGE_BYTES]) for at in range(0, whole, MESSAGE_BYTES)]

    def _judge(self, buf: bytes) -> int:
        kind, connection, sequence = read_head(buf)
        if self.connection is None:
            self.connection = connection
        self.messages += 1
        if kind != self.kind or connection != self.connection or buf != message(kind, connection, sequence):
            self.corrupted += 1
        elif sequence == self._next:
            self._next += 1
        elif sequence > self._next:
            self._missing.update(range(self._next, sequence))
            self._next = sequence + 1
        elif sequence in self._missing:
            self._missing.remove(sequence)
            self.reordered += 1
        else:
            self.duplicated += 1
        return sequence

    def report(self) -> dict[str, object]:
        return {
            "messages": self.messages,
            "bytes": self.byte_count,
            "hash": self._hash.hexdigest(),
            "missing": len(self._missing),
            "duplicated": self.duplicated,
            "reordered": self.reordered,
            "corrupted": self.corrupted,
        }


@dataclass
class Verdict:
    """What the two ends' books say together."""

    connections: int = 0
    sent: int = 0
    delivered: int = 0
    lost: int = 0
    duplicated: int = 0
    reordered: int = 0
    corrupted: int = 0
    bytes_sent: int = 0
    bytes_delivered: int = 0
    streams_differing: int = 0  # streams whose bytes at the reader hash otherwise than at the writer

    @property
    def clean(self) -> bool:
        wrong = self.lost + self.duplicated + self.reordered + self.corrupted + self.streams_differing
        return wrong == 0 and self.sent == self.delivered and self.bytes_sent == self.bytes_delivered

    def as_dict(self) -> dict[str, object]:
        return {**asdict(self), "clean": self.clean}


def compare(client: dict[str, dict[str, Any]], server: dict[str, dict[str, Any]]) -> Verdict:
    """Matches the books of both ends: {connection: {"sent": report, "received": report}} each."""
    verdict = Verdict(connections=len(client))
    nothing: dict[str, Any] = {
        "messages": 0,
        "bytes": 0,
        "hash": None,
        "missing": 0,
        "duplicated": 0,
        "reordered": 0,
        "corrupted": 0,
    }
    for connection in client.keys() | server.keys():
        mine = client.get(connection, {"sent": nothing, "received": nothing})
        theirs = server.get(connection, {"sent": nothing, "received": nothing})
        for writer, reader in ((mine["sent"], theirs["received"]), (theirs["sent"], mine["received"])):
            verdict.sent += writer["messages"]
            verdict.delivered += reader["messages"]
            verdict.bytes_sent += writer["bytes"]
            verdict.bytes_delivered += reader["bytes"]
            verdict.duplicated += reader["duplicated"]
            verdict.reordered += reader["reordered"]
            verdict.corrupted += reader["corrupted"]
            arrived_once = reader["messages"] - reader["duplicated"] - reader["corrupted"]
            verdict.lost += max(writer["messages"] - arrived_once, reader["missing"], 0)
            verdict.streams_differing += writer["hash"] != reader["hash"]
    return verdict
