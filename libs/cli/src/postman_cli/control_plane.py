# SPDX-License-Identifier: Apache-2.0
"""The whole control plane as child processes of one: Postgres, NATS and the three services. What `postman up` runs.

Everything is in one state folder: `postgres/`, `nats/`, `keys/` (API keys by role), a log for each service, and while
it is ready `up.json`, `env` and `env.helper`, which say where it is. Each part has its own NATS user and database role.
What ends is started again. Children end with us, however we end.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType

from postman_cli.revival import Revival
from postman_cli.service_child import SERVICES, Service, ServiceChild
from postman_kit.embedded import EmbeddedError, EmbeddedNats, EmbeddedPostgres
from postman_kit.embedded.child import StateDirectory, is_held
from postman_kit.secret_files import write_private
from postman_kit.settings import CONFIG_NAME, CONFIG_VARIABLE, PostmanSettings

ROLES = ("viewer", "agent", "operator", "admin")
FACTS, ENV, HELPER_ENV = "up.json", "env", "env.helper"


@dataclass(frozen=True)
class Ready:
    """Where a running control plane is, and with which keys it may be asked. The NATS URLs hold passwords."""

    pid: int
    state_dir: str
    registry_url: str
    placement_url: str
    health_url: str
    nats_url: str
    """For programs that use VCL; a helper has more to say."""
    helper_nats_url: str
    api_key_files: dict[str, str]

    def environment(self, kind: str) -> dict[str, str]:
        """What a program needs in its environment to take part as `helper`, or with the API key of a role."""
        is_helper = kind == "helper"
        return {
            "POSTMAN_REGISTRY_URL": self.registry_url,
            "POSTMAN_PLACEMENT_URL": self.placement_url,
            "POSTMAN_HEALTH_URL": self.health_url,
            "POSTMAN_NATS_URL": self.helper_nats_url if is_helper else self.nats_url,
            "POSTMAN_API_KEY_FILE": self.api_key_files["agent" if is_helper else kind],
        }


class ControlPlane:
    """A context manager; entering returns when all services are ready. Use it from the main thread."""

    def __init__(
        self,
        state_dir: Path,
        *,
        host: str,
        nats_port: int,
        ports: dict[Service, int],
        progress: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._state = state_dir.absolute()
        self._alone = StateDirectory(self._state)
        self._progress = progress
        self._postgres = EmbeddedPostgres(self._state / "postgres")
        self._nats = EmbeddedNats(self._state / "nats", host=host, port=nats_port)
        self._services = {name: ServiceChild(name, self._state, host=host, port=ports[name]) for name in SERVICES}
        self._parts: list[Revival] = []
        self._stack = ExitStack()

    def __enter__(self) -> ControlPlane:
        with ExitStack() as stack:
            self._alone.acquire()
            stack.callback(self._alone.release)
            self._forget()  # what one that was killed left behind
            for service in self._services.values():  # before the slow parts
                service.claim_port()
            stack.enter_context(self._postgres)
            self._progress("postgres is ready")
            stack.enter_context(self._nats)
            self._progress(f"nats is ready on {self._nats.url.rpartition('@')[2]}")
            environments = self._environments()
            for name, service in self._services.items():
                stack.callback(service.stop)
                service.start(environments[name])
            for name, service in self._services.items():
                service.wait_ready()
                self._progress(f"{name} is ready on {service.url}")
            self._parts = self._watched()
            stack.callback(self._forget)
            self._tell()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stack.close()

    @property
    def ready(self) -> Ready:
        """Where everything is."""
        return Ready(
            pid=os.getpid(),
            state_dir=str(self._state),
            registry_url=self._services["registry"].url,
            placement_url=self._services["placement"].url,
            health_url=self._services["health"].url,
            nats_url=self._nats.url_of("agent"),
            helper_nats_url=self._nats.url_of("helper"),
            api_key_files={role: str(self._state / "keys" / role) for role in ROLES},
        )

    def revive(self) -> None:
        """On the main thread: start again what has ended, and say so; EmbeddedError if it ends at each start."""
        for part in self._parts:
            if said := part.look():
                self._progress(said)

    def _watched(self) -> list[Revival]:
        def of_server(name: str, server: EmbeddedPostgres | EmbeddedNats) -> Revival:
            log = self._state / name
            return Revival(name, lambda: "" if server.pid else f"{name} ended; its log is in {log}", server.start)

        def of_service(name: Service, service: ServiceChild) -> Revival:
            return Revival(name, service.obituary, lambda: service.start(self._environments()[name]))

        return [
            of_server("postgres", self._postgres),
            of_server("nats", self._nats),
            *(of_service(name, service) for name, service in self._services.items()),
        ]

    def _environments(self) -> dict[Service, dict[str, str]]:
        """Secrets go by the environment: a command line is everybody's to read."""
        common = self._tls() | {f"POSTMAN_{name.upper()}_URL": service.url for name, service in self._services.items()}
        config = Path(os.environ.get(CONFIG_VARIABLE) or CONFIG_NAME)
        if CONFIG_VARIABLE in os.environ or config.is_file():
            common[CONFIG_VARIABLE] = str(config.absolute())  # services run in another folder
        return {
            name: {
                **common,
                "POSTMAN_DATABASE_URL": self._postgres.url_for(name),
                "POSTMAN_NATS_URL": self._nats.url_of(name),
                "POSTMAN_API_KEY": "",
                "POSTMAN_API_KEY_FILE": str(self._state / "keys" / "viewer"),
            }
            for name in SERVICES
        }

    def _tls(self) -> dict[str, str]:
        files = PostmanSettings.load().tls_files()
        if files is None:
            return {}
        for service in self._services.values():
            service.scheme = "https"
        certificate, key = files
        return {"POSTMAN_TLS_CERT_FILE": str(certificate.absolute()), "POSTMAN_TLS_KEY_FILE": str(key.absolute())}

    def _tell(self) -> None:
        texts = {
            name: _exports(self.ready.environment(kind)) for name, kind in ((ENV, "operator"), (HELPER_ENV, "helper"))
        }
        texts[FACTS] = json.dumps(asdict(self.ready), indent=2) + "\n"
        for name, text in texts.items():
            write_private(self._state / name, text)

    def _forget(self) -> None:
        for name in (FACTS, ENV, HELPER_ENV):
            (self._state / name).unlink(missing_ok=True)


def _exports(environment: dict[str, str]) -> str:
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in environment.items())


def running(state_dir: Path) -> Ready | None:
    """The control plane that runs in this state folder, if one does."""
    if not is_held(state_dir):  # one that was killed left its facts; its process id may be somebody else's by now
        return None
    with suppress(OSError, ValueError, TypeError):
        return Ready(**json.loads((state_dir / FACTS).read_text()))
    return None


__all__ = ["ControlPlane", "EmbeddedError", "Ready", "running"]
