# SPDX-License-Identifier: Apache-2.0
"""The worker's network device: chosen by the helper's address when none is set, completed, and checked."""

from __future__ import annotations

import fcntl
import os
import re
import socket
import struct
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface
from pathlib import Path
from typing import Final

from postman_kit.settings import SettingsError

_AF_PACKET: Final = "net_af_packet"
# A whole trunk datagram of a 1,500-byte MTU in each frame, and a ring of 2,048 of them: enough for the pauses of a busy
# machine.
_AF_PACKET_RING: Final = {"blocksz": "262144", "framesz": "2048", "framecnt": "2048", "qpairs": "1"}
_NEEDS_ROOT: Final = (_AF_PACKET, "net_af_xdp", "net_tap")
_PCI_ADDRESS: Final = re.compile(r"(?:[0-9a-f]{4}:)?[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]", re.IGNORECASE)

# netdevice(7): a request is the interface's name, then a socket address.
_SIOCGIFADDR: Final = 0x8915
_SIOCGIFNETMASK: Final = 0x891B
_IFREQ: Final = struct.Struct("16s 4x 4s 16x")
# Linux: address, index, prefix length (both in hex), scope, flags, name
_IPV6_ADDRESSES: Final = Path("/proc/net/if_inet6")
_SCOPE_GLOBAL: Final = "00"


def complete(device: str | None, address: IPv4Interface | IPv6Interface) -> str:
    """The device with all its parameters. Without one: af_packet on the interface whose subnet holds the address."""
    if device is None:
        device = f"{_AF_PACKET}0,iface={_interface_for(address)}"
    given = {argument.partition("=")[0] for argument in device.split(",")[1:]}
    if device.startswith(_AF_PACKET) and not given & _AF_PACKET_RING.keys():  # they only fit together
        device += "".join(f",{name}={value}" for name, value in _AF_PACKET_RING.items())
    return device


def check(device: str) -> None:
    """What would make every start of the worker fail; SettingsError says how to repair it."""
    name, *arguments = device.split(",")
    is_pci = _PCI_ADDRESS.fullmatch(name) is not None
    if (is_pci or device.startswith(_NEEDS_ROOT)) and os.geteuid() != 0:
        raise SettingsError(f"the device {device} needs root. Run the helper as root (in a container: with NET_RAW)")
    if is_pci and not (Path("/sys/bus/pci/devices") / _full_pci(name)).exists():
        raise SettingsError(f"there is no PCI device {name}. Correct POSTMAN_HELPER_DEVICE; `lspci -D` lists them")
    for argument in arguments:
        key, _, value = argument.partition("=")
        if key == "iface" and not _interface_exists(value):
            raise SettingsError(
                f"there is no network interface '{value}' here. Correct POSTMAN_HELPER_DEVICE; `ip link` lists them"
            )


def _interface_for(address: IPv4Interface | IPv6Interface) -> str:
    interfaces: Mapping[str, IPv4Interface | IPv6Interface]
    interfaces = _ipv4_interfaces() if address.version == 4 else _ipv6_interfaces()
    found = [name for name, own in interfaces.items() if address.ip in own.network]
    here = ", ".join(f"{name} {own}" for name, own in interfaces.items()) or f"none with IPv{address.version}"
    repair = "Correct POSTMAN_HELPER_DATA_ADDRESS, or set POSTMAN_HELPER_DEVICE (net_af_packet0,iface=NAME)"
    if len(found) != 1:
        raise SettingsError(f"{len(found)} interfaces have {address.ip} in their subnet. Here are: {here}. {repair}")
    if interfaces[found[0]].ip == address.ip:
        raise SettingsError(
            f"{found[0]} has the address {address.ip} itself: the kernel would answer for the helper. Give the helper "
            f"another one of {interfaces[found[0]].network} in POSTMAN_HELPER_DATA_ADDRESS"
        )
    return found[0]


def _ipv4_interfaces() -> dict[str, IPv4Interface]:
    """The interfaces that have an IPv4 address, with their first one."""
    found = {}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        for _, name in socket.if_nameindex():
            try:
                address, mask = (_ask(asking, name, what) for what in (_SIOCGIFADDR, _SIOCGIFNETMASK))
            except OSError:  # it has none, or has just gone
                continue
            found[name] = IPv4Interface(f"{address}/{mask}")
    return found


def _ipv6_interfaces() -> dict[str, IPv6Interface]:
    """The interfaces that have a global IPv6 address, with their first one."""
    found: dict[str, IPv6Interface] = {}
    try:
        lines = _IPV6_ADDRESSES.read_text("ascii").splitlines()
    except FileNotFoundError:  # a kernel without IPv6
        return found
    for line in lines:
        address, _, prefix_len, scope, _, name = line.split()
        if scope == _SCOPE_GLOBAL:
            found.setdefault(name, IPv6Interface((IPv6Address(int(address, 16)), int(prefix_len, 16))))
    return found


def _ask(asking: socket.socket, name: str, what: int) -> IPv4Address:
    answer = fcntl.ioctl(asking, what, _IFREQ.pack(name.encode(), b""))
    return IPv4Address(_IFREQ.unpack(answer)[1])


def _full_pci(address: str) -> str:
    return address.lower() if address.count(":") == 2 else f"0000:{address.lower()}"


def _interface_exists(name: str) -> bool:
    try:
        socket.if_nametoindex(name)
    except OSError:
        return False
    return True
