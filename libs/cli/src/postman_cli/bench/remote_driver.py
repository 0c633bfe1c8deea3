# SPDX-License-Identifier: Apache-2.0
"""The load generator's client seen as a driver of the VCL.

vcl.sessions keeps sessions well: it renews tokens, asks for new paths, and passes on what the control plane says. Here
the same code does that for a session that lives in another process: its calls become orders on that program's standard
input, and the notices that the program prints come back as those of a driver.
"""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, Any

from vcl.paths import Path as VclPath
from vcl.paths import Peer


class LoadProcess:
    """A running vcl-load: orders go in, lines of JSON come out, each given to `on_line`."""

    def __init__(self, argv: list[str], on_line: Callable[[dict[str, Any]], None]) -> None:
        self._on_line = on_line
        self._lock = threading.Lock()
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._reader = threading.Thread(target=self._read, args=(self.process.stdout,), name="vcl-load", daemon=True)
        self._reader.start()

    def order(self, word: str, **values: object) -> None:
        """One order; without effect once the program has ended."""
        self.order_pairs(word, [(key, str(value)) for key, value in values.items()])

    def order_pairs(self, word: str, pairs: Iterable[tuple[str, str]]) -> None:
        """The same with keys that may come more than once."""
        line = " ".join([word, *(f"{key}={value}" for key, value in pairs)]) + "\n"
        assert self.process.stdin is not None
        with self._lock:
            try:
                self.process.stdin.write(line.encode())
                self.process.stdin.flush()
            except (BrokenPipeError, ValueError):
                return

    def _read(self, stream: IO[bytes]) -> None:
        for raw in stream:
            self._on_line(json.loads(raw))

    def wait(self) -> int:
        """Its exit status, when it has ended and all that it said was read."""
        status = self.process.wait()
        self._reader.join()
        return status


class RemoteSession:
    """What vcl.sessions asks of a session."""

    def __init__(self, load: LoadProcess, peer: Peer) -> None:
        self._load = load
        self.state = "active"
        pairs = [("server_id", str(peer.server_id)), ("shard", str(peer.shard))]
        pairs += [("token", peer.token.hex()), ("token_key", peer.token_key.hex())]
        load.order_pairs("peer", pairs + _paths(peer.paths))

    def renew(self, token: bytes, token_key: bytes) -> None:
        """A new token for connections to come."""
        self._load.order("token", token=token.hex(), token_key=token_key.hex())

    def set_paths(self, paths: Iterable[VclPath]) -> None:
        """Replaces the candidates."""
        self._load.order_pairs("paths", _paths(paths))

    def advise(self, helper_id: int, hint: str) -> None:
        """The control plane's word on a helper."""
        self._load.order("hint", helper=helper_id, state=hint)

    def info(self) -> dict[str, Any]:
        """It has connections until the program ends; its state is what the program said last."""
        return {"state": self.state, "connections": 1}

    def detach(self) -> None:
        """Never called: it has connections."""
        raise AssertionError


class RemoteDriver:
    """What vcl.sessions asks of a driver."""

    def __init__(self, load: LoadProcess) -> None:
        self._load = load
        self._changed = threading.Condition()
        self._closed = False
        self._notices: list[dict[str, Any]] = []
        self.made: RemoteSession | None = None

    def session(self, peer: Peer) -> RemoteSession:
        """The program has one session."""
        self.made = RemoteSession(self._load, peer)
        return self.made

    def add_notice(self, notice: dict[str, Any]) -> None:
        """As the program printed it."""
        with self._changed:
            self._notices.append(notice)
            self._changed.notify_all()

    def notices(self, after: int = 0) -> list[dict[str, Any]]:
        """Those with `seq` above `after`."""
        with self._changed:
            return [notice for notice in self._notices if notice["seq"] > after]

    def wait_notice(self, after: int, timeout: float | None = None) -> bool:
        """Waits for one with `seq` above `after`; False when the driver closes."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._closed or any(notice["seq"] > after for notice in self._notices[-1:]), timeout
            )
            return not self._closed

    def close(self, linger_s: float) -> None:
        """The program closes its connections itself; this ends the waiting."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def join(self, timeout: float | None = None) -> bool:
        """Nothing to wait for."""
        return True


def _paths(paths: Iterable[VclPath]) -> list[tuple[str, str]]:
    return [("path", f"{path.helper_id},{path.address},{path.port},{path.rank}") for path in paths]


def program() -> Path:
    """The load generator of the release build."""
    from postman_cli.checkout import RELEASE_BUILD

    return RELEASE_BUILD / "libs" / "vcl" / "bench" / "vcl-load"
