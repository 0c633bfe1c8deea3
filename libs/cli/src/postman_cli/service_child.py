# SPDX-License-Identifier: Apache-2.0
"""One of our services as a child process: what it is told, where it is, and whether it is ready."""

from __future__ import annotations

import os
import signal
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

from postman_kit.embedded.child import Child, choose_port

Service = Literal["registry", "placement", "health"]
SERVICES: Final[tuple[Service, ...]] = ("registry", "placement", "health")
START_S_MAX: Final = 30.0
PROBE_S_MAX: Final = 2.0
_DIRECT: Final = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy for the web is no way there


class ServiceChild:
    """A service with one port. Start it from the main thread: it ends with the thread that started it."""

    def __init__(self, name: Service, folder: Path, *, host: str = "127.0.0.1", port: int = 0) -> None:
        """Its log is in `folder`. Port 0 takes a free one, and the same later; see `claim_port`."""
        self.name = name
        self.port = 0
        self.scheme = "http"
        self._host = host
        self._wanted_port = port
        self._folder = folder
        self._child = Child(name, folder / f"{name}.log", signal.SIGTERM)

    def claim_port(self) -> None:
        """Choose the port. EmbeddedError if it is in use."""
        self.port = choose_port(self._wanted_port, self.name, self._host, before=self.port)

    @property
    def url(self) -> str:
        """Its REST."""
        return f"{self.scheme}://{self._host}:{self.port}"

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""
        return self._child.pid

    def start(self, environment: Mapping[str, str]) -> None:
        """Start it with these variables and where it shall be. Does not wait. No effect if it runs."""
        if self._child.is_running:
            return
        own = f"POSTMAN_{self.name.upper()}"
        place = {
            f"{own}_HOST": self._host,
            f"{own}_PORT": str(self.port),
            f"{own}_KEYS_DIR": str(self._folder / "keys"),
            "POSTMAN_STATE_DIR": str(self._folder),
        }
        self._child.start(
            [sys.executable, "-m", f"postman_{self.name}"], environment={**os.environ, **environment, **place}
        )

    def wait_ready(self) -> None:
        """Wait until it can work. EmbeddedError with the end of its log if it cannot."""
        self._child.wait_until(self._is_ready, START_S_MAX)

    def stop(self) -> None:
        """Orderly end."""
        self._child.stop()

    def obituary(self) -> str:
        """How it ended, with the end of its log; empty while it runs."""
        if self._child.is_running:
            return ""
        return f"{self.name} ended with status {self._child.exit_status}:\n{self._child.log_tail()}"

    def _is_ready(self) -> bool:
        try:
            with _DIRECT.open(f"{self.url}/readyz", timeout=PROBE_S_MAX) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False
