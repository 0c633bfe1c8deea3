# SPDX-License-Identifier: Apache-2.0
"""`python -m postman_cli.bench.load_front client|server ...`: one end of the load, in its host of the lab.

It speaks with the control plane (registers the server; resolves, renews and follows path changes for the client), and
hands everything else through: orders from its standard input to vcl-load, that program's words to its standard output.
SIGTERM means the order `finish`.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
from typing import Any, cast

from vcl._core import ClientDriver
from vcl.agent import Agent
from vcl.agent_lease import ServerLease
from vcl.agent_types import ServerKey
from vcl.sessions import Sessions

from .remote_driver import LoadProcess, RemoteDriver, program

RESOLVE_S = 10.0


def say(words: dict[str, Any]) -> None:
    """One line, at once."""
    sys.stdout.write(json.dumps(words) + "\n")
    sys.stdout.flush()


def _keys(keys: tuple[ServerKey, ...]) -> dict[str, object]:
    values: dict[str, object] = {"nb_keys": len(keys)}
    for number, key in enumerate(keys):
        values |= {f"id{number}": key.key_id, f"key{number}": key.key.hex()}
    return values


def serve(load: LoadProcess, options: argparse.Namespace) -> ServerLease:
    """Registers the server; the program gets the keys, and those that follow them."""
    lease = Agent.shared().register_server(
        options.service,
        options.host,
        options.port,
        options.host,
        options.port,
        on_lost=lambda lease, reason: say({"error": f"the lease is lost: {reason}"}),
        on_keys=lambda keys: load.order("keys", **_keys(keys)),
    )
    grant = lease.grant
    load.order(
        "grant",
        server_id=grant.server_id,
        service_id=grant.service_id,
        incarnation=grant.incarnation,
        cid_key=grant.cid_key.hex(),
        trunk_secret=grant.trunk_secret.hex(),
        address=options.host,
        port=options.port,
        **_keys(grant.keys),
    )
    return lease


def attach(driver: RemoteDriver, options: argparse.Namespace) -> Sessions:
    """A session with the server that the registry names; it is kept well as those of every VCL process are."""
    lookup = Agent.shared().lookup(options.host, options.port, RESOLVE_S)
    if lookup.resolution is None:
        raise SystemExit(f"no server {options.host}:{options.port} at the registry: {lookup.reason}")
    sessions = Sessions(Agent.shared(), cast(ClientDriver, driver))
    sessions.attach(lookup.resolution, options.host, options.port)
    return sessions


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("end", choices=("client", "server"))
    parser.add_argument("--host", required=True, help="the server's data address")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--service", default="bench")
    parser.add_argument("--history", required=True, help="where the program writes what it did")
    parser.add_argument("--replies", help="client: where it writes the time of each reply")
    return parser.parse_args()


def main() -> None:
    options = _arguments()
    driver: RemoteDriver | None = None

    def on_line(words: dict[str, Any]) -> None:
        if driver is not None and "notice" in words:
            driver.add_notice(words["notice"])
        if driver is not None and driver.made is not None and "state" in words:
            driver.made.state = words["state"]
        say(words)

    argv = [str(program()), options.end, options.history, *([options.replies] if options.replies else [])]
    load = LoadProcess(argv, on_line)
    say({"pid": load.process.pid})
    signal.signal(signal.SIGTERM, lambda number, frame: load.order("finish"))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    lease: ServerLease | None = None
    sessions: Sessions | None = None
    if options.end == "server":
        lease = serve(load, options)
    else:
        driver = RemoteDriver(load)
        sessions = attach(driver, options)

    def pass_on() -> None:
        for line in sys.stdin:
            word, *values = line.split()
            load.order_pairs(word, [cast(tuple[str, str], tuple(value.split("=", 1))) for value in values])

    threading.Thread(target=pass_on, name="orders", daemon=True).start()
    status = load.wait()
    if sessions is not None:
        sessions.begin_close(0)
        sessions.finish_close(1)
    if lease is not None:
        lease.close()
    Agent.shared().close()
    sys.exit(status)


if __name__ == "__main__":
    main()
