# SPDX-License-Identifier: Apache-2.0
"""The load of a bench: a server and a client of vcl-load in two hosts of a lab, what they are told, and their
verdict."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..demo.stack import Program, Stack, StackError
from .judge import History, Verdict, judge
from .replies import Replies

PORT = 7000
STALL_S = 60.0
LOOK_S = 0.01


class Load:
    """See the head of this file. The client's words are kept in `client.lines`."""

    def __init__(self, stack: Stack, *, server_host: str = "s1", client_host: str = "c1") -> None:
        self.stack = stack
        self.server_host, self.client_host = server_host, client_host
        self.began_us = time.monotonic_ns() // 1000
        self._server: Program | None = None
        self._client: Program | None = None

    @property
    def server(self) -> Program:
        """The server's front end."""
        assert self._server is not None
        return self._server

    @property
    def client(self) -> Program:
        """The client's front end."""
        assert self._client is not None
        return self._client

    def _file(self, name: str) -> Path:
        return self.stack.work_dir / name

    # --- starting ----------------------------------------------------------------------------------------

    def start(self, connections: int, *, record_replies: bool = True, at_a_time: int = 64, **client_env: str) -> None:
        """Returns when all connections are open."""
        where = ["--host", self.stack.lab.topology.host(self.server_host).data_address, "--port", str(PORT)]
        front = "postman_cli.bench.load_front"
        arguments = ["server", *where, "--history", str(self._file("server.history"))]
        self._server = self.stack.start_with_orders(self.server_host, "load-server", front, arguments)
        serving = self._server.wait_for(lambda line: "serving" in line, "a serving load server")
        if not serving["serving"]:
            raise StackError(f"the load's server does not serve: {serving['error']}")
        arguments = ["client", *where, "--history", str(self._file("client.history"))]
        if record_replies:
            arguments += ["--replies", str(self._file("client.replies"))]
        self._client = self.stack.start_with_orders(self.client_host, "load-client", front, arguments, **client_env)
        attached = self._client.wait_for(lambda line: "attached" in line or "error" in line, "a session")
        if not attached.get("attached"):
            raise StackError(f"the load's client has no session: {attached['error']}")
        self._client.order("connect", count=connections, at_a_time=at_a_time)
        opened = self._client.wait_for(lambda line: "connected" in line, "open connections", 120)
        if opened["failed"]:
            raise StackError(f"{opened['failed']} of {connections} connections did not open: {self.errors[:3]}")

    # --- phases -------------------------------------------------------------------------------------------

    def begin(self, name: str, kind: str, **values: object) -> None:
        """A phase begins; one that runs ends at once."""
        self.client.order("phase", name=name, kind=kind, **values)

    def phase(self, name: str, kind: str, **values: object) -> dict[str, Any]:
        """A phase from its beginning to its end: what the client says of it."""
        self.begin(name, kind, **values)
        return self.await_phase(name)

    def await_phase(self, name: str, each: Callable[[], None] = lambda: None) -> dict[str, Any]:
        """Waits for the end of a phase and calls `each` meanwhile; StackError when no reply comes for long."""
        seen, moved_s = -1, time.monotonic()
        while True:
            found: dict[str, Any] = next((line for line in self.client.lines if line.get("phase") == name), {})
            if found:
                return found
            self.check_alive()
            replies = self.replies_now
            if replies != seen:
                seen, moved_s = replies, time.monotonic()
            if time.monotonic() - moved_s > STALL_S:
                raise StackError(f"no reply for {STALL_S:.0f} s after {seen}: {self.progress}")
            each()
            time.sleep(LOOK_S)

    def check_alive(self) -> None:
        """StackError if one of the two ends is no more."""
        for end in (self.client, self.server):
            if end.process.poll() is not None:
                raise StackError(f"{end.name} ended ({end.process.returncode}):\n{end.log_tail()}")

    def await_replies(self, wanted: int, each: Callable[[int], None], every_s: float = 10.0) -> None:
        """Waits for so many in all; calls `each` now and then. StackError when none comes for long."""
        seen, moved_s, told_s = -1, time.monotonic(), time.monotonic()
        while (replies := self.replies_now) < wanted:
            self.check_alive()
            now_s = time.monotonic()
            if replies != seen:
                seen, moved_s = replies, now_s
            if now_s - moved_s > STALL_S:
                raise StackError(f"no reply for {STALL_S:.0f} s after {seen}: {self.progress}")
            if now_s - told_s > every_s:
                told_s = now_s
                each(replies)
            time.sleep(LOOK_S)

    @property
    def progress(self) -> dict[str, Any]:
        """What the client said last of its session and its counts."""
        found: dict[str, Any] = next((line for line in reversed(self.client.lines) if "moves" in line), {})
        return found

    @property
    def replies_now(self) -> int:
        """Replies so far."""
        return int(self.progress.get("replies", 0))

    @property
    def helper_id(self) -> int:
        """The helper on the session's path; 0: direct."""
        return int(self.progress.get("helper_id", 0))

    @property
    def errors(self) -> list[str]:
        """What either end complained of."""
        return [line["error"] for end in (self.client, self.server) for line in end.lines if line.get("error")]

    @property
    def notices(self) -> list[dict[str, Any]]:
        """Path events of the client's session."""
        return [line["notice"] for line in self.client.lines if "notice" in line]

    def await_helper(self, timeout_s: float = 30.0) -> int:
        """Waits until the session's path goes through a helper; its id."""
        deadline = time.monotonic() + timeout_s
        while self.helper_id == 0:
            if time.monotonic() > deadline:
                raise StackError(f"the session uses no helper: {self.progress}")
            time.sleep(LOOK_S)
        return self.helper_id

    def counters(self, end: Program) -> dict[str, int]:
        """The engine's and the driver's counters of one end, now."""
        seen = len(end.lines)
        end.order("stats")
        found: dict[str, int] = end.wait_for(lambda line: "stats" in line, "counters", after=seen)["stats"]
        return found

    def pid(self, end: Program) -> int:
        """The process that carries the load."""
        return int(end.wait_for(lambda line: "pid" in line, "a process")["pid"])

    # --- ending -------------------------------------------------------------------------------------------

    def finish(self) -> tuple[Verdict, Replies]:
        """Waits for outstanding replies, ends both, and judges their histories."""
        for end in (self.client, self.server):
            end.order("finish")
            end.wait_for(lambda line: "done" in line, "the end of the load", 120)
            end.process.wait(30)
        verdict = judge(History.read(self._file("client.history")), History.read(self._file("server.history")))
        replies = self._file("client.replies")
        return verdict, Replies.read(replies if replies.exists() else Path("/dev/null"), self.began_us)
