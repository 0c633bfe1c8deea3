# SPDX-License-Identifier: Apache-2.0
"""The ledger as a file: one JSON object, written anew each second, and the verdict of a health check on it.

Needs nothing but the standard library: it runs every few seconds in each container.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any, Final

AGE_S_MAX: Final = 5.0
"""A ledger that was written, or a reply that came, longer ago than this is a complaint: both happen each second."""
WRITE_INTERVAL_S: Final = 1.0


class BookError(Exception):
    """There is no ledger to read; the text says where and what to do."""


def write_book(path: Path, book: dict[str, Any]) -> None:
    """Replaces the file at once, so that a reader never sees half of it."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(json.dumps({**book, "written_unix_s": round(time.time(), 3)}))
    draft.replace(path)


def read_book(path: Path) -> dict[str, Any]:
    """The ledger in the file."""
    try:
        book = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise BookError(
            f"no ledger in {path}: {error}. Start `postman traffic client` or `server`, or name its file with --ledger"
        ) from None
    if not isinstance(book, dict):
        raise BookError(f"{path} is no ledger. Name the file that `postman traffic` writes with --ledger")
    return book


def complaints(book: dict[str, Any], now_unix_s: float) -> list[str]:
    """Why this end is not healthy, in words; empty if it is."""
    found = []
    age_s = now_unix_s - float(book.get("written_unix_s", 0))
    if age_s > AGE_S_MAX:
        found.append(f"the ledger was written {age_s:.0f} s ago")
    if not book.get("clean", False):
        found.append("the ledger is not clean")
    if book.get("waiting_for"):
        found.append(f"no VCL: {book['waiting_for']}")
    reply_age_s = book.get("last_reply_age_s", 0.0)
    if reply_age_s is None or reply_age_s > AGE_S_MAX:
        found.append("no reply in the last seconds")
    return found
