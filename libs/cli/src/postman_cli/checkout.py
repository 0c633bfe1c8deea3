# SPDX-License-Identifier: Apache-2.0
"""Where the checkout is that these sources are in, and the folders that commands write."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[4]
STATE = Path(os.environ.get("POSTMAN_STATE_DIR") or ROOT / ".postman")
LOGS = STATE / "log"
RELEASE_BUILD = ROOT / "build"
VENV_BIN = ROOT / ".venv" / "bin"


def tool_env() -> dict[str, str]:
    """Environment for tools of the virtual environment: found first, and with output in one language."""
    path = f"{VENV_BIN}:{os.environ.get('PATH', '/usr/sbin:/usr/bin:/sbin:/bin')}"
    return os.environ | {"PATH": path, "LC_ALL": "C.UTF-8"}
