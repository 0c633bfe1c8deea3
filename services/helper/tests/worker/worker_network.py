# SPDX-License-Identifier: Apache-2.0
"""A private network of two namespaces for one worker:

    helper namespace                    edge namespace (kernel sockets)
    [worker 198.18.0.10] veth ------ veth 198.18.0.1 client, 198.18.0.2 server

Both namespaces are nameless and die with this process (postman_cli.lab.namespaces).
"""

from __future__ import annotations

import ctypes
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from worker_program import DEADLINE_S

from postman_cli.lab.namespaces import Namespace

CLIENT_IP = "198.18.0.1"
SERVER_IP = "198.18.0.2"

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


@contextmanager
def _inside(pid: int) -> Iterator[None]:
    """This thread in the network namespace of pid; sockets made inside stay there."""
    with Path("/proc/thread-self/ns/net").open() as own, Path(f"/proc/{pid}/ns/net").open() as other:
        _setns(other.fileno())
        try:
            yield
        finally:
            _setns(own.fileno())


def _setns(fd: int) -> None:
    if _libc.setns(fd, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


class WorkerNetwork:
    """Use as a context manager."""

    helper_device = "h0"
    edge_device = "e0"

    def __enter__(self) -> WorkerNetwork:
        self.helper = Namespace("helper")
        try:
            self.edge = Namespace("edge")
            self._join()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def _join(self) -> None:
        for namespace in (self.helper, self.edge):
            namespace.run("sh", "-c", "echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6 || true")
        self.edge.run(
            "ip", "link", "add", self.edge_device, "type", "veth", "peer", "name", self.helper_device,
            "netns", str(self.helper.pid),
        )  # fmt: skip
        # A wire carries no unfinished segments and checksums.
        for namespace, device in ((self.edge, self.edge_device), (self.helper, self.helper_device)):
            namespace.run(
                "ethtool", "-K", device, "tx", "off", "tso", "off", "gso", "off", "tx-udp-segmentation", "off"
            )
            namespace.run("ip", "link", "set", device, "up")
        for ip in (CLIENT_IP, SERVER_IP):
            self.edge.run("ip", "addr", "add", f"{ip}/24", "dev", self.edge_device)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        for name in ("helper", "edge"):
            namespace: Namespace | None = getattr(self, name, None)
            if namespace is not None:
                namespace.close()

    def udp(self, ip: str, port: int = 0) -> socket.socket:
        """A kernel UDP socket of the edge."""
        with _inside(self.edge.pid):
            sock = socket.socket(socket.AF_INET6 if ":" in ip else socket.AF_INET, socket.SOCK_DGRAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        sock.settimeout(DEADLINE_S)
        sock.bind((ip, port))
        return sock

    def raw(self) -> socket.socket:
        """Whole Ethernet frames at the edge's end of the veth."""
        with _inside(self.edge.pid):
            sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))  # ETH_P_ALL
        sock.settimeout(DEADLINE_S)
        sock.bind((self.edge_device, 0))
        return sock

    def edge_mac(self) -> bytes:
        with self.raw() as sock:
            mac: bytes = sock.getsockname()[4]
            return mac
