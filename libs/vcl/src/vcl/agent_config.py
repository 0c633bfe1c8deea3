# SPDX-License-Identifier: Apache-2.0
"""Where the agent finds the control plane. Reads the environment and one key file, nothing else."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from vcl.agent_types import REASON_NO_REGISTRY


@dataclass(frozen=True, slots=True)
class AgentConfig:
    """A configuration with a `problem` makes a disabled agent: every question is answered with that reason."""

    registry_url: str = ""
    nats_url: str = ""  # empty: no facts, the data path finds out by itself
    api_key: str = field(default="", repr=False)
    problem: str = ""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> AgentConfig:
        """POSTMAN_REGISTRY_URL, POSTMAN_NATS_URL, and POSTMAN_API_KEY or POSTMAN_API_KEY_FILE."""
        registry_url = environment.get("POSTMAN_REGISTRY_URL", "").strip()
        if not registry_url:
            return cls(problem=REASON_NO_REGISTRY)
        if not _is_http(registry_url):
            return cls(problem=f"POSTMAN_REGISTRY_URL is not an http URL: {registry_url!r}")
        api_key = environment.get("POSTMAN_API_KEY", "").strip()
        key_file = environment.get("POSTMAN_API_KEY_FILE", "").strip()
        if not api_key and key_file:
            try:
                api_key = Path(key_file).read_text(encoding="ascii").strip()
            except (OSError, UnicodeDecodeError) as error:
                return cls(problem=f"POSTMAN_API_KEY_FILE cannot be read: {error}")
        if not api_key.isascii():
            return cls(problem="POSTMAN_API_KEY is not ASCII")
        return cls(registry_url, environment.get("POSTMAN_NATS_URL", "").strip(), api_key)


def _is_http(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        return False
