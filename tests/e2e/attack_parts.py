# SPDX-License-Identifier: Apache-2.0
"""The honest programs of test_attacker.py: `server`, `client` and `opener`. Each prints a JSON line ten times a
second, with what it has seen so far, and a last one when it is told to stop."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import vcl
from postman_cli.traffic.client import Plan, TrafficClient
from postman_cli.traffic.loop import stop_asked
from postman_cli.traffic.server import TrafficServer
from vcl.client import close_client

EVERY_S = 0.1
CONNECT_S = 20.0


class Said:
    """Says a line when it is time."""

    def __init__(self) -> None:
        self._due_s = 0.0

    def tell(self, line: dict[str, Any], *, final: bool = False) -> None:
        if final or time.monotonic() >= self._due_s:
            self._due_s = time.monotonic() + EVERY_S
            print(json.dumps(line | {"final": final}), flush=True)  # noqa: T201 (its protocol)


def server(address: tuple[str, int]) -> None:
    serving = TrafficServer(vcl.create_server(address, backlog=1024))
    said = Said()
    with stop_asked() as asked:
        while not asked():
            serving.step()
            stats = vcl.stats()
            said.tell(serving.book(stats) | {"vcl": stats})
        said.tell(serving.book(vcl.stats()) | {"vcl": vcl.stats()}, final=True)
        serving.close()


def client(address: tuple[str, int], connections: int, rate: float) -> None:
    sending = TrafficClient(Plan(connections, rate, 4), lambda: vcl.connect(address, timeout=CONNECT_S))
    said = Said()
    with stop_asked() as asked:
        while not sending.is_done:
            if asked():
                sending.begin_stop()
            sending.step()
            said.tell(sending.book() | {"vcl": vcl.stats()})
        sending.close()
        said.tell(sending.book() | {"vcl": vcl.stats()}, final=True)


def opener(address: tuple[str, int]) -> None:
    """One connection after the other, each of a session of its own: a new client, as far as the server can tell."""
    said, not_vcl = Said(), []
    opens: list[tuple[float, float]] = []  # when it began and ended, on the clock that the test has too
    with stop_asked() as asked:
        while not asked():
            began_s = time.monotonic()
            sock = vcl.connect(address, timeout=CONNECT_S)
            opens.append((began_s, time.monotonic()))
            if sock.transport != "vcl":
                not_vcl.append(sock.why)
            sock.close()
            close_client()
            said.tell({"opened": len(opens), "not_vcl": not_vcl})
            time.sleep(0.05)
        said.tell({"opened": len(opens), "not_vcl": not_vcl, "opens": opens}, final=True)


def main() -> None:
    role, host, port, *rest = sys.argv[1:]
    address = (host, int(port))
    if role == "server":
        server(address)
    elif role == "client":
        client(address, int(rest[0]), float(rest[1]))
    else:
        opener(address)


if __name__ == "__main__":
    main()
