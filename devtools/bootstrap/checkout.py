# SPDX-License-Identifier: Apache-2.0
"""The folders of a checkout that the set-up writes, and the stamps that say what is already done."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Checkout:
    """Where things are. Everything below is git-ignored; deleting it makes the next run start over."""

    root: Path

    @property
    def state(self) -> Path:
        """Folder of logs, stamps and the state of running parts."""
        return self.root / ".postman"

    @property
    def logs(self) -> Path:
        """Folder of the logs of the set-up, one file per step, of its latest run."""
        return self.state / "log"

    @property
    def venv(self) -> Path:
        """The virtual environment."""
        return self.root / ".venv"

    @property
    def build(self) -> Path:
        """The release build of the C parts."""
        return self.root / "build"

    @property
    def lock(self) -> Path:
        """Exact versions and hashes of the Python packages."""
        return self.root / "requirements.lock"

    @property
    def python(self) -> Path:
        """The virtual environment's interpreter."""
        return self.venv / "bin" / "python"


def digest(*parts: str | bytes) -> str:
    """One hash over all parts; a change of any of them, or of their borders, changes it."""
    sha = hashlib.sha256()
    for part in parts:
        raw = part.encode() if isinstance(part, str) else part
        sha.update(len(raw).to_bytes(8, "big") + raw)
    return sha.hexdigest()


def is_stamped(stamp: Path, value: str) -> bool:
    """Whether the step that writes this stamp ended well with the same inputs."""
    try:
        return stamp.read_text() == value
    except OSError:
        return False


def write_stamp(stamp: Path, value: str) -> None:
    """Says that the step is done; the last thing a step does."""
    stamp.parent.mkdir(parents=True, exist_ok=True)
    stamp.write_text(value)
