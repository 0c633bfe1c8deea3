# SPDX-License-Identifier: Apache-2.0
"""The client that keeps sending: bounded rate, bounded outstanding requests, every reply checked, until SIGTERM.

A connection that ends with an error is replaced, but the error and the requests without a reply stay in the ledger.
"""

from __future__ import annotations

import selectors
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Final

from postman_cli.traffic.exchange import Counts, Requests
from postman_cli.traffic.loop import Line

TICK_S: Final = 0.01
"""Requests leave in bursts, one a tick, as those of many independent clients would meet at a helper."""
RECONNECT_S: Final = 1.0
DRAIN_S: Final = 5.0
"""After the order to stop, outstanding requests have this long; what is not answered then is lost."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is sent."""

    connections: int
    rate_per_s: float
    depth: int
    """Requests outstanding on each connection, at most."""
    any_transport: bool = False
    """Else a connection over plain TCP is closed and tried again: there is no VCL yet."""


class _Connection:
    def __init__(self, number: int, sock: Any, selector: selectors.BaseSelector, counts: Counts) -> None:
        self.sock = sock
        self.requests = Requests(number, counts)
        self.line = Line(sock, selector, self)


class TrafficClient:
    """step() again and again; `dial` makes a connected socket or raises OSError."""

    def __init__(self, plan: Plan, dial: Callable[[], Any]) -> None:
        self.plan = plan
        self.counts = Counts()
        self._dial = dial
        self._selector = selectors.DefaultSelector()
        self._connections: list[_Connection] = []
        self._turn = 0
        self._connects = 0
        self._errors = 0
        self._last_error = ""
        self._waiting_for = ""
        self._began_s = self._ticked_s = time.monotonic()
        self._dial_at_s = 0.0
        self._replied_at_s: float | None = None
        self._allowance = 0.0
        self._stopping_since_s: float | None = None

    def step(self) -> None:
        """One turn: connects, sends what is due, reads what came. Waits a tick at most, or for one connect."""
        now = time.monotonic()
        if self._stopping_since_s is None:
            if len(self._connections) < self.plan.connections and now >= self._dial_at_s:
                self._connect()
            if now >= self._ticked_s + TICK_S:
                self._send_due(now)
        wait_s = max(0.0, self._ticked_s + TICK_S - time.monotonic())
        for key, mask in self._selector.select(wait_s):
            self._serve(key.data, mask)

    def begin_stop(self) -> None:
        """No new requests from now on."""
        if self._stopping_since_s is None:
            self._stopping_since_s = time.monotonic()

    @property
    def is_done(self) -> bool:
        """Whether it was told to stop and nothing is outstanding, or has been for too long."""
        if self._stopping_since_s is None:
            return False
        return self.outstanding == 0 or time.monotonic() > self._stopping_since_s + DRAIN_S

    @property
    def outstanding(self) -> int:
        """Requests without a reply."""
        return sum(connection.requests.outstanding for connection in self._connections)

    def close(self) -> None:
        """Ends all connections; requests without a reply are lost."""
        for connection in self._connections:
            connection.requests.end()
            connection.line.close()
        self._connections.clear()
        self._selector.close()

    # --- connections ----------------------------------------------------------------------------------

    def _connect(self) -> None:
        try:
            sock = self._dial()
        except OSError as error:
            self._put_off(f"{error}")
            return
        if sock.transport != "vcl" and not self.plan.any_transport:
            sock.close()
            self._put_off(sock.why)
            return
        self._waiting_for = ""
        self._connects += 1
        self._connections.append(_Connection(self._connects, sock, self._selector, self.counts))

    def _put_off(self, why: str) -> None:
        """Nothing was sent yet, so nothing is lost: this is no error, but it is told."""
        self._waiting_for = why
        self._dial_at_s = time.monotonic() + RECONNECT_S

    def _drop(self, connection: _Connection, why: str) -> None:
        self._errors += 1
        self._last_error = why
        connection.requests.end()
        connection.line.close()
        self._connections.remove(connection)

    # --- messages ---------------------------------------------------------------------------------------

    def _send_due(self, now: float) -> None:
        burst_max = self.plan.connections * self.plan.depth
        self._allowance = min(self._allowance + (now - self._ticked_s) * self.plan.rate_per_s, burst_max)
        self._ticked_s = now
        for _ in range(int(self._allowance)):
            connection = self._next_free()
            if connection is None:
                return
            self._allowance -= 1
            try:
                connection.line.write(connection.requests.make())
            except OSError as error:
                self._drop(connection, f"send: {error}")

    def _next_free(self) -> _Connection | None:
        """The next in turn that may have another request outstanding."""
        for _ in range(len(self._connections)):
            self._turn = (self._turn + 1) % len(self._connections)
            connection = self._connections[self._turn]
            if connection.requests.outstanding < self.plan.depth:
                return connection
        return None

    def _serve(self, connection: _Connection, mask: int) -> None:
        try:
            if mask & selectors.EVENT_WRITE:
                connection.line.flush()
            found = connection.line.read() if mask & selectors.EVENT_READ else None
        except OSError as error:
            self._drop(connection, f"{error}")
            return
        if found == b"":
            self._drop(connection, "the server ended the stream")
        elif found and connection.requests.judge(found):
            self._replied_at_s = time.monotonic()

    # --- the ledger ---------------------------------------------------------------------------------------

    def book(self) -> dict[str, Any]:
        """The ledger as it stands."""
        now = time.monotonic()
        paths = [path for c in self._connections if (path := c.sock.path()) is not None]
        return {
            "role": "client",
            "clean": self.counts.clean and self._errors == 0,
            **asdict(self.counts),
            "outstanding": self.outstanding,
            "errors": self._errors,
            "last_error": self._last_error,
            "waiting_for": self._waiting_for,
            "connections": len(self._connections),
            "connects": self._connects,
            "helpers": Counter(str(path.helper_id) for path in paths),
            "moves": max((path.moves for path in paths), default=0),
            "last_reply_age_s": None if self._replied_at_s is None else round(now - self._replied_at_s, 3),
            "uptime_s": round(now - self._began_s, 3),
        }
