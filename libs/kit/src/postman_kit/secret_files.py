# SPDX-License-Identifier: Apache-2.0
"""Secrets in files that only their owner reads: made once, never half written, never in an image."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Final

_RANDOM_BYTES: Final = 24
_PLAIN: Final = re.compile(r"[A-Za-z0-9._~-]+")  # what RFC 3986, 2.3 calls unreserved


class SecretError(Exception):
    """A secret that cannot be had: which file, why, and what to do."""


def new_password() -> str:
    """192 random bits in characters that need no quoting in URLs, SQL or JSON."""
    return secrets.token_urlsafe(_RANDOM_BYTES)


def kept_secret(path: Path, make: Callable[[], str] = new_password) -> str:
    """The secret in this file; the first who asks makes it. OSError if the file cannot be read or made."""
    with contextlib.suppress(FileNotFoundError):
        return _read(path)
    draft = _draft(path, make())
    try:
        os.link(draft, path)  # whoever comes first wins, and nobody reads half a secret
    except FileExistsError:
        pass
    finally:
        draft.unlink()
    return _read(path)


def write_private(path: Path, text: str) -> None:
    """Replace a file, mode 0600; a reader sees the old text or the new one. Unchanged text leaves it untouched."""
    with contextlib.suppress(FileNotFoundError, UnicodeDecodeError):
        if path.read_text("utf-8") == text and path.stat().st_mode & 0o077 == 0:
            return
    _draft(path, text.removesuffix("\n")).replace(path)


def private_folder(path: Path) -> Path:
    """Make a folder that only its owner enters."""
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    if path.stat().st_mode & 0o077:
        path.chmod(0o700)
    return path


def _read(path: Path) -> str:
    value = path.read_text("utf-8", errors="replace").strip()
    if not value:
        raise SecretError(f"{path} is empty. Write the secret into it, or remove it to have a new one made")
    if not _PLAIN.fullmatch(value):
        raise SecretError(
            f"{path} has other characters than A-Z a-z 0-9 . _ ~ -, which would break URLs and SQL. Choose another "
            "secret, or remove the file to have a new one made"
        )
    return value


def _draft(path: Path, text: str) -> Path:
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    return draft
