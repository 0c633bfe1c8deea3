# SPDX-License-Identifier: Apache-2.0
"""The whole control plane as child processes of one: Postgres, NATS and the registry. What `postman up` runs.

Everything is in one state folder: `postgres/`, `nats/`, `keys/` (API keys by role), `registry.log`, and while it is
ready `up.json` and `env`, which say where it is. Children end with us, however we end.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType

from postman_kit.embedded import EmbeddedError, EmbeddedNats, EmbeddedPostgres
from postman_kit.embedded.child import Child, StateDirectory, choose_port, is_held
from postman_kit.settings import CONFIG_NAME, CONFIG_VARIABLE

ROLES = ("viewer", "agent", "operator", "admin")
REGISTRY_START_S_MAX = 30.0
READY_PROBE_S_MAX = 2.0
FACTS, ENV = "up.json", "env"


@dataclass(frozen=True)
class Ready:
    """Where a running control plane is, and with which keys it may be asked. The NATS URL holds a password."""

    pid: int
    state_dir: str
    registry_url: str
    nats_url: str
    api_key_files: dict[str, str]

    def environment(self, role: str) -> dict[str, str]:
        """What a program needs in its environment to take part with this role."""
        return {
            "POSTMAN_REGISTRY_URL": self.registry_url,
            "POSTMAN_NATS_URL": self.nats_url,
            "POSTMAN_API_KEY_FILE": self.api_key_files[role],
        }


class ControlPlane:
    """A context manager; entering returns when the registry is ready. Use it from the main thread."""

    def __init__(
        self,
        state_dir: Path,
        *,
        host: str,
        registry_port: int,
        nats_port: int,
        progress: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._state = state_dir.absolute()
        self._alone = StateDirectory(self._state)
        self._host, self._registry_port = host, registry_port
        self._progress = progress
        self._postgres = EmbeddedPostgres(self._state / "postgres")
        self._nats = EmbeddedNats(self._state / "nats", host=host, port=nats_port)
        self._registry = Child("registry", self._state / "registry.log", signal.SIGTERM)
        self._stack = ExitStack()

    def __enter__(self) -> ControlPlane:
        with ExitStack() as stack:
            self._alone.acquire()
            stack.callback(self._alone.release)
            self._forget()  # what one that was killed left behind
            self._registry_port = choose_port(self._registry_port, "registry", self._host)  # before the slow parts
            stack.enter_context(self._postgres)
            self._progress("postgres is ready")
            stack.enter_context(self._nats)
            self._progress(f"nats is ready on {self._nats.url.rpartition('@')[2]}")
            stack.callback(self._registry.stop)
            self._start_registry()
            self._progress(f"registry is ready on {self.registry_url}")
            stack.callback(self._forget)
            self._tell()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stack.close()

    @property
    def registry_url(self) -> str:
        """The registry's REST."""
        return f"http://{self._host}:{self._registry_port}"

    @property
    def ready(self) -> Ready:
        """Where everything is."""
        keys = {role: str(self._state / "keys" / role) for role in ROLES}
        return Ready(os.getpid(), str(self._state), self.registry_url, self._nats.url, keys)

    def dead_part(self) -> str:
        """The name of a part that has ended, with the end of its log; empty while all run."""
        if not self._registry.is_running:
            return f"registry ended with status {self._registry.exit_status}:\n{self._registry.log_tail()}"
        if self._postgres.pid is None:
            return f"postgres ended; its log is in {self._state / 'postgres'}"
        if self._nats.pid is None:
            return f"nats ended; its log is in {self._state / 'nats'}"
        return ""

    def _start_registry(self) -> None:
        ours = {
            "POSTMAN_DATABASE_URL": self._postgres.url,
            "POSTMAN_NATS_URL": self._nats.url,
            "POSTMAN_STATE_DIR": str(self._state),
            "POSTMAN_REGISTRY_KEYS_DIR": str(self._state / "keys"),
            "POSTMAN_REGISTRY_HOST": self._host,
            "POSTMAN_REGISTRY_PORT": str(self._registry_port),
        }
        config = Path(os.environ.get(CONFIG_VARIABLE) or CONFIG_NAME)
        if CONFIG_VARIABLE in os.environ or config.is_file():
            ours[CONFIG_VARIABLE] = str(config.absolute())  # it runs in another folder
        os.environ.update(ours)  # the child inherits it; secrets must not be on a command line
        self._registry.start([sys.executable, "-m", "postman_registry"])
        self._registry.wait_until(self._answers, REGISTRY_START_S_MAX)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.registry_url}/readyz", timeout=READY_PROBE_S_MAX) as answer:  # noqa: S310
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def _tell(self) -> None:
        exports = "".join(
            f"export {name}={shlex.quote(value)}\n" for name, value in self.ready.environment("operator").items()
        )
        for name, text in ((ENV, exports), (FACTS, json.dumps(asdict(self.ready), indent=2) + "\n")):
            descriptor = os.open(self._state / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(text)

    def _forget(self) -> None:
        for name in (FACTS, ENV):
            (self._state / name).unlink(missing_ok=True)


def running(state_dir: Path) -> Ready | None:
    """The control plane that runs in this state folder, if one does."""
    if not is_held(state_dir):  # one that was killed left its facts; its process id may be somebody else's by now
        return None
    with suppress(OSError, ValueError, TypeError):
        return Ready(**json.loads((state_dir / FACTS).read_text()))
    return None


__all__ = ["ControlPlane", "EmbeddedError", "Ready", "running"]
