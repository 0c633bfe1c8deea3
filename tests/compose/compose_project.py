# SPDX-License-Identifier: Apache-2.0
"""compose.yaml of the checkout as a project of its own: free ports, a data network that nobody has, its own image tag.

Everything goes through `docker compose` as a person would type it, and through REST as with curl.
"""

from __future__ import annotations

import datetime
import ipaddress
import json
import os
import random
import re
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx

CHECKOUT = Path(__file__).resolve().parents[2]
BASE_IMAGES = ("debian:bookworm-slim", "postgres:18", "nats:2")
SERVICES = ("registry", "placement", "health")
ONE_SHOT = {"setup", "database"}
UNCHECKED = {"nats"}  # its image has nothing to check with
LONG_RUNNING = {"postgres", "nats", "registry", "placement", "health", "helper-1", "helper-2", "server", "client"}
HELPER_ADDRESSES = {"helper-1": 201, "helper-2": 202}
COMMAND_TIMEOUT_S = 600
PORTS = range(20_000, 32_000)


class ComposeFailed(Exception):
    """A command of docker ended badly; the text has its output."""


def why_not() -> str:
    """Why containers cannot be run here, or nothing."""
    if shutil.which("docker") is None:
        return "no docker on this machine"
    for command in (["docker", "info"], ["docker", "compose", "version"]):
        if (done := run(command, check=False)).returncode != 0:
            return f"`{' '.join(command)}` fails: {done.stderr.strip().splitlines()[-1:]}"
    for image in BASE_IMAGES:
        here = run(["docker", "image", "inspect", image], check=False).returncode == 0
        if not here and run(["docker", "pull", "-q", image], check=False).returncode != 0:
            return f"the base image {image} is neither here nor to be had"
    return ""


def run(
    command: list[str], *, check: bool = True, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """A command in the checkout, with its output."""
    done = subprocess.run(
        command,
        cwd=CHECKOUT,
        env=os.environ | (env or {}),
        capture_output=True,
        text=True,
        timeout=COMMAND_TIMEOUT_S,
        check=False,
    )
    if check and done.returncode != 0:
        raise ComposeFailed(f"$ {' '.join(command)}\n{done.stdout[-4000:]}{done.stderr[-4000:]}")
    return done


def free_ports(wanted: int) -> list[int]:
    """TCP ports of loopback that nobody has, below those that the kernel gives to outgoing connections."""
    found: list[int] = []
    for port in random.sample(PORTS, len(PORTS)):
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        found.append(port)
        if len(found) == wanted:
            return found
    raise ComposeFailed(f"no {wanted} free ports of {PORTS}")


def free_data_net() -> str:
    """The first three bytes of a /24 that neither an interface nor a network of docker has."""
    routes = json.loads(run(["ip", "-json", "route"]).stdout)
    networks = run(["docker", "network", "ls", "-q"]).stdout.split()
    details = json.loads(run(["docker", "network", "inspect", *networks]).stdout)
    taken = {route["dst"] for route in routes if route["dst"] != "default"}
    taken |= {config["Subnet"] for network in details for config in network["IPAM"]["Config"] or [] if config}
    taken_nets = [ipaddress.ip_network(net, strict=False) for net in taken]
    for number in range(255, 0, -1):
        wanted = ipaddress.ip_network(f"198.19.{number}.0/24")
        if not any(wanted.overlaps(net) for net in taken_nets if net.version == wanted.version):
            return f"198.19.{number}"
    raise ComposeFailed("all networks 198.19.x.0/24 are taken")


class Project:
    """One installation. up() once, then anything, then remove()."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.data_net = free_data_net()
        self.ports = dict(zip(SERVICES, free_ports(len(SERVICES)), strict=True))
        self._env = {
            "COMPOSE_PROJECT_NAME": name,
            "POSTMAN_DATA_NET": self.data_net,
            "POSTMAN_IMAGE_TAG": "test",
            **{f"POSTMAN_{service.upper()}_PORT": str(port) for service, port in self.ports.items()},
        }
        self._key = ""

    def compose(self, *arguments: str, check: bool = True) -> str:
        """`docker compose ARGUMENTS`; what it printed."""
        return run(["docker", "compose", *arguments], check=check, env=self._env).stdout

    def remove(self) -> None:
        """Containers, networks and volumes; the images stay, for the next build."""
        self.compose("down", "--volumes", "--remove-orphans", "--timeout", "5")

    # --- containers -----------------------------------------------------------------------------------

    def containers(self) -> dict[str, dict[str, Any]]:
        """What docker says of each service's container."""
        ids = self.compose("ps", "--all", "--quiet").split()
        found = json.loads(run(["docker", "inspect", *ids]).stdout) if ids else []
        return {item["Config"]["Labels"]["com.docker.compose.service"]: item for item in found}

    def unhealthy(self) -> dict[str, str]:
        """The services that are not as they should be, and how they are."""
        wrong = {}
        found = self.containers()
        for service in LONG_RUNNING | ONE_SHOT:
            state = found.get(service, {}).get("State", {"Status": "missing"})
            said = state.get("Health", {}).get("Status", "") if service not in UNCHECKED else "healthy"
            if service in ONE_SHOT:
                well = state["Status"] == "exited" and state["ExitCode"] == 0
            else:
                well = state["Status"] == "running" and said == "healthy"
            if not well:
                wrong[service] = f"{state['Status']} {said}".strip()
        return wrong

    def seconds_to_healthy(self) -> float:
        """From the start of the first container to the first good health check of the last one."""
        began, healthy = [], []
        for container in self.containers().values():
            began.append(_time_of(container["State"]["StartedAt"]))
            checks = container["State"].get("Health", {}).get("Log", [])
            healthy += [_time_of(check["End"]) for check in checks if check["ExitCode"] == 0][:1]
        return max(healthy) - min(began)

    def wait_healthy(self, timeout_s: float) -> None:
        """Until every service is well. AssertionError names those that are not, with their last words."""
        wait_for(lambda: not self.unhealthy(), timeout_s, lambda: self._last_words(self.unhealthy()))

    def _last_words(self, wrong: dict[str, str]) -> str:
        logs = {service: self.compose("logs", "--no-color", "--tail", "8", service) for service in wrong}
        return f"{wrong}\n" + "\n".join(logs.values())

    def capture(self, path: Path, packets: int) -> None:
        """UDP on the data network, as the host's bridge sees it."""
        network = run(["docker", "network", "inspect", "-f", "{{.Id}}", f"{self.name}_data"]).stdout.strip()
        run(["timeout", "60", "tcpdump", "-i", f"br-{network[:12]}", "-c", str(packets), "-w", str(path), "udp"])

    # --- the traffic ----------------------------------------------------------------------------------

    def ledger(self, service: str = "client") -> dict[str, Any]:
        """The ledger of the client or the server."""
        book: dict[str, Any] = json.loads(self.compose("exec", "-T", service, "postman", "traffic", "report"))
        return book

    def helper_in_use(self) -> str | None:
        """The service that carries the client's connections; None while they are on their way to another."""
        used = [int(helper_id) for helper_id, count in self.ledger()["helpers"].items() if count]
        names = {helper["helper_id"]: helper["name"] for helper in self.call("registry", "GET", "/v1/helpers")["items"]}
        return names.get(used[0]) if len(used) == 1 else None

    def wait_on_helper(self, timeout_s: float = 60) -> str:
        """The helper that carries the client's connections. On a busy machine they may be elsewhere for a moment."""
        used: list[str] = []

        def look() -> bool:
            used.extend(filter(None, [self.helper_in_use()]))
            return bool(used)

        wait_for(look, timeout_s, lambda: f"the client uses no helper: {self.ledger()}")
        return used[-1]

    def wait_growing(self, by: int = 500, timeout_s: float = 60) -> dict[str, Any]:
        """Until so many more replies have come; the ledger then."""
        want = self.ledger()["received"] + by
        wait_for(lambda: self.ledger()["received"] >= want, timeout_s, lambda: f"the ledger stands: {self.ledger()}")
        return self.ledger()

    def worker_frames(self, helper: str) -> int:
        """Frames of clients that the worker of this helper has taken."""
        items = self.call("registry", "GET", "/v1/helpers")["items"]
        return next(int(item["stats"]["client_frames_in"]) for item in items if item["name"] == helper)

    # --- REST -----------------------------------------------------------------------------------------

    def call(self, service: str, method: str, path: str, body: Any = None) -> Any:
        """One request with the operator's key; the answer's JSON. AssertionError shows a problem document."""
        if not self._key:
            self._key = self.compose("exec", "-T", "registry", "cat", "/run/postman/keys/operator").strip()
        url = f"http://127.0.0.1:{self.ports[service]}{path}"
        headers = {"Authorization": f"Bearer {self._key}"}
        response = httpx.request(method, url, json=body, headers=headers, timeout=30, trust_env=False)
        assert response.is_success, f"{method} {path}: {response.status_code} {response.text}"
        return response.json() if response.content else None


def wait_for(ready: Any, timeout_s: float, explain: Any) -> None:
    """Until `ready()`, which may fail while things come and go; AssertionError with `explain()` if it never is."""
    deadline, failure = time.monotonic() + timeout_s, None
    while time.monotonic() < deadline:
        try:
            if ready():
                return
            failure = None
        except (ComposeFailed, httpx.HTTPError, AssertionError, json.JSONDecodeError) as error:
            failure = error
        time.sleep(0.5)
    raise AssertionError(f"not within {timeout_s:.0f} s: {failure or explain()}")


def _time_of(text: str) -> float:
    """Docker has nanoseconds, and Python microseconds."""
    return datetime.datetime.fromisoformat(re.sub(r"(\.\d{6})\d*", r"\1", text)).timestamp()
