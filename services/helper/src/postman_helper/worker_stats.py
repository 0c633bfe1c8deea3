# SPDX-License-Identifier: Apache-2.0
"""The workers' counters as one series: each worker begins at zero, what is exported must only grow. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

_NOTHING: Final[Mapping[str, int | float]] = MappingProxyType({})


class _Seen(NamedTuple):
    incarnation: int
    newest: Mapping[str, int | float]
    ended: Mapping[str, int | float]
    """Sums over all workers before this one."""


class WorkerStats:
    """What the present worker said last, and the sums over all workers of this process. Read from any thread."""

    def __init__(self) -> None:
        self._seen = _Seen(0, _NOTHING, _NOTHING)  # replaced as a whole: a reader sees the old one or the new one

    def take(self, incarnation: int, stats: Mapping[str, int | float]) -> None:
        """The newest counters of the worker of this incarnation."""
        seen = self._seen
        ended = seen.ended
        if incarnation != seen.incarnation:
            names = {**ended, **seen.newest}
            ended = {name: ended.get(name, 0) + seen.newest.get(name, 0) for name in names}
        self._seen = _Seen(incarnation, stats, ended)

    @property
    def newest(self) -> Mapping[str, int | float]:
        """The counters of the present worker."""
        return self._seen.newest

    @property
    def totals(self) -> Mapping[str, int | float]:
        """The counters of all workers together. What is no counter (`load`, `nb_...`) has no meaning here."""
        _, newest, ended = self._seen
        return {name: ended.get(name, 0) + newest.get(name, 0) for name in {**ended, **newest}}
