# SPDX-License-Identifier: Apache-2.0
"""Bearer keys with roles: viewer < agent < operator < admin.

Keys are files in one directory, one key each, named by role or `role.anything` (several keys of one role, so that a key
can be replaced while the other is still in use). At first start one key for each role is made, mode 0600. Files that
come, change or go are noticed within a second: replacing a key needs no restart.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import secrets
import time
from collections.abc import Awaitable, Callable
from enum import IntEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Final

import structlog
from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.types import ASGIApp, Receive, Scope, Send

from postman_contracts.problems import ProblemType
from postman_kit.errors import ProblemError, problem_answer
from postman_kit.secret_files import SecretError, kept_secret
from postman_kit.settings import SettingsError

KEY_CHARACTERS_MIN: Final = 16
KEY_CHARACTERS_MAX: Final = 256
_KEY_RANDOM_BYTES: Final = 32
_LOOK_INTERVAL_S: Final = 1.0

_log = structlog.get_logger(__name__)


class Role(IntEnum):
    """What a key may do; each role may do what those below it may."""

    VIEWER = 1
    AGENT = 2
    OPERATOR = 3
    ADMIN = 4


class KeyRing:
    """The keys that are valid, as digests. Looking one up takes the same time whichever it is, and if it is none."""

    def __init__(self, keys: list[tuple[str, Role]]) -> None:
        self._digests = [(_digest(key), role) for key, role in keys]

    def role_of(self, presented: str) -> Role | None:
        """The role of a key, or None if it is not valid."""
        digest, found = _digest(presented), None
        for known, role in self._digests:
            if hmac.compare_digest(known, digest):
                found = role
        return found


class KeyFolder(KeyRing):
    """The keys of a directory as it is now."""

    def __init__(self, directory: Path, clock: Callable[[], float] = time.monotonic) -> None:
        """SettingsError names a file that cannot be used. Later on such a file is logged, and its key not valid."""
        self._directory = directory
        self._clock = clock
        self._looked_at_s = clock()
        self._seen = _state_of(directory)
        super().__init__([_read_key(path) for path in _key_files(directory)])

    def role_of(self, presented: str) -> Role | None:
        """The role of a key, or None if it is not valid."""
        if self._clock() - self._looked_at_s >= _LOOK_INTERVAL_S:
            self._looked_at_s = self._clock()
            self._look()
        return super().role_of(presented)

    def _look(self) -> None:
        try:
            state = _state_of(self._directory)
            if state == self._seen:
                return
            keys = [key for path in _key_files(self._directory) for key in _usable(path)]
        except OSError as error:  # the keys that we know stay valid: this is no order to lock everybody out
            _log.error("the API keys cannot be looked at", directory=str(self._directory), error=str(error))
            return
        self._seen = state
        super().__init__(keys)
        _log.info("the API keys were read again", count=len(keys))


def key_ring_from(directory: Path) -> KeyFolder:
    """Read all keys of a directory; make the directory and one key for each role that has none."""
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        for role in Role:
            name = role.name.lower()
            if not any(path.name.split(".")[0] == name for path in directory.iterdir()):
                kept_secret(directory / name, partial(_new_key, name))
                _log.info("made an API key", role=name, path=str(directory / name))
        return KeyFolder(directory)
    except (OSError, SecretError) as error:
        raise SettingsError(f"API keys in {directory}: {error}. Correct the directory or its permissions") from None


def _key_files(directory: Path) -> list[Path]:
    return sorted(path for path in directory.iterdir() if not path.name.startswith("."))


def _state_of(directory: Path) -> frozenset[tuple[str, int, int, int]]:
    """What differs when a file has come, changed or gone, or may be read now and could not be before."""
    found = set()
    for path in _key_files(directory):
        with contextlib.suppress(FileNotFoundError):
            about = path.stat()
            found.add((path.name, about.st_ino, about.st_size, about.st_ctime_ns))
    return frozenset(found)


def _usable(path: Path) -> list[tuple[str, Role]]:
    try:
        return [_read_key(path)]
    except (OSError, SettingsError) as error:
        _log.error("an API key cannot be used", error=str(error))
        return []


def _new_key(role: str) -> str:
    return f"pmk_{role}_{secrets.token_urlsafe(_KEY_RANDOM_BYTES)}"


def _read_key(path: Path) -> tuple[str, Role]:
    name = path.name.split(".")[0].upper()
    if name not in Role.__members__:
        roles = ", ".join(role.name.lower() for role in Role)
        raise SettingsError(f"{path}: the file's name must begin with a role ({roles}). Rename or remove it")
    key = path.read_text("utf-8", errors="replace").strip()
    if not KEY_CHARACTERS_MIN <= len(key) <= KEY_CHARACTERS_MAX or not key.isascii() or " " in key:
        raise SettingsError(
            f"{path}: a key has {KEY_CHARACTERS_MIN} to {KEY_CHARACTERS_MAX} ASCII characters without spaces. Write "
            "one into it, or remove the file to have one made"
        )
    return key, Role[name]


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def _no_key() -> ProblemError:
    return ProblemError(
        ProblemType.UNAUTHORISED,
        401,
        "No valid API key",
        "Send 'Authorization: Bearer KEY' with a valid key; POSTMAN_API_KEY or POSTMAN_API_KEY_FILE sets it.",
        headers={"WWW-Authenticate": "Bearer"},
    )


class KeyWall:
    """ASGI middleware: below `/v1/` nothing is read of a request without a valid key, its body neither."""

    def __init__(self, app: ASGIApp, key_ring: KeyRing) -> None:
        self._app = app
        self._key_ring = key_ring

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer it with 401."""
        if scope["type"] == "http" and scope["path"].startswith("/v1/") and not self._has_key(scope):
            await problem_answer(_no_key())(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _has_key(self, scope: Scope) -> bool:
        for name, value in scope["headers"]:
            if name == b"authorization":
                scheme, _, key = value.decode("latin-1").partition(" ")
                return scheme.lower() == "bearer" and self._key_ring.role_of(key.strip()) is not None
        return False


_bearer = HTTPBearer(auto_error=False, description="A key of the installation")


def require(role: Role) -> Callable[..., Awaitable[Role]]:
    """A FastAPI dependency: the request must carry a key of this role or above. Returns the role it has.

    The application's `state.key_ring` has the keys.
    """

    async def check(
        request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)] = None
    ) -> Role:
        ring: KeyRing = request.app.state.key_ring
        found = ring.role_of(credentials.credentials) if credentials else None
        if found is None:
            raise _no_key()
        if found < role:
            raise ProblemError(
                ProblemType.FORBIDDEN,
                403,
                "The API key may not do this",
                f"This needs the role {role.name.lower()}; the key has {found.name.lower()}. Use another key.",
            )
        return found

    return check
