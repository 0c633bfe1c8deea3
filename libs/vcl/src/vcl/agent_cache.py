# SPDX-License-Identifier: Apache-2.0
"""The agent's memory of resolutions. Pure: the times are arguments.

An entry is *fresh* for a moment (nobody asks the registry again), then *stale*: good only when the registry does not
answer, and only while its token is valid. "No server there" is remembered too, more briefly.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from vcl.agent_types import Lookup, Resolution

Key = tuple[str, int]

# Facts make entries stale at once (Cache.expire_all), so this only bounds the error while NATS is away.
FRESH_S = 2.0
NEGATIVE_S = 1.0
# A token that is about to end is fetched anew: docs/protocol.md K4 allows 30 s of skew, and an OPEN needs its time too.
TOKEN_MARGIN_S = 30.0
ENTRIES_MAX = 4096


@dataclass(slots=True)
class _Entry:
    lookup: Lookup
    stored_at_s: float  # monotonic


class Cache:
    """Resolutions by (host, port), least recently stored first."""

    def __init__(self, entries_max: int = ENTRIES_MAX) -> None:
        self._entries: OrderedDict[Key, _Entry] = OrderedDict()
        self._entries_max = entries_max
        self.evictions = 0

    def __len__(self) -> int:
        return len(self._entries)

    def fresh(self, key: Key, now_s: float, unix_now_s: float) -> Lookup | None:
        """The remembered outcome, if it may be used without asking the registry."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        age_s = now_s - entry.stored_at_s
        resolution = entry.lookup.resolution
        if resolution is None:
            return entry.lookup if age_s < NEGATIVE_S else None
        if age_s < FRESH_S and resolution.token_expires_at - unix_now_s > TOKEN_MARGIN_S:
            return entry.lookup
        return None

    def fallback(self, key: Key, unix_now_s: float) -> Resolution | None:
        """The remembered resolution for a registry outage: any age, while its token is valid."""
        entry = self._entries.get(key)
        resolution = entry.lookup.resolution if entry is not None else None
        if resolution is not None and resolution.token_expires_at > unix_now_s:
            return resolution
        return None

    def store(self, key: Key, lookup: Lookup, now_s: float) -> None:
        """Remembers what the registry answered."""
        self._entries.pop(key, None)
        self._entries[key] = _Entry(lookup, now_s)
        while len(self._entries) > self._entries_max:
            self._entries.popitem(last=False)
            self.evictions += 1

    def expire_all(self) -> None:
        """A helper changed, or a server is down (perhaps another has its address now): every resolution becomes stale,
        and stays good for an outage."""
        for entry in self._entries.values():
            if entry.lookup.resolution is not None:
                entry.stored_at_s = float("-inf")

    def forget_server(self, server_id: int) -> None:
        """The server is gone: its entries are wrong, outage or not."""
        gone = [
            key
            for key, entry in self._entries.items()
            if entry.lookup.resolution is not None and entry.lookup.resolution.server_id == server_id
        ]
        for key in gone:
            del self._entries[key]

    def forget_absences(self) -> None:
        """A server came: whoever was told "no server there" may ask again."""
        for key in [key for key, entry in self._entries.items() if entry.lookup.resolution is None]:
            del self._entries[key]
