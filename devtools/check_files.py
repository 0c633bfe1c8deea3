#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks what every source file has: the licence line, a length that one can read, a line end at the end."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LICENCE = "SPDX-License-Identifier: Apache-2.0"
LICENCE_WITHIN_LINES = 3
LINES_MAX = 400
SOURCES = ("*.c", "*.h", "*.py", "*.pyx", "*.pyi", "*.sh", "meson.build", "meson_options.txt", "pyproject.toml")


def main() -> int:
    """Prints all breaches; 1 when there are any."""
    breaches = [breach for path in _sources() for breach in check(path)]
    for breach in breaches:
        print(breach)
    print(f"check_files: {len(breaches)} breaches")
    return 1 if breaches else 0


def _sources() -> list[Path]:
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *SOURCES]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return sorted(ROOT / name for name in set(listed.split("\0")) if name and (ROOT / name).is_file())


def check(path: Path) -> Iterator[str]:
    text, name = path.read_text(), path.relative_to(ROOT)
    lines = text.splitlines()
    if not any(LICENCE in line for line in lines[:LICENCE_WITHIN_LINES]):
        yield f"{name}:1: no '{LICENCE}' in the first {LICENCE_WITHIN_LINES} lines"
    if len(lines) > LINES_MAX:
        yield f"{name}:{len(lines)}: more than {LINES_MAX} lines; split it by concept"
    if not text.endswith("\n"):
        yield f"{name}:{len(lines)}: no line end at the end"


if __name__ == "__main__":
    sys.exit(main())
