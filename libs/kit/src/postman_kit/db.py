# SPDX-License-Identifier: Apache-2.0
"""Postgres: one engine a process, one transaction a use-case, and one exception when the database is away.

A transaction is committed when its block ends; only then may anybody be told that something was saved.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import structlog
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, InterfaceError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from postman_kit import db_trace
from postman_kit.failures import is_reported
from postman_kit.urls import redact

CONNECT_TIMEOUT_S: Final = 3.0
COMMAND_TIMEOUT_S: Final = 10.0
POOL_WAIT_S: Final = 5.0
_BACKOFF_FIRST_S: Final = 0.1
_BACKOFF_MAX_S: Final = 2.0

# SQLSTATE classes and codes after which the same transaction may succeed later or elsewhere: connection lost (08),
# resources short (53), operator's intervention, e.g. shutdown (57P), an address that has become a replica (25006), and
# what an operator repairs while we wait: a wrong password (28), no such database (3D000).
_AWAY_STATES: Final = ("08", "53", "57P", "25006", "28", "3D000")

Connection = AsyncConnection
"""A connection in a transaction, for those who pass it on and write no SQL themselves."""

_log = structlog.get_logger(__name__)


class DatabaseUnavailable(Exception):
    """The database is away, or too busy to answer in time; nothing of the transaction was kept, as far as we know."""


class Database:
    """The pool of connections to one database."""

    def __init__(self, url: str, *, name: str, connections_max: int = 10) -> None:
        """`url` is `postgresql://user:password@host:port/database`; nothing is connected yet."""
        self._shown_url = redact(url)
        self._engine = create_async_engine(
            async_url(url),
            pool_size=connections_max,
            max_overflow=0,
            pool_timeout=POOL_WAIT_S,
            hide_parameters=True,  # they hold keys, and errors are logged
            pool_pre_ping=True,  # a restarted server costs a reconnect, not an error
            connect_args={
                "timeout": CONNECT_TIMEOUT_S,
                "command_timeout": COMMAND_TIMEOUT_S,
                "server_settings": {"application_name": name},
            },
        )
        db_trace.observe(self._engine.sync_engine, name)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """A connection in a transaction: committed at the end of the block, rolled back if it raises."""
        try:
            async with self._engine.begin() as connection:
                yield connection
        except (OSError, TimeoutError, PoolTimeout, InterfaceError) as error:
            raise DatabaseUnavailable(f"{self._shown_url}: {error!r}") from error
        except DBAPIError as error:
            if error.connection_invalidated or is_away(error):
                raise DatabaseUnavailable(f"{self._shown_url}: {error.orig!r}") from error
            raise

    async def check(self, timeout_s: float = 1.0) -> None:
        """Ask the database something trivial. DatabaseUnavailable if it does not answer in time."""
        try:
            async with asyncio.timeout(timeout_s), self.transaction() as connection:
                await connection.execute(text("SELECT 1"))
        except TimeoutError as error:
            raise DatabaseUnavailable(f"{self._shown_url}: no answer within {timeout_s} s") from error

    async def wait_ready(self) -> None:
        """Wait, with growing and jittered pauses, until the database answers; for ever if need be."""
        pause_s, failures = _BACKOFF_FIRST_S, 0
        while True:
            try:
                await self.check(CONNECT_TIMEOUT_S)
            except DatabaseUnavailable as error:
                failures += 1
                if is_reported(failures):
                    _log.warning("waiting for the database", error=str(error), failures=failures)
            else:
                return
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))
            pause_s = min(2 * pause_s, _BACKOFF_MAX_S)

    async def close(self) -> None:
        """Close all connections."""
        await self._engine.dispose()


def async_url(url: str) -> str:
    """The URL with the driver that we use."""
    for scheme in ("postgresql://", "postgres://"):
        if url.startswith(scheme):
            return "postgresql+asyncpg://" + url.removeprefix(scheme)
    return url


def sqlstate(error: DBAPIError) -> str:
    """The five-letter SQLSTATE of a database error, or ''."""
    cause: Any = error.orig
    return str(getattr(cause, "sqlstate", None) or "")


def is_away(error: DBAPIError) -> bool:
    """Whether this error means that the database is away, and not that the statement is wrong."""
    return sqlstate(error).startswith(_AWAY_STATES)


def is_conflict(error: DBAPIError) -> bool:
    """Whether another transaction was in the way (unique key, deadlock, serialisation): the same may now succeed."""
    return sqlstate(error) in ("23505", "40001", "40P01")
