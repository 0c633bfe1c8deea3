# SPDX-License-Identifier: Apache-2.0
"""The Virtual Connection Library: TCP's socket interface, over helpers that batch small messages.

    from vcl import connect, create_server

Not FD.io VPP's communications library of the same initials. See docs/architecture.md.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vcl.client import connect
    from vcl.counters import PathEvent, events, stats
    from vcl.errors import ForkedError, TokenExpiredError
    from vcl.server import Listener, create_server
    from vcl.socket import Socket

__version__ = "0.1.0"

__all__ = [
    "ForkedError",
    "Listener",
    "PathEvent",
    "Socket",
    "TokenExpiredError",
    "connect",
    "create_server",
    "events",
    "stats",
]

# Loaded when first used, so that the agent and the tools can import vcl.agent without the extension module.
_HOMES = {
    "ForkedError": "vcl.errors",
    "Listener": "vcl.server",
    "PathEvent": "vcl.counters",
    "Socket": "vcl.socket",
    "TokenExpiredError": "vcl.errors",
    "connect": "vcl.client",
    "create_server": "vcl.server",
    "events": "vcl.counters",
    "stats": "vcl.counters",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'vcl' has no attribute {name!r}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value
