# SPDX-License-Identifier: Apache-2.0
"""A real control plane (Postgres, NATS, registry) for tests of any package: `control_plane`, started at first use."""

from __future__ import annotations

import signal
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import httpx

START_TIMEOUT_S = 30.0


class ControlPlane:
    """Its parts can be stopped and started again, each on its old address."""

    def __init__(self, folder: Path) -> None:
        from postman_kit.embedded import EmbeddedNats, EmbeddedPostgres
        from postman_kit.embedded.child import Child, choose_port

        self.folder = folder
        self.postgres = EmbeddedPostgres(folder / "postgres")
        self.nats = EmbeddedNats(folder / "nats", port=choose_port(0, "nats"))
        self.registry_port = choose_port(0, "registry")
        self.registry_url = f"http://127.0.0.1:{self.registry_port}"
        self._registry = Child("registry", folder / "registry.log", signal.SIGTERM)

    @property
    def nats_url(self) -> str:
        """With user and password."""
        return self.nats.url

    def key(self, role: str) -> str:
        """The API key of a role."""
        return (self.folder / "keys" / role).read_text().strip()

    def start(self) -> None:
        """Starts whatever does not run, and waits until it answers."""
        self.postgres.start()
        self.nats.start()
        if not self._registry.is_running:
            with pytest.MonkeyPatch.context() as environment:
                for name, value in self._registry_environment().items():
                    environment.setenv(name, value)
                self._registry.start([sys.executable, "-m", "postman_registry"])
        self._registry.wait_until(self._is_ready, START_TIMEOUT_S)

    def stop_registry(self) -> None:
        """The registry ends; Postgres and NATS stay."""
        self._registry.stop()

    def stop(self) -> None:
        """Ends all of it."""
        self._registry.stop()
        self.nats.stop()
        self.postgres.stop()

    def client(self, role: str = "operator") -> httpx.Client:
        """A client of the REST with the key of a role."""
        import httpx

        headers = {"Authorization": f"Bearer {self.key(role)}"}
        return httpx.Client(base_url=self.registry_url, headers=headers, trust_env=False, timeout=10.0)

    def environment(self, role: str = "agent") -> dict[str, str]:
        """What a program needs to take part."""
        return {
            "POSTMAN_REGISTRY_URL": self.registry_url,
            "POSTMAN_NATS_URL": self.nats_url,
            "POSTMAN_API_KEY": self.key(role),
        }

    def _registry_environment(self) -> dict[str, str]:
        return {
            "POSTMAN_DATABASE_URL": self.postgres.url,
            "POSTMAN_NATS_URL": self.nats.url,
            "POSTMAN_STATE_DIR": str(self.folder),
            "POSTMAN_REGISTRY_PORT": str(self.registry_port),
            # Short leases: what follows from one that ran out is tested, and nobody waits for long.
            "POSTMAN_REGISTRY_HELPER_LEASE_TTL_S": "2",
            "POSTMAN_REGISTRY_SERVER_LEASE_TTL_S": "6",
            "POSTMAN_REGISTRY_SWEEP_INTERVAL_S": "0.1",
        }

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.registry_url}/readyz", timeout=2.0) as answer:  # noqa: S310
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False


@pytest.fixture(scope="session")
def _control_plane_parts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    parts = ControlPlane(tmp_path_factory.mktemp("control"))
    try:
        yield parts
    finally:
        parts.stop()


@pytest.fixture
def control_plane(_control_plane_parts: ControlPlane) -> ControlPlane:
    """The running control plane; a test that stopped a part leaves it to this fixture to start it again."""
    _control_plane_parts.start()
    return _control_plane_parts


@pytest.fixture
def wait_until() -> Callable[..., Any]:
    """Polls a condition until it holds, with a deadline; returns what made it true."""

    def wait(condition: Callable[[], Any], timeout_s: float = 20.0, what: str = "the condition") -> Any:
        deadline = time.monotonic() + timeout_s
        while True:
            found = condition()
            if found:
                return found
            assert time.monotonic() < deadline, f"{what} did not come within {timeout_s} s"
            time.sleep(0.02)

    return wait
