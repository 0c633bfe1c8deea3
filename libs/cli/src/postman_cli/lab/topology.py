# SPDX-License-Identifier: Apache-2.0
"""What a lab looks like: hosts with roles, all on one data network and one management network.

         mgmt 198.18.1.0/24 ──┬──────┬──────┬──────┬───── (bridge in the parent namespace, no route out)
                             ctl     c1     s1     h1 ...
         data 198.18.0.0/24 ─────────┴──────┴──────┴───── (bridge in the parent namespace, no route out)

Addresses come from 198.18.0.0/15, which RFC 2544 sets apart for tests.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Role = Literal["control", "client", "server", "helper"]

DATA_PREFIX_LEN = 24
DATA_DEVICE = "data0"
MGMT_DEVICE = "mgmt0"


@dataclass(frozen=True)
class Host:
    name: str
    role: Role
    number: int  # last byte of its addresses

    @property
    def data_address(self) -> str:
        return f"198.18.0.{self.number}"

    @property
    def mgmt_address(self) -> str:
        return f"198.18.1.{self.number}"

    @property
    def on_data_network(self) -> bool:
        return self.role != "control"


@dataclass(frozen=True)
class Topology:
    name: str
    about: str
    hosts: tuple[Host, ...]

    def host(self, name: str) -> Host:
        for host in self.hosts:
            if host.name == name:
                return host
        raise KeyError(name)

    def with_role(self, role: Role) -> list[Host]:
        return [host for host in self.hosts if host.role == role]


def star(name: str, about: str, *, clients: int, servers: int, helpers: int) -> Topology:
    """Everybody one hop from everybody: one control host, then clients, servers, helpers."""
    hosts = [Host("ctl", "control", 1)]
    hosts += [Host(f"c{i}", "client", 10 + i) for i in range(1, clients + 1)]
    hosts += [Host(f"s{i}", "server", 100 + i) for i in range(1, servers + 1)]
    hosts += [Host(f"h{i}", "helper", 200 + i) for i in range(1, helpers + 1)]
    return Topology(name, about, tuple(hosts))


TOPOLOGIES: dict[str, Topology] = {
    t.name: t
    for t in (
        star("demo", "one client host, one server, two helpers", clients=1, servers=1, helpers=2),
        star("direct", "a client and a server, no helper", clients=1, servers=1, helpers=0),
        star("wide", "four client hosts, two servers, three helpers", clients=4, servers=2, helpers=3),
    )
}
