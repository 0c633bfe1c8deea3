# SPDX-License-Identifier: Apache-2.0
"""Which assignment of placement's a client counts for, and what it makes of the helpers. Pure.

The group that a client names comes first, then the longest prefix that holds its address, then its site. Of groups that
are alike in that (one prefix or site twice for one service) the first by name counts: the same for the same client.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final

RANK_PRIMARY: Final = 0
RANK_BACKUP: Final = 1
RANK_OTHER: Final = 2


@dataclass(frozen=True, slots=True)
class Assignment:
    """The helpers that the clients of one group shall use for one service."""

    group: str
    site: str
    prefixes: tuple[str, ...]
    primary: int
    backup: int | None

    def rank(self, helper_id: int) -> int:
        """What this helper is to these clients; lower is better."""
        if helper_id == self.primary:
            return RANK_PRIMARY
        return RANK_BACKUP if helper_id == self.backup else RANK_OTHER


@dataclass(frozen=True, slots=True)
class ClientPlace:
    """What a client says of itself, and the address it asks from, as far as it is one."""

    group: str | None = None
    site: str | None = None
    address: str | None = None


class ServiceAssignments:
    """All assignments for one service in one epoch, ready to be asked. `epoch` is None while there is none."""

    def __init__(self, epoch: int | None, assignments: Iterable[Assignment]) -> None:
        self.epoch = epoch
        self._by_group: dict[str, Assignment] = {}
        self._by_site: dict[str, Assignment] = {}
        self._by_prefix: dict[tuple[int, int], dict[int, Assignment]] = {}  # (IP version, length) to network
        for assignment in sorted(assignments, key=lambda one: one.group):
            self._by_group.setdefault(assignment.group, assignment)
            self._by_site.setdefault(assignment.site, assignment)
            for prefix in assignment.prefixes:
                network = ip_network(prefix)
                networks = self._by_prefix.setdefault((network.version, network.prefixlen), {})
                networks.setdefault(int(network.network_address), assignment)
        self._lengths = sorted(self._by_prefix, reverse=True)

    def match(self, client: ClientPlace) -> Assignment | None:
        """The assignment that this client counts for, or None if none concerns it."""
        found = self._by_group.get(client.group) if client.group else None
        found = found or self._match_address(client.address)
        return found or (self._by_site.get(client.site) if client.site else None)

    def _match_address(self, text: str | None) -> Assignment | None:
        address = _address(text)
        if address is None:
            return None
        for version, length in self._lengths:
            if version == address.version:
                host_bits = address.max_prefixlen - length
                found = self._by_prefix[version, length].get(int(address) >> host_bits << host_bits)
                if found is not None:
                    return found
        return None


def _address(text: str | None) -> IPv4Address | IPv6Address | None:
    """An address, or None for what is none. A socket for both versions shows IPv4 clients as ::ffff:a.b.c.d."""
    try:
        address = ip_address((text or "").partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
