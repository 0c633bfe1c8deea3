# SPDX-License-Identifier: Apache-2.0
"""Border to the worker: spawn, ready line, exit, control socket; against a process that speaks its side."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from postman_helper.control import Control, ControlError, ControlRefused, flatten
from postman_helper.server_table import RemoveServer
from postman_helper.worker_process import WorkerProcess, WorkerStartError, write_config


def config(fake_worker: Any) -> Path:
    path = fake_worker.dir / "worker.conf"
    write_config(path, f"control_socket={fake_worker.dir / 'control.sock'}\n")
    return path


async def start(fake_worker: Any) -> tuple[WorkerProcess, Control]:
    worker = await WorkerProcess.spawn(fake_worker.binary, config(fake_worker))
    await worker.wait_ready(10.0)
    return worker, Control(fake_worker.dir / "control.sock", answer_timeout_s=0.3)


async def test_requests_are_answered_and_refusals_are_told_apart(fake_worker: Any) -> None:
    worker, control = await start(fake_worker)
    try:
        await asyncio.gather(*(control.ping() for _ in range(20)))
        assert (await control.stats())["drops.malformed"] == 7
        await control.apply(RemoveServer(9))
        with pytest.raises(ControlRefused, match="unknown request"):
            await control.request("nonsense")
        await control.ping()
    finally:
        await control.close()
        await worker.stop()
    assert fake_worker.events("server")[0]["words"] == ["remove", "9"]


async def test_a_mute_worker_is_an_error_and_speaks_again_later(fake_worker: Any) -> None:
    worker, control = await start(fake_worker)
    try:
        fake_worker.tell("mute")
        with pytest.raises(ControlError, match="did not answer"):
            await control.ping()
        fake_worker.untell("mute")
        await control.ping()
    finally:
        await control.close()
        await worker.stop()


async def test_no_socket_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ControlError):
        await Control(tmp_path / "absent.sock").ping()


async def test_the_config_is_private_from_its_first_moment(tmp_path: Path) -> None:
    path = tmp_path / "worker.conf"
    path.write_text("old and readable")
    path.chmod(0o644)
    write_config(path, "cid_key=00\n")
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_text() == "cid_key=00\n"


async def test_a_worker_that_exits_first_is_quoted(fake_worker: Any) -> None:
    fake_worker.tell("start", "exit")
    worker = await WorkerProcess.spawn(fake_worker.binary, config(fake_worker))
    with pytest.raises(WorkerStartError, match=r"exit status 3; it said:\n  EAL: no such device"):
        await worker.wait_ready(10.0)
    await worker.stop()


async def test_a_worker_that_never_gets_ready_is_given_up(fake_worker: Any) -> None:
    fake_worker.tell("start", "never")
    worker = await WorkerProcess.spawn(fake_worker.binary, config(fake_worker))
    with pytest.raises(WorkerStartError, match="not ready after"):
        await worker.wait_ready(0.2)
    await worker.kill()
    assert await worker.wait_exit() == -signal.SIGKILL


async def test_a_stubborn_worker_is_killed(fake_worker: Any) -> None:
    fake_worker.tell("stubborn")
    worker, control = await start(fake_worker)
    await control.close()
    await worker.stop(grace_s=0.2)
    assert await worker.wait_exit() == -signal.SIGKILL
    assert fake_worker.events("sigterm")


async def test_its_end_is_noticed_though_a_child_of_it_holds_its_pipes(fake_worker: Any) -> None:
    fake_worker.tell("orphan")
    worker, control = await start(fake_worker)
    await control.close()
    try:
        await worker.kill()
        assert await worker.wait_exit() == -signal.SIGKILL
    finally:
        os.kill(fake_worker.events("orphan")[0]["orphan"], signal.SIGKILL)
        await worker.stop()


def test_the_worker_dies_with_a_supervisor_that_is_killed(fake_worker: Any, wait_until: Callable[..., None]) -> None:
    script = textwrap.dedent(f"""
        import asyncio
        from pathlib import Path
        from postman_helper.worker_process import WorkerProcess
        async def main():
            await WorkerProcess.spawn(Path({str(fake_worker.binary)!r}), Path({str(config(fake_worker))!r}))
            await asyncio.sleep(600)
        asyncio.run(main())
    """)
    with subprocess.Popen([sys.executable, "-c", script]) as supervisor:
        try:
            wait_until(lambda: fake_worker.events("start"), what="the worker's start")
            pid = fake_worker.events("start")[0]["pid"]
            assert is_running(pid)
        finally:
            supervisor.kill()
    wait_until(lambda: not is_running(pid), what="the worker's end")


def is_running(pid: int) -> bool:
    """Whether the process executes: one that nobody waited for yet counts as dead."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_stats_are_flat_and_bounded() -> None:
    answer = {"ok": True, "a": 1, "b": {"c": 2.5, "d": {"e": 3}}, "bad name": 4, "text": "x", "huge": 2**70}
    assert flatten(answer) == {"a": 1, "b.c": 2.5, "b.d.e": 3}
    assert len(flatten({f"n{number}": number for number in range(1000)})) == 128
