# SPDX-License-Identifier: Apache-2.0
"""Placement's settings: `POSTMAN_PLACEMENT_*`, or `placement_*` in postman.toml. Units are in the names."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import Field

from postman_kit.settings import PostmanSettings, SettingsError


class PlacementSettings(PostmanSettings):
    """What placement can be told; every default works on one host."""

    own_prefix: ClassVar[str] = "placement_"

    placement_host: str = "127.0.0.1"
    placement_port: int = Field(default=4781, ge=0, le=65535)
    placement_keys_dir: Path | None = None

    # Each solve takes a processor; what waits is bounded so that nobody waits for long and gets nothing.
    placement_solves_max: int = Field(default=2, ge=1, le=64)
    placement_solves_waiting_max: int = Field(default=4, ge=0, le=1000)
    placement_kept_max: int = Field(default=200, ge=1, le=100_000)

    # How long the registry, and health, may take to say all that they know.
    placement_registry_timeout_s: float = Field(default=5.0, gt=0, le=60)
    placement_health_timeout_s: float = Field(default=1.0, gt=0, le=60)
    placement_database_connections_max: int = Field(default=10, ge=2, le=200)

    def keys_dir(self) -> Path:
        """The directory of API keys."""
        return self.placement_keys_dir or self.state_dir / "keys"

    def registry_api_key(self) -> str:
        """The key that the registry and health are asked with: the one set, else the viewer's of our own directory.

        On one host all services share the directory, so that the default works there.
        """
        if self.api_key.get_secret_value() or self.api_key_file is not None:
            return self.client_api_key()
        path = self.keys_dir() / "viewer"
        try:
            return path.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(
                f"no API key to ask the registry with: {path}: {error}. Set POSTMAN_API_KEY_FILE to a file with a key "
                "of the role viewer"
            ) from None
