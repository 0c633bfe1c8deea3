# SPDX-License-Identifier: Apache-2.0
"""Health's settings: `POSTMAN_HEALTH_*`, or `health_*` in postman.toml. Units are in the names."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import Field

from postman_kit.settings import PostmanSettings


class HealthSettings(PostmanSettings):
    """What health can be told; every default works on one host."""

    own_prefix: ClassVar[str] = "health_"

    health_host: str = "127.0.0.1"
    health_port: int = Field(default=4782, ge=0, le=65535)
    health_keys_dir: Path | None = None

    # How late a silence may be noticed. At most 100 ms: a tick after 125 ms counts as a stall of our own (hearing.py).
    health_tick_ms: int = Field(default=50, ge=5, le=100)
    # A helper that is down for so long is no longer spoken of; so long the stream keeps facts, too.
    health_down_kept_s: float = Field(default=24 * 3600.0, ge=1)

    # At least as long as the stream keeps facts: what it sends again must be known.
    health_events_kept_days: int = Field(default=30, ge=2, le=3650)
    health_listeners_max: int = Field(default=100, ge=1, le=10_000)
    health_database_connections_max: int = Field(default=10, ge=6, le=200)

    def keys_dir(self) -> Path:
        """The directory of API keys."""
        return self.health_keys_dir or self.state_dir / "keys"
