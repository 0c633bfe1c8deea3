# SPDX-License-Identifier: Apache-2.0
"""The demo's server: answers each 64-byte request with a 64-byte reply and keeps its own ledger.

An ordinary selectors program. It says `{"ready": ...}` when it listens, ends on SIGTERM, and then writes its books.
"""

from __future__ import annotations

import argparse
import json
import selectors
import signal
import socket
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from postman_kit import telemetry

from .. import __version__
from .ledger import REPLY, REQUEST, ReceivedLedger, SentLedger, message

_READ_BYTES = 65536


class _Connection:
    def __init__(self, sock: Any) -> None:
        self.sock = sock
        self.received = ReceivedLedger(REQUEST)
        self.sent = SentLedger()
        self.backlog = b""

    def on_readable(self) -> bool:
        """False when the stream has ended."""
        try:
            buf = self.sock.recv(_READ_BYTES)
        except BlockingIOError:
            return True
        if not buf:
            return False
        replies = []
        for sequence in self.received.feed(buf):
            reply = message(REPLY, self.received.connection or 0, sequence)
            self.sent.add(reply)
            replies.append(reply)
        self.backlog += b"".join(replies)
        return self.flush()

    def flush(self) -> bool:
        while self.backlog:
            try:
                taken = self.sock.send(self.backlog)
            except BlockingIOError:
                break
            self.backlog = self.backlog[taken:]
        return True


class DemoServer:
    def __init__(self, listener: Any) -> None:
        self.listener = listener
        self.listener.setblocking(False)
        self.selector = selectors.DefaultSelector()
        self.selector.register(listener, selectors.EVENT_READ, None)
        self.books: list[_Connection] = []
        self.errors: list[str] = []
        self.transports: dict[str, int] = {}

    def serve(self, stop: Any) -> None:
        while not stop():
            for key, mask in self.selector.select(timeout=0.2):
                if key.data is None:
                    self._accept()
                else:
                    self._turn(key.data, mask)

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self.listener.accept()
            except BlockingIOError:
                return
            sock.setblocking(False)
            transport = getattr(sock, "transport", "tcp")
            self.transports[transport] = self.transports.get(transport, 0) + 1
            connection = _Connection(sock)
            self.books.append(connection)
            self.selector.register(sock, selectors.EVENT_READ, connection)

    def _turn(self, connection: _Connection, mask: int) -> None:
        try:
            alive = connection.flush() if mask & selectors.EVENT_WRITE else True
            if mask & selectors.EVENT_READ:
                alive = connection.on_readable()
        except OSError as error:
            self.errors.append(f"connection {connection.received.connection}: {error}")
            alive = False
        if not alive:
            self.selector.unregister(connection.sock)
            connection.sock.close()
            return
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if connection.backlog else 0)
        if self.selector.get_key(connection.sock).events != wanted:
            self.selector.modify(connection.sock, wanted, connection)

    def report(self) -> dict[str, object]:
        books = {
            str(c.received.connection): {"sent": c.sent.report(), "received": c.received.report()}
            for c in self.books
            if c.received.connection is not None
        }
        return {"books": books, "errors": self.errors, "transports": self.transports}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--ledger", type=Path, required=True)
    parser.add_argument("--plain", action="store_true", help="kernel TCP instead of VCL")
    options = parser.parse_args()
    stopping: list[int] = []
    signal.signal(signal.SIGTERM, lambda signum, frame: stopping.append(signum))

    exported = telemetry.setup("postman-demo-server", __version__)
    vcl: ModuleType | None = None
    if options.plain:
        listener: Any = socket.create_server((options.host, options.port), backlog=1024)
    else:
        import vcl as vcl_module

        vcl = vcl_module
        listener = vcl.create_server((options.host, options.port), backlog=1024)
    server = DemoServer(listener)
    print(json.dumps({"ready": True, "why": getattr(listener, "why", None)}), flush=True)
    server.serve(lambda: stopping)
    report = server.report()
    if vcl is not None:
        report["vcl"] = vcl.stats()
    options.ledger.write_text(json.dumps(report))
    listener.close()
    exported.shutdown()
    sys.exit(0)


if __name__ == "__main__":
    main()
