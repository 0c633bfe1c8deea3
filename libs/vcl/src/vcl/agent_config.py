# SPDX-License-Identifier: Apache-2.0
"""Where the agent finds the control plane, and where this process belongs. Reads the environment and the files that it
names for secrets, nothing else."""

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
    nats_url: str = field(default="", repr=False)  # with a password; empty: no facts, the data path finds out by itself
    api_key: str = field(default="", repr=False)
    group: str = ""  # for which assignment this process counts; empty: its address or site says it
    site: str = ""  # where it runs
    problem: str = ""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> AgentConfig:
        """POSTMAN_REGISTRY_URL, POSTMAN_NATS_URL and POSTMAN_API_KEY (or the same with _FILE: a file that holds it),
        POSTMAN_GROUP and POSTMAN_SITE."""
        registry_url = environment.get("POSTMAN_REGISTRY_URL", "").strip()
        if not registry_url:
            return cls(problem=REASON_NO_REGISTRY)
        if not _is_http(registry_url):
            return cls(problem=f"POSTMAN_REGISTRY_URL is not an http URL: {registry_url!r}")
        try:
            api_key = _secret(environment, "POSTMAN_API_KEY")
            nats_url = _secret(environment, "POSTMAN_NATS_URL")
        except ValueError as error:
            return cls(problem=str(error))
        group, site = (environment.get(name, "").strip() for name in ("POSTMAN_GROUP", "POSTMAN_SITE"))
        return cls(registry_url, nats_url, api_key, group, site)


def _secret(environment: Mapping[str, str], name: str) -> str:
    value = environment.get(name, "").strip()
    file = environment.get(f"{name}_FILE", "").strip()
    if not value and file:
        try:
            value = Path(file).read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"{name}_FILE cannot be read: {error}") from None
    if not value.isascii():
        raise ValueError(f"{name} is not ASCII")
    return value


def _is_http(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        return False
