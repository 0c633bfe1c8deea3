# SPDX-License-Identifier: Apache-2.0
"""One worker process: its configuration file, its start until it says `ready`, its end. It never outlives us.

stdout: JSON objects, one a line; the first with "event": "ready" ends the start. stderr: text, passed on to the log.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import signal
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import structlog

log = structlog.get_logger(__name__)

LINE_BYTES_MAX = 64 * 1024
LAST_WORDS_LINES = 20
# A worker that was told to stop flushes what it holds (at most hold_us_max old) and closes its ports.
STOP_GRACE_S = 5.0
_PR_SET_PDEATHSIG = 1  # prctl(2)


class WorkerStartError(Exception):
    """The worker did not become ready; the text holds its exit status and its last words."""


def write_config(path: Path, text: str) -> None:
    """Writes a worker's configuration, readable by its owner only from the first moment: it holds keys."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(os.fsencode(text))  # paths in it may be any bytes


class WorkerProcess:
    """A spawned worker. Make it with spawn()."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        transport: asyncio.SubprocessTransport,
        ended: asyncio.Future[int],
    ) -> None:
        self._process = process
        self._transport = transport
        self._last_words: deque[str] = deque(maxlen=LAST_WORDS_LINES)
        self._ready: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._readers = [
            asyncio.create_task(_each_line(process.stdout, self._take_stdout)),
            asyncio.create_task(_each_line(process.stderr, self._take_stderr)),
        ]
        self._exit = ended

    @classmethod
    async def spawn(cls, binary: Path, config: Path) -> WorkerProcess:
        """Starts `binary --config config` as a child that the kernel kills when this process ends, however it ends."""
        loop = asyncio.get_running_loop()
        transport, protocol = await loop.subprocess_exec(
            lambda: _Protocol(LINE_BYTES_MAX, loop),
            str(binary),
            "--config",
            str(config),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,  # a Ctrl-C in our terminal is ours to translate into a drain
            preexec_fn=_die_with(os.getpid()),
        )
        return cls(asyncio.subprocess.Process(transport, protocol, loop), transport, protocol.ended)

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    async def wait_ready(self, timeout_s: float) -> dict[str, Any]:
        """The worker's `ready` object; WorkerStartError if it exits first or takes longer."""
        either: set[asyncio.Future[Any]] = {self._ready, self._exit}
        await asyncio.wait(either, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        if self._ready.done():
            return self._ready.result()
        if self._exit.done():
            raise WorkerStartError(f"the worker ended before it was ready: {await self.describe_exit()}")
        raise WorkerStartError(f"the worker is not ready after {timeout_s:g} s{self._quote()}")

    async def wait_exit(self) -> int:
        """Its exit status, negative for a signal, as subprocess has it: at once when the process has ended."""
        return await asyncio.shield(self._exit)

    async def describe_exit(self) -> str:
        """How it ended, with its last words: for a person."""
        status = await self.wait_exit()
        # Its pipes end with it, unless a child of its own still holds them.
        await asyncio.wait(self._readers, timeout=1.0)
        return exit_text(status) + self._quote()

    async def stop(self, grace_s: float = STOP_GRACE_S) -> None:
        """SIGTERM, and SIGKILL to one that does not end by itself."""
        self._signal(signal.SIGTERM)
        done, _ = await asyncio.wait({self._exit}, timeout=grace_s)
        if not done:
            log.warning("worker ignores SIGTERM and is killed", pid=self.pid, grace_s=grace_s)
            await self.kill()
        for reader in self._readers:
            reader.cancel()
        self._transport.close()  # its pipes may outlive it, see _Protocol

    async def kill(self) -> None:
        """SIGKILL, and the wait for its effect."""
        self._signal(signal.SIGKILL)
        await self.wait_exit()

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    def _take_stdout(self, line: str) -> None:
        try:
            event = json.loads(line)
        except ValueError:
            event = None
        if isinstance(event, dict) and event.get("event") == "ready" and not self._ready.done():
            self._ready.set_result(event)
        else:
            log.info("worker", pid=self.pid, stdout=line)

    def _take_stderr(self, line: str) -> None:
        self._last_words.append(line)
        log.info("worker", pid=self.pid, stderr=line)

    def _quote(self) -> str:
        return "; it said:\n  " + "\n  ".join(self._last_words) if self._last_words else ""


class _Protocol(asyncio.subprocess.SubprocessStreamProtocol):
    """Says when the process has ended. Process.wait() of Python 3.11 waits for its pipes, too, which a child of it may
    hold open."""

    def __init__(self, limit: int, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(limit, loop)
        self.ended: asyncio.Future[int] = loop.create_future()
        self._process: asyncio.SubprocessTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.SubprocessTransport)
        self._process = transport
        super().connection_made(transport)

    def process_exited(self) -> None:
        assert self._process is not None
        status = self._process.get_returncode()
        assert status is not None
        self.ended.set_result(status)
        super().process_exited()


def exit_text(status: int) -> str:
    """An exit status as subprocess has it, for a person."""
    if status >= 0:
        return f"exit status {status}"
    try:
        return f"killed by {signal.Signals(-status).name}"
    except ValueError:  # a real-time signal
        return f"killed by signal {-status}"


async def _each_line(stream: asyncio.StreamReader | None, take: Callable[[str], None]) -> None:
    assert stream is not None
    while True:
        try:
            line = await stream.readline()
        except ValueError:  # longer than LINE_BYTES_MAX: what fits was dropped, the rest comes as the next line
            continue
        if not line:
            return
        text = line.decode("utf-8", "replace").rstrip()
        if text:
            take(text)


def _die_with(parent_pid: int) -> Callable[[], None]:
    """A function for the child, between fork and exec. libc is looked up before the fork: the child must not import."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def set_parent_death_signal() -> None:
        # PR_SET_PDEATHSIG is about the *thread* that forked: asyncio forks on the loop's thread, which is the main one.
        if prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0 or os.getppid() != parent_pid:
            os._exit(127)  # the parent died before the call could take effect

    return set_parent_death_signal
