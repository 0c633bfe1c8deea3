# SPDX-License-Identifier: Apache-2.0
"""One connection's messages, as each end judges them. No sockets here; memory is bounded by what is outstanding."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from postman_cli.demo.ledger import MESSAGE_BYTES, REPLY, REQUEST, message, read_head


@dataclass
class Counts:
    """What happened to the messages of one end, on all its connections so far."""

    sent: int = 0
    received: int = 0
    lost: int = 0
    duplicated: int = 0
    reordered: int = 0
    altered: int = 0

    @property
    def clean(self) -> bool:
        """Whether each message came once, in order and as it was sent."""
        return not (self.lost or self.duplicated or self.reordered or self.altered)


class _Cutter:
    """Cuts a byte stream into whole messages."""

    def __init__(self) -> None:
        self._tail = b""

    def feed(self, buf: bytes) -> list[bytes]:
        data = self._tail + buf
        whole = len(data) - len(data) % MESSAGE_BYTES
        self._tail = data[whole:]
        return [data[at : at + MESSAGE_BYTES] for at in range(0, whole, MESSAGE_BYTES)]


class Requests:
    """The client's side: makes requests, and knows which replies must come, and in which order."""

    def __init__(self, connection: int, counts: Counts) -> None:
        self._connection = connection
        self._counts = counts
        self._cutter = _Cutter()
        self._next = 0
        self._outstanding: deque[int] = deque()

    @property
    def outstanding(self) -> int:
        """Requests without a reply."""
        return len(self._outstanding)

    def make(self) -> bytes:
        """The next request."""
        sequence = self._next
        self._next += 1
        self._outstanding.append(sequence)
        self._counts.sent += 1
        return message(REQUEST, self._connection, sequence)

    def judge(self, buf: bytes) -> int:
        """Takes what recv returned; how many whole messages that was."""
        messages = self._cutter.feed(buf)
        for one in messages:
            self._judge(one)
        return len(messages)

    def _judge(self, one: bytes) -> None:
        _, _, sequence = read_head(one)
        self._counts.received += 1
        if one != message(REPLY, self._connection, sequence) or sequence >= self._next:
            self._counts.altered += 1
        elif self._outstanding and sequence == self._outstanding[0]:
            self._outstanding.popleft()
        elif sequence in self._outstanding:
            self._outstanding.remove(sequence)
            self._counts.reordered += 1
        else:
            self._counts.duplicated += 1

    def end(self) -> None:
        """No reply will come any more."""
        self._counts.lost += len(self._outstanding)
        self._outstanding.clear()


class Replies:
    """The server's side: each request must be the one after the last, and gets its reply.

    It cannot know what was outstanding: of two that change places, one counts as lost and the other as duplicated.
    """

    def __init__(self, counts: Counts) -> None:
        self._counts = counts
        self._cutter = _Cutter()
        self._connection: int | None = None
        self._next = 0

    def answer(self, buf: bytes) -> bytes:
        """The replies to the requests in what recv returned."""
        return b"".join(self._answer(one) for one in self._cutter.feed(buf))

    def _answer(self, one: bytes) -> bytes:
        _, connection, sequence = read_head(one)
        self._counts.received += 1
        if self._connection is None:
            self._connection = connection
        if one != message(REQUEST, self._connection, sequence):
            self._counts.altered += 1
            return b""
        if sequence < self._next:
            self._counts.duplicated += 1
        else:
            self._counts.lost += sequence - self._next
            self._next = sequence + 1
        self._counts.sent += 1
        return message(REPLY, self._connection, sequence)
