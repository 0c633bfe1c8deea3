# SPDX-License-Identifier: Apache-2.0
"""The verdict on a load, from the two ends' history files alone, after everything has ended.

A history (libs/vcl/bench/history.h) is complete: of each connection and direction the numbers of its messages in the
order in which they came, as runs. So what was sent and what arrived can be compared message by message.
"""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

RECORD = struct.Struct("=IIQQ")  # connection, fact, first, count
REQUEST_SENT, REQUEST_RECEIVED, REPLY_SENT, REPLY_RECEIVED = 1, 2, 3, 4
CORRUPTED, TRUNCATED = 0x100, 0x200
WAYS = ((REQUEST_SENT, REQUEST_RECEIVED), (REPLY_SENT, REPLY_RECEIVED))
EXAMPLES_MAX = 10

Runs = list[tuple[int, int]]


@dataclass
class History:
    """One end's book: runs by (connection, fact), and what it could not attribute."""

    runs: dict[tuple[int, int], Runs] = field(default_factory=lambda: defaultdict(list))
    corrupted: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    truncated: int = 0

    @classmethod
    def read(cls, path: Path) -> History:
        """Everything in the file; ValueError if it ends within a record."""
        history = cls()
        raw = path.read_bytes()
        if len(raw) % RECORD.size:
            raise ValueError(f"{path} ends within a record")
        for connection, fact, first, count in RECORD.iter_unpack(raw):
            if fact & CORRUPTED:
                history.corrupted[connection] += count
            elif fact & TRUNCATED:
                history.truncated += count
            else:
                history.runs[connection, fact].append((first, count))
        return history


@dataclass
class Verdict:
    """What both books say together; `examples` are the first faults in words."""

    connections: int = 0
    sent: int = 0
    delivered: int = 0
    lost: int = 0
    duplicated: int = 0
    reordered: int = 0
    corrupted: int = 0
    invented: int = 0  # delivered, and never sent
    incomplete: int = 0  # messages that a history did not have room for
    examples: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Whether each message that was sent came once, in order and unaltered, and no other did."""
        faults = self.lost + self.duplicated + self.reordered + self.corrupted + self.invented + self.incomplete
        return faults == 0 and self.sent == self.delivered

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "clean": self.clean}


def _cover(runs: Iterable[tuple[int, int]]) -> Runs:
    """The same numbers as disjoint runs in rising order."""
    merged: Runs = []
    for first, count in sorted(runs):
        if merged and first <= merged[-1][0] + merged[-1][1]:
            end = max(merged[-1][0] + merged[-1][1], first + count)
            merged[-1] = (merged[-1][0], end - merged[-1][0])
        else:
            merged.append((first, count))
    return merged


def _total(runs: Iterable[tuple[int, int]]) -> int:
    return sum(count for _, count in runs)


def _overlap(a: Sequence[tuple[int, int]], b: Sequence[tuple[int, int]]) -> int:
    """How many numbers are in both; each is disjoint and in rising order."""
    total = at = 0
    for first, count in a:
        while at < len(b) and b[at][0] + b[at][1] <= first:
            at += 1
        look = at
        while look < len(b) and b[look][0] < first + count:
            total += min(first + count, b[look][0] + b[look][1]) - max(first, b[look][0])
            look += 1
    return total


def _late(runs: Runs) -> int:
    """Distinct messages that came after one with a higher number, for the first time."""
    late = 0
    seen: Runs = []
    highest = 0
    for first, count in runs:
        fresh_below = min(first + count, highest) - first
        if fresh_below > 0:
            late += fresh_below - _overlap([(first, fresh_below)], seen)
        seen = _cover([*seen, (first, count)])
        highest = max(highest, first + count)
    return late


def judge(client: History, server: History) -> Verdict:
    """Compares what one end sent with what the other received, both ways."""
    verdict = Verdict(incomplete=client.truncated + server.truncated)
    verdict.corrupted = sum(client.corrupted.values()) + sum(server.corrupted.values())
    known = {connection for connection, _ in client.runs.keys() | server.runs.keys()}
    verdict.connections = len(known)
    for connection in sorted(known):
        for (sent_fact, received_fact), (writer, reader) in zip(
            WAYS, ((client, server), (server, client)), strict=True
        ):
            _judge_stream(
                verdict,
                f"connection {connection}, {'requests' if sent_fact == REQUEST_SENT else 'replies'}",
                writer.runs.get((connection, sent_fact), []),
                reader.runs.get((connection, received_fact), []),
            )
    return verdict


def _judge_stream(verdict: Verdict, name: str, sent: Runs, received: Runs) -> None:
    written, read = _cover(sent), _cover(received)
    both = _overlap(written, read)
    faults = {
        "lost": _total(written) - both,
        "invented": _total(read) - both,
        "duplicated": _total(received) - _total(read),
        "reordered": _late(received),
    }
    verdict.sent += _total(sent)
    verdict.delivered += _total(received)
    for fault, count in faults.items():
        if count:
            setattr(verdict, fault, getattr(verdict, fault) + count)
            if len(verdict.examples) < EXAMPLES_MAX:
                verdict.examples.append(f"{name}: {count} {fault}; sent {sent[:5]}, received {received[:5]}")
