# SPDX-License-Identifier: Apache-2.0
"""A real control plane (Postgres, NATS, registry, placement, health) for tests of any package: `control_plane`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import httpx

    from postman_cli.service_child import Service, ServiceChild

# Short leases: what follows from one that ran out is tested, and nobody waits for long.
SERVICE_SETTINGS = {
    "registry": {
        "POSTMAN_REGISTRY_HELPER_LEASE_TTL_S": "2",
        "POSTMAN_REGISTRY_SERVER_LEASE_TTL_S": "6",
        "POSTMAN_REGISTRY_SWEEP_INTERVAL_S": "0.1",
    },
    "placement": {},
    "health": {},
}


class ControlPlane:
    """Its parts can be stopped and started again, each on its old address."""

    def __init__(self, folder: Path) -> None:
        from postman_cli.service_child import SERVICES, ServiceChild
        from postman_kit.embedded import EmbeddedNats, EmbeddedPostgres
        from postman_kit.embedded.child import choose_port

        self.folder = folder
        self.postgres = EmbeddedPostgres(folder / "postgres")
        self.nats = EmbeddedNats(folder / "nats", port=choose_port(0, "nats"))
        self.services: dict[Service, ServiceChild] = {name: ServiceChild(name, folder) for name in SERVICES}
        for service in self.services.values():
            service.claim_port()

    @property
    def registry_url(self) -> str:
        """The registry's REST."""
        return self.services["registry"].url

    @property
    def placement_url(self) -> str:
        """Placement's REST."""
        return self.services["placement"].url

    @property
    def health_url(self) -> str:
        """Health's REST."""
        return self.services["health"].url

    @property
    def nats_url(self) -> str:
        """With user and password of one who may do everything; `environment` has what a program may have."""
        return self.nats.url

    def key(self, role: str) -> str:
        """The API key of a role."""
        return (self.folder / "keys" / role).read_text().strip()

    def start(self) -> None:
        """Starts whatever does not run, and waits until it answers."""
        self.postgres.start()
        self.nats.start()
        for name in self.services:
            self.start_service(name)
        for service in self.services.values():
            service.wait_ready()

    def start_service(self, name: Service) -> None:
        """Starts it, if it does not run, and does not wait."""
        self.services[name].start(self._service_environment(name))

    def stop_service(self, name: Service) -> None:
        """It ends; the others stay."""
        self.services[name].stop()

    def stop_registry(self) -> None:
        """The registry ends; the others stay."""
        self.stop_service("registry")

    def stop(self) -> None:
        """Ends all of it."""
        for service in self.services.values():
            service.stop()
        self.nats.stop()
        self.postgres.stop()

    def client(self, role: str = "operator", service: Service = "registry") -> httpx.Client:
        """A client of a service's REST with the key of a role."""
        import httpx

        headers = {"Authorization": f"Bearer {self.key(role)}"}
        return httpx.Client(base_url=self.services[service].url, headers=headers, trust_env=False, timeout=10.0)

    def environment(self, kind: str = "agent") -> dict[str, str]:
        """What a program needs to take part: as `helper`, or with the API key of a role."""
        is_helper = kind == "helper"
        return {
            **self._service_urls(),
            "POSTMAN_NATS_URL": self.nats.url_of("helper" if is_helper else "agent"),
            "POSTMAN_API_KEY": self.key("agent" if is_helper else kind),
        }

    def _service_urls(self) -> dict[str, str]:
        return {f"POSTMAN_{name.upper()}_URL": service.url for name, service in self.services.items()}

    def _service_environment(self, name: Service) -> dict[str, str]:
        return {
            **self._service_urls(),
            "POSTMAN_DATABASE_URL": self.postgres.url_for(name),
            "POSTMAN_NATS_URL": self.nats.url_of(name),
            **SERVICE_SETTINGS[name],
        }


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


@pytest.fixture(scope="module")
def own_control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane for one module alone, not started yet: for tests that leave it full of traces."""
    parts = ControlPlane(tmp_path_factory.mktemp("own"))
    try:
        yield parts
    finally:
        parts.stop()


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
