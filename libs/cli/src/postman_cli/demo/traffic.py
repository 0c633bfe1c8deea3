# SPDX-License-Identifier: Apache-2.0
"""The demo's server and client in a stack, and their two books once the client is done."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import ledger
from .stack import Program, Stack, StackError

SERVER_PORT = 7000
_STALL_S = 60


class Traffic:
    """One server program on a server host and one client program on a client host, each with a ledger of its own."""

    def __init__(
        self, stack: Stack, *, server_host: str = "s1", client_host: str = "c1", port: int = SERVER_PORT
    ) -> None:
        self.stack = stack
        self.server_host = server_host
        self.client_host = client_host
        self.port = port
        self._name = f"{client_host}-{server_host}-{port}"
        self.server: Program | None = None
        self.client: Program | None = None

    def start(
        self, *, connections: int, requests: int, depth: int = 1, expect_transport: str = "vcl", **client_env: str
    ) -> None:
        """Returns when all connections are made; StackError when they are of another transport than expected."""
        self.start_server()
        self.start_client(
            connections=connections, requests=requests, depth=depth, expect_transport=expect_transport, **client_env
        )

    def _where(self) -> list[str]:
        return ["--host", self.stack.lab.topology.host(self.server_host).data_address, "--port", str(self.port)]

    def start_server(self) -> None:
        arguments = [*self._where(), "--ledger", str(self._books("server"))]
        name = f"server-{self._name}"
        self.server = self.stack.start(self.server_host, name, "postman_cli.demo.server", arguments)
        self.server.wait_for(lambda line: "ready" in line, "a listening server")

    def start_client(
        self, *, connections: int, requests: int, depth: int = 1, expect_transport: str = "vcl", **env: str
    ) -> None:
        arguments = [*self._where(), "--connections", str(connections), "--requests", str(requests)]
        arguments += ["--depth", str(depth), "--ledger", str(self._books("client"))]
        name = f"client-{self._name}"
        self.client = self.stack.start(self.client_host, name, "postman_cli.demo.client", arguments, **env)
        ready = self.client.wait_for(lambda line: "ready" in line, "connected clients")
        if ready["transports"] != [expect_transport]:
            raise StackError(f"the connections are {ready['transports']}, not {expect_transport}: {ready['why']}")

    def _books(self, end: str) -> Path:
        return self.stack.work_dir / f"{end}-{self._name}.json"

    @property
    def replies(self) -> int:
        """How many replies the client has reported so far."""
        assert self.client is not None
        return max((line["replies"] for line in self.client.lines[-3:] if "replies" in line), default=0)

    @property
    def helper_id(self) -> int:
        """The helper that the client said it used last; 0: the direct path."""
        assert self.client is not None
        return next((line["helper_id"] for line in reversed(self.client.lines) if "helper_id" in line), 0)

    def follow(
        self,
        on_progress: Callable[[int], None] = lambda replies: None,
        *,
        until: int | None = None,
        on_helper: bool = False,
    ) -> None:
        """Waits for that many replies (and a helper in use), or for the client's end; StackError when nothing comes.

        A busy machine can look like two dead helpers in a row: the client is then on the direct path for some seconds.
        """
        assert self.client is not None
        seen, moved_at = -1, time.monotonic()
        while self.client.process.poll() is None:
            replies = self.replies
            if replies != seen:
                seen, moved_at = replies, time.monotonic()
                on_progress(seen)
            if until is not None and seen >= until and (self.helper_id != 0 or not on_helper):
                return
            if time.monotonic() - moved_at > _STALL_S:
                raise StackError(f"no reply for {_STALL_S} s after {seen}:\n{self.client.log_tail()}")
            time.sleep(0.02)

    def enough(self) -> None:
        """The client sends no more requests than it has sent."""
        assert self.client is not None
        self.client.process.send_signal(signal.SIGUSR1)

    def finish(self) -> tuple[ledger.Verdict, dict[str, Any], dict[str, Any]]:
        """Waits for the client's end, stops the server; the verdict, the client's report, the server's report."""
        self.follow()
        assert self.server is not None
        assert self.client is not None
        self.server.stop()
        client = _read(self._books("client"), self.client)
        server = _read(self._books("server"), self.server)
        return ledger.compare(client["books"], server["books"]), client, server


def _read(path: Path, program: Program) -> dict[str, Any]:
    if not path.exists():
        raise StackError(f"{program.name} left no ledger:\n{program.log_tail()}")
    report = json.loads(path.read_text())
    assert isinstance(report, dict)
    return report
