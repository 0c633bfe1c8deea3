# SPDX-License-Identifier: Apache-2.0
"""What the library counted and what happened to its paths, for the process as a whole."""

from __future__ import annotations

import weakref
from dataclasses import asdict, dataclass
from typing import Any, Literal

__all__ = ["PathEvent", "events", "stats"]


@dataclass(frozen=True, slots=True)
class PathEvent:
    """Something that happened to a session of this process. Times are those of time.monotonic(), in microseconds."""

    seq: int
    type: Literal["path_suspect", "path_moved", "token_wanted", "paths_wanted"]
    session_id: int
    server_id: int
    from_helper_id: int
    """0 is the direct path."""
    to_helper_id: int
    epoch: int
    connections: int
    """How many the session had."""
    at_us: int
    silent_since_us: int
    """path_suspect, path_moved: when the oldest unacknowledged frame was sent on the old path."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def events(after: int = 0) -> list[PathEvent]:
    """Path events with `seq` above `after`, oldest first; at most the last 1,024 are kept."""
    from vcl.client import client_sessions

    sessions = client_sessions(create=False)
    return [] if sessions is None else [PathEvent(**notice) for notice in sessions.driver.notices(after)]


_servers: weakref.WeakSet[Any] = weakref.WeakSet()


def add_server(driver: Any) -> None:
    """Includes a server's driver in stats()."""
    _servers.add(driver)


def stats() -> dict[str, Any]:
    """Counters of all drivers of this process, added up: the engine's, `drops` by name, `io`, and the agent's."""
    from vcl.agent import Agent
    from vcl.client import client_sessions

    sessions = client_sessions(create=False)
    drivers = ([sessions.driver] if sessions is not None else []) + list(_servers)
    total: dict[str, Any] = {"drivers": len(drivers), "drops": {}, "io": {}}
    for driver in drivers:
        _add(total, driver.stats())
    total["agent"] = Agent.shared().counters()
    return total


def _add(total: dict[str, Any], one: dict[str, Any]) -> None:
    for key, value in one.items():
        if isinstance(value, dict):
            _add(total.setdefault(key, {}), value)
        elif key.endswith("_max"):
            total[key] = max(total.get(key, 0), value)
        else:
            total[key] = total.get(key, 0) + value
