# SPDX-License-Identifier: Apache-2.0
"""Client of the worker's control socket: one request line out, one JSON object line back (docs/architecture.md)."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from postman_contracts.fields import STATS_MAX
from postman_contracts.rest import TrunkServer
from postman_helper.server_table import Command, RemoveServer

# The worker answers between two polls of its queues; a second without an answer means that it does not poll.
ANSWER_TIMEOUT_S = 1.0
LINE_BYTES_MAX = 1 << 20  # `neighbours` and `stats` stay far below
_STAT_NAME = re.compile(r"[A-Za-z0-9_.]{1,64}")


class ControlError(Exception):
    """The worker did not answer, or not in the protocol."""


class ControlRefused(ControlError):
    """The worker answered {"ok": false}; the text is its `error`."""


class Control:
    """One connection, made at the first request and again after any failure. Requests queue behind each other."""

    def __init__(self, path: Path, answer_timeout_s: float = ANSWER_TIMEOUT_S) -> None:
        self._path = path
        self._answer_timeout_s = answer_timeout_s
        self._lock = asyncio.Lock()
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ping(self) -> None:
        """Returns when the worker answered; ControlError if it did not."""
        await self.request("ping")

    async def stats(self) -> dict[str, int | float]:
        """The worker's counters as one flat table; names of nested ones are joined with dots."""
        return flatten(await self.request("stats"))

    async def apply(self, command: Command) -> None:
        """Sets or removes one server."""
        if isinstance(command, RemoveServer):
            await self.request(f"server remove {command.server_id}")
        else:
            await self.request(_set_line(command.server))

    async def drain(self, on: bool) -> None:
        """Lets the worker tell clients that it is draining (PONG), or not."""
        await self.request(f"drain {'on' if on else 'off'}")

    async def close(self) -> None:
        """Closes the connection; the next request would open another."""
        async with self._lock:
            await self._drop()

    async def request(self, line: str) -> dict[str, Any]:
        """Sends one line, returns the answer. ControlRefused if it says no, ControlError if it says nothing."""
        async with self._lock:
            try:
                async with asyncio.timeout(self._answer_timeout_s):
                    answer = await self._exchange(line)
            except TimeoutError:
                await self._drop()
                raise ControlError(
                    f"the worker did not answer '{_verb(line)}' in {self._answer_timeout_s:g} s"
                ) from None
            except (OSError, ValueError, EOFError, asyncio.LimitOverrunError) as error:
                await self._drop()
                raise ControlError(f"control socket {self._path}: {error or type(error).__name__}") from None
            except asyncio.CancelledError:
                await self._drop()  # its answer would be taken for that of the next request
                raise
        if answer.get("ok") is not True:
            raise ControlRefused(f"the worker refused '{_verb(line)}': {answer.get('error', 'no reason given')}")
        return answer

    async def _exchange(self, line: str) -> dict[str, Any]:
        if self._streams is None:
            self._streams = await asyncio.open_unix_connection(str(self._path), limit=LINE_BYTES_MAX)
        reader, writer = self._streams
        writer.write(line.encode("ascii") + b"\n")
        await writer.drain()
        answer = await reader.readuntil(b"\n")
        decoded = json.loads(answer)
        if not isinstance(decoded, dict):
            raise ValueError("the answer is not a JSON object")
        return decoded

    async def _drop(self) -> None:
        streams, self._streams = self._streams, None
        if streams is not None:
            streams[1].close()
            with contextlib.suppress(OSError):
                await streams[1].wait_closed()


def flatten(answer: dict[str, Any]) -> dict[str, int | float]:
    """Every finite number in an answer, nested objects with dotted names, within the limits of the contracts' Stats;
    anything else is left out."""
    numbers = ((name, value) for name, value in _walk("", answer) if _STAT_NAME.fullmatch(name) and abs(value) < 2**63)
    return dict(itertools.islice(numbers, STATS_MAX))


def _walk(prefix: str, answer: dict[str, Any]) -> Iterator[tuple[str, int | float]]:
    for name, value in answer.items():
        if isinstance(value, dict):
            yield from _walk(f"{prefix}{name}.", value)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield prefix + name, value


def _set_line(server: TrunkServer) -> str:
    return (
        f"server set {server.server_id} {server.shard} {server.data_address} {server.udp_port} "
        f"{server.trunk_key_to_server.hex()} {server.trunk_key_to_helper.hex()}"
    )


def _verb(line: str) -> str:
    """The words of a request without its keys."""
    return " ".join(line.split()[:3])
