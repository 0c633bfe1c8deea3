# SPDX-License-Identifier: Apache-2.0
"""The demo's client: many connections in one selectors loop, each with a bounded number of requests outstanding.

It prints one JSON line per progress step and keeps its own ledger; at the end it writes its books, every reply's
time, and the path events that its VCL saw. SIGUSR1 says that it has asked enough: it waits for the replies it is owed.
"""

from __future__ import annotations

import argparse
import json
import selectors
import signal
import socket
import sys
import time
from array import array
from pathlib import Path
from types import ModuleType
from typing import Any

from postman_kit import telemetry

from .. import __version__
from .ledger import REPLY, REQUEST, ReceivedLedger, SentLedger, message

_PROGRESS_S = 0.2
_READ_BYTES = 65536


class _Connection:
    def __init__(self, number: int, sock: Any, requests: int, depth: int) -> None:
        self.number = number
        self.sock = sock
        self.requests = requests
        self.depth = depth
        self.sent = SentLedger()
        self.received = ReceivedLedger(REPLY, number)
        self.reply_times_ns = array("Q")
        self.send_times_ns = array("Q")
        self.backlog = b""

    @property
    def done(self) -> bool:
        return self.received.messages >= self.requests

    def fill(self) -> None:
        """Keeps `depth` requests outstanding until all are sent."""
        out = []
        while self.sent.messages < self.requests and self.sent.messages - self.received.messages < self.depth:
            request = message(REQUEST, self.number, self.sent.messages)
            self.sent.add(request)
            self.send_times_ns.append(time.monotonic_ns())
            out.append(request)
        self.backlog += b"".join(out)
        self.flush()

    def flush(self) -> None:
        while self.backlog:
            try:
                taken = self.sock.send(self.backlog)
            except BlockingIOError:
                return
            self.backlog = self.backlog[taken:]

    def on_readable(self) -> int:
        """How many replies came."""
        try:
            buf = self.sock.recv(_READ_BYTES)
        except BlockingIOError:
            return 0
        if not buf:
            raise ConnectionResetError("the server ended the stream before all replies came")
        got = self.received.feed(buf)
        now = time.monotonic_ns()
        self.reply_times_ns.extend([now] * len(got))
        self.fill()
        return len(got)


class DemoClient:
    def __init__(self, connections: list[_Connection], vcl: ModuleType | None) -> None:
        self.connections = connections
        self.vcl = vcl
        self.replies = 0
        self.errors: list[str] = []
        self.enough = False
        self._reported_at = 0.0
        self.selector = selectors.DefaultSelector()
        for connection in connections:
            connection.sock.setblocking(False)
            self.selector.register(connection.sock, selectors.EVENT_READ, connection)

    def run(self, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        for connection in self.connections:
            connection.fill()
        left = len(self.connections)
        while left and time.monotonic() < deadline:
            for key, mask in self.selector.select(timeout=_PROGRESS_S):
                left -= self._turn(key.data, mask)
            if self.enough:
                self._ask_no_more()
            self._progress()
        if left:
            self.errors.append(f"{left} connections did not finish within {timeout_s:.0f} s")

    def _ask_no_more(self) -> None:
        """Every connection that is not done is owed a reply, with which it ends."""
        for connection in self.connections:
            connection.requests = min(connection.requests, connection.sent.messages)

    def _turn(self, connection: _Connection, mask: int) -> bool:
        """True when this connection ended in this turn."""
        try:
            if mask & selectors.EVENT_WRITE:
                connection.flush()
            if mask & selectors.EVENT_READ:
                self.replies += connection.on_readable()
        except OSError as error:
            self.errors.append(f"connection {connection.number}: {error!r}")
            self.selector.unregister(connection.sock)
            return True
        if connection.done:
            self.selector.unregister(connection.sock)
            return True
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if connection.backlog else 0)
        if self.selector.get_key(connection.sock).events != wanted:
            self.selector.modify(connection.sock, wanted, connection)
        return False

    def _progress(self) -> None:
        now = time.monotonic()
        if now - self._reported_at < _PROGRESS_S:
            return
        self._reported_at = now
        line: dict[str, object] = {"replies": self.replies}
        if self.vcl is not None:
            line["helper_id"] = self.connections[0].sock.path().helper_id
        print(json.dumps(line), flush=True)

    def report(self) -> dict[str, object]:
        books = {str(c.number): {"sent": c.sent.report(), "received": c.received.report()} for c in self.connections}
        times = {
            str(c.number): {"sent_ns": c.send_times_ns.tolist(), "replied_ns": c.reply_times_ns.tolist()}
            for c in self.connections
        }
        return {"books": books, "errors": self.errors, "times": times}


def _connect(options: argparse.Namespace, vcl: ModuleType | None) -> list[_Connection]:
    share, extra = divmod(options.requests, options.connections)
    connections = []
    for number in range(options.connections):
        address = (options.host, options.port)
        sock = socket.create_connection(address) if vcl is None else vcl.connect(address, timeout=10)
        connections.append(_Connection(number, sock, share + (number < extra), options.depth))
    return connections


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--connections", type=int, required=True)
    parser.add_argument("--requests", type=int, required=True, help="in all")
    parser.add_argument("--depth", type=int, default=1, help="requests outstanding per connection")
    parser.add_argument("--timeout", type=float, default=300)
    parser.add_argument("--ledger", type=Path, required=True)
    parser.add_argument("--plain", action="store_true", help="kernel TCP instead of VCL")
    options = parser.parse_args()

    exported = telemetry.setup("postman-demo-client", __version__)
    vcl: ModuleType | None = None
    if not options.plain:
        import vcl as vcl_module

        vcl = vcl_module
    connections = _connect(options, vcl)
    client = DemoClient(connections, vcl)
    signal.signal(signal.SIGUSR1, lambda *_: setattr(client, "enough", True))
    transports = sorted({getattr(c.sock, "transport", "tcp") for c in connections})
    why = sorted({str(getattr(c.sock, "why", "")) for c in connections})
    print(json.dumps({"ready": True, "transports": transports, "why": why}), flush=True)
    started_ns = time.monotonic_ns()
    client.run(options.timeout)
    report = client.report()
    report |= {"started_ns": started_ns, "ended_ns": time.monotonic_ns(), "transports": transports, "why": why}
    if vcl is not None:
        report["vcl"] = vcl.stats()
        report["path_events"] = [event.as_dict() for event in vcl.events()]
    for connection in connections:
        connection.sock.close()
    options.ledger.write_text(json.dumps(report))
    exported.shutdown()
    sys.exit(1 if client.errors else 0)


if __name__ == "__main__":
    main()
