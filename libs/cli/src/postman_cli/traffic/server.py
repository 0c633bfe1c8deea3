# SPDX-License-Identifier: Apache-2.0
"""The server of the traffic: answers each request, checks that it is the next one, and keeps its own ledger."""

from __future__ import annotations

import contextlib
import selectors
import time
from dataclasses import asdict
from typing import Any, Final

from postman_cli.traffic.exchange import Counts, Replies
from postman_cli.traffic.loop import Line

TICK_S: Final = 0.2
CONNECTIONS_MAX: Final = 4096


class _Connection:
    def __init__(self, sock: Any, selector: selectors.BaseSelector, counts: Counts) -> None:
        self.replies = Replies(counts)
        self.line = Line(sock, selector, self)


class TrafficServer:
    """step() again and again; `listener` is what vcl.create_server() returned."""

    def __init__(self, listener: Any) -> None:
        self.counts = Counts()
        self._listener = listener
        self._listener.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(listener, selectors.EVENT_READ, None)
        self._connections: set[_Connection] = set()
        self._accepted = 0
        self._refused = 0
        self._errors = 0
        self._last_error = ""
        self._began_s = time.monotonic()

    def step(self) -> None:
        """One turn; waits for something to happen, a moment at most."""
        for key, mask in self._selector.select(TICK_S):
            if key.data is None:
                self._accept()
            else:
                self._serve(key.data, mask)

    def close(self) -> None:
        """Ends all connections and listens no more."""
        for connection in self._connections:
            connection.line.close()
        self._connections.clear()
        self._selector.close()
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                sock, _ = self._listener.accept()
                if len(self._connections) >= CONNECTIONS_MAX:
                    self._refused += 1
                    sock.close()
                    continue
                self._accepted += 1
                self._connections.add(_Connection(sock, self._selector, self.counts))

    def _serve(self, connection: _Connection, mask: int) -> None:
        try:
            if mask & selectors.EVENT_WRITE:
                connection.line.flush()
            found = connection.line.read() if mask & selectors.EVENT_READ else None
            if found:
                connection.line.write(connection.replies.answer(found))
        except OSError as error:
            self._errors += 1
            self._last_error = f"{error}"
            found = b""
        if found == b"":
            connection.line.close()
            self._connections.discard(connection)

    def book(self, vcl_stats: dict[str, Any]) -> dict[str, Any]:
        """The ledger as it stands. A client that goes away is an error here, but leaves the ledger clean."""
        batches = vcl_stats.get("trunk_batches_in", 0)
        entries = vcl_stats.get("trunk_data_entries_in", 0)
        return {
            "role": "server",
            "clean": self.counts.clean,
            **asdict(self.counts),
            "errors": self._errors,
            "last_error": self._last_error,
            "waiting_for": self._listener.why,
            "connections": len(self._connections),
            "accepted": self._accepted,
            "refused": self._refused,
            "trunk_datagrams": batches,
            "messages_per_trunk_datagram": round(entries / batches, 2) if batches else None,
            "uptime_s": round(time.monotonic() - self._began_s, 3),
        }
