# SPDX-License-Identifier: Apache-2.0
"""The registry's settings: `POSTMAN_REGISTRY_*`, or `registry_*` in postman.toml. Units are in the names."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import Field

from postman_kit.settings import PostmanSettings


class RegistrySettings(PostmanSettings):
    """What the registry can be told; every default works on one host."""

    own_prefix: ClassVar[str] = "registry_"

    registry_host: str = "127.0.0.1"
    registry_port: int = Field(default=4780, ge=0, le=65535)
    registry_keys_dir: Path | None = None

    # A helper says that it lives each second: three may be lost. A server's lease is not used to detect failures.
    registry_helper_lease_ttl_s: float = Field(default=4.0, ge=0.2, le=3600)
    registry_server_lease_ttl_s: float = Field(default=15.0, ge=0.2, le=3600)
    registry_sweep_interval_s: float = Field(default=0.5, ge=0.01, le=60)

    registry_token_lifetime_s: int = Field(default=600, ge=10, le=65535)
    registry_token_conns_max: int = Field(default=65535, ge=1, le=65535)
    registry_key_rotation_s: float = Field(default=24 * 3600.0, ge=1)

    # How old an answer of resolve may be; bounds the database's load whatever the clients do.
    registry_resolve_age_ms_max: int = Field(default=100, ge=0, le=10_000)
    registry_database_connections_max: int = Field(default=10, ge=2, le=200)

    def keys_dir(self) -> Path:
        """The directory of API keys."""
        return self.registry_keys_dir or self.state_dir / "keys"
