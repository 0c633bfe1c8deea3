# SPDX-License-Identifier: Apache-2.0
"""Settings of one helper: POSTMAN_HELPER_* and what all processes share (registry, NATS, API key, state folder)."""

from __future__ import annotations

import os
import shutil
import socket
from functools import cached_property
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface
from pathlib import Path
from typing import ClassVar, Final, Literal

from pydantic import Field, field_validator

from postman_contracts.fields import Name, Port
from postman_helper import device
from postman_kit.settings import PostmanSettings, SettingsError

WORKER_NAME: Final = "postman-helper-worker"
_CHECKOUT: Final = Path(__file__).resolve().parents[4]
_BUILT_WORKER: Final = _CHECKOUT / "build" / "services" / "helper" / "worker" / WORKER_NAME
# sun_path of unix(7) holds 108 bytes with its final zero.
_SOCKET_PATH_BYTES_MAX: Final = 107


def _default_worker() -> Path:
    found = shutil.which(WORKER_NAME)
    return Path(found) if found else _BUILT_WORKER


class HelperSettings(PostmanSettings):
    """Limits are those of the worker (services/helper/worker/config.h) and of the REST bodies."""

    own_prefix: ClassVar[str] = "helper_"

    helper_name: Name = Field(default_factory=lambda: socket.gethostname().split(".")[0])
    helper_site: Name | None = None
    helper_data_address: IPv4Interface | IPv6Interface
    """The worker's own address with its prefix length: 198.18.0.10/24 or fd00::10/64. The kernel must not have it. The
    helper serves clients and servers of this IP version."""
    helper_gateway: IPv4Address | IPv6Address | None = None
    """The next hop to clients and servers that are not on the link."""
    helper_device: str | None = Field(default=None, min_length=1, max_length=255, pattern=r"^[!-~]+$")
    """A DPDK device: `net_af_packet0,iface=eth1`, `net_af_xdp0,iface=eth1`, a PCI address, ... See device.py."""
    helper_client_port: Port = 4701
    helper_trunk_port: Port = 4702
    helper_hugepages: bool = False
    helper_memory_mb: int = Field(default=128, ge=64, le=65536)
    helper_cpu: int | None = Field(default=None, ge=0, le=1023)
    helper_idle: Literal["sleep", "spin"] = "sleep"
    helper_hold_us_max: int = Field(default=100, ge=0, le=10_000)
    helper_worker: Path = Field(default_factory=_default_worker)
    helper_control_socket: Path | None = None

    helper_start_timeout_s: float = Field(default=30.0, gt=0, le=600)  # huge pages are cleared at the start
    helper_drain_timeout_s: float = Field(default=30.0, ge=0, le=3600)
    helper_heartbeat_s: float = Field(default=0.2, ge=0.1, le=1.0)

    @field_validator("helper_data_address")
    @classmethod
    def _has_prefix(cls, value: IPv4Interface | IPv6Interface) -> IPv4Interface | IPv6Interface:
        edges = (value.network[0], value.network[-1]) if value.version == 4 else (value.network[0],)
        longest = 30 if value.version == 4 else 126
        if not 8 <= value.network.prefixlen <= longest or value.ip in edges:
            raise ValueError(
                f"must be the address of a host with a prefix length of 8 to {longest}, such as 198.18.0.10/24 or "
                "fd00::10/64"
            )
        return value

    @cached_property
    def device(self) -> str:
        """The device that the worker is given."""
        return device.complete(self.helper_device, self.helper_data_address)

    def worker_dir(self) -> Path:
        """Where this helper's files are."""
        return self.state_dir.absolute() / f"helper-{self.helper_name}"

    def control_socket(self) -> Path:
        """The worker's control socket."""
        return self.helper_control_socket or self.worker_dir() / "control.sock"

    def check_host(self) -> None:
        """What would make every start of the worker fail; SettingsError says how to repair it."""
        if not self.helper_worker.is_file() or not os.access(self.helper_worker, os.X_OK):
            raise SettingsError(
                f"no worker binary at {self.helper_worker}. Build it with ./postman build, or set POSTMAN_HELPER_WORKER"
            )
        if len(os.fsencode(self.control_socket())) > _SOCKET_PATH_BYTES_MAX:
            raise SettingsError(
                f"the path of the control socket is longer than {_SOCKET_PATH_BYTES_MAX} bytes: "
                f"{self.control_socket()}. Set POSTMAN_HELPER_CONTROL_SOCKET to a shorter one"
            )
        device.check(self.device)
