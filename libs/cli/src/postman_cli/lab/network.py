# SPDX-License-Identifier: Apache-2.0
"""Builds a topology out of namespaces, veth pairs and two bridges, and takes it down again."""

from __future__ import annotations

from types import TracebackType

from .namespaces import Namespace, require_root, run
from .topology import DATA_DEVICE, DATA_PREFIX_LEN, MGMT_DEVICE, Host, Topology

# A helper's port takes whole Ethernet frames, as from a wire. A veth would hand it what no wire carries: segments not
# yet cut (GSO, TSO) and checksums not yet computed.
_WIRE_LIKE = ("tx", "off", "tso", "off", "gso", "off", "tx-udp-segmentation", "off")

# With these the server's kernel merges the equal datagrams of a trunk into one large read (UDP GRO): NAPI waits a
# moment for the next packet instead of flushing after each one.
_GRO_FLUSH_TIMEOUT_NS = 30_000
_NAPI_DEFER_HARD_IRQS = 2


class LabNetwork:
    """A running topology. Use as a context manager; hosts are entered by name: `lab["c1"]`."""

    def __init__(self, topology: Topology) -> None:
        self.topology = topology
        self.namespaces: dict[str, Namespace] = {}
        self._parent: Namespace | None = None
        self.gro_tuned = True

    def __enter__(self) -> LabNetwork:
        require_root()
        try:
            self._build()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def __getitem__(self, host_name: str) -> Namespace:
        return self.namespaces[host_name]

    @property
    def switch(self) -> Namespace:
        """The parent namespace with both bridges: where a capture sees every frame."""
        assert self._parent is not None
        return self._parent

    def _build(self) -> None:
        self._parent = Namespace("switch")
        for bridge in ("data", "mgmt"):
            self._parent.run("ip", "link", "add", bridge, "type", "bridge")
            # A lab's bridge learns; it must not query for multicast groups on the side.
            self._parent.run("ip", "link", "set", bridge, "type", "bridge", "mcast_snooping", "0")
            self._parent.run("ip", "link", "set", bridge, "up")
        for host in self.topology.hosts:
            self._add_host(host)

    def _add_host(self, host: Host) -> None:
        ns = self.namespaces[host.name] = Namespace(host.name)
        # Plain IPv4 test networks: no router solicitations or link-local chatter in captures.
        ns.run("sh", "-c", "echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6 || true")
        self._join(ns, "mgmt", MGMT_DEVICE, host.name)
        ns.run("ip", "addr", "add", f"{host.mgmt_address}/24", "dev", MGMT_DEVICE)
        if not host.on_data_network:
            return
        self._join(ns, "data", DATA_DEVICE, host.name)
        if host.role == "helper":
            # The worker owns this address; the kernel must not answer for it.
            return
        ns.run("ip", "addr", "add", f"{host.data_address}/{DATA_PREFIX_LEN}", "dev", DATA_DEVICE)
        if host.role == "server":
            sys_net = f"/sys/class/net/{DATA_DEVICE}"
            self.gro_tuned &= ns.write_sysfs(f"{sys_net}/gro_flush_timeout", str(_GRO_FLUSH_TIMEOUT_NS))
            self.gro_tuned &= ns.write_sysfs(f"{sys_net}/napi_defer_hard_irqs", str(_NAPI_DEFER_HARD_IRQS))

    def _join(self, ns: Namespace, bridge: str, device: str, host_name: str) -> None:
        assert self._parent is not None
        port = f"{bridge[0]}-{host_name}"
        argv = ["ip", "link", "add", device, "netns", str(ns.pid), "type", "veth"]
        run([*argv, "peer", "name", port, "netns", str(self._parent.pid)], what=f"joining {host_name} to {bridge}")
        self._parent.run("ip", "link", "set", port, "master", bridge, "up")
        ns.run("ip", "link", "set", device, "up")
        if bridge == "data":
            ns.run("ethtool", "-K", device, *_WIRE_LIKE, "gro", "on")

    def link(self, host_name: str, *, up: bool) -> None:
        """Cuts or heals one host's data link."""
        self.switch.run("ip", "link", "set", f"d-{host_name}", "up" if up else "down")

    def close(self) -> None:
        for ns in [*self.namespaces.values(), *([self._parent] if self._parent else [])]:
            ns.close()
        self.namespaces.clear()
        self._parent = None
