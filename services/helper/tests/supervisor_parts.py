# SPDX-License-Identifier: Apache-2.0
"""What tests of the whole supervisor are made of: it as a process, its entry at the registry, what it says on NATS."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import nats
from nats.aio.msg import Msg

from postman_contracts import subjects

SITE = "supervised"


class Helper:
    """One supervisor process and its entry at the registry."""

    def __init__(self, control_plane: Any, fake_worker: Any, wait_until: Callable[..., Any], log: Path) -> None:
        self.name = f"h-{secrets.token_hex(4)}"
        self.control_plane, self.worker, self.wait_until = control_plane, fake_worker, wait_until
        self.log = log
        self.environment = (
            os.environ
            | control_plane.environment("helper")
            | {
                "POSTMAN_STATE_DIR": str(fake_worker.dir),
                "POSTMAN_HELPER_NAME": self.name,
                "POSTMAN_HELPER_SITE": SITE,
                "POSTMAN_HELPER_WORKER": str(fake_worker.binary),
                "POSTMAN_HELPER_DEVICE": "net_null0",
                "POSTMAN_HELPER_DATA_ADDRESS": "198.18.0.10/24",
                "POSTMAN_HELPER_HEARTBEAT_S": "0.1",
            }
        )
        self.start()

    def start(self) -> None:
        """The process, for the first time or again."""
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "postman_helper"], env=self.environment, stderr=out, cwd=self.worker.dir
            )

    def run_second(self) -> subprocess.CompletedProcess[str]:
        """Another supervisor with the same settings."""
        return subprocess.run(
            [sys.executable, "-m", "postman_helper"],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=30,
        )

    def stop(self) -> None:
        """Whatever state the test left it in."""
        self.process.kill()
        self.process.wait()

    def entry(self) -> dict[str, Any]:
        """What the registry says of it, {} if nothing."""
        with self.control_plane.client() as client:
            items = client.get("/v1/helpers", params={"limit": 500}).json()["items"]
        return next((item for item in items if item["name"] == self.name), {})

    def starts(self) -> list[dict[str, Any]]:
        """The starts of its workers."""
        return self.worker.events("start")

    def wait_serving(self, incarnation: int | None = None) -> dict[str, Any]:
        """Until the registry has heard of the newest worker (of this incarnation); returns that worker's start."""

        def serving() -> dict[str, Any] | None:
            assert self.process.poll() is None, f"the supervisor ended with {self.process.returncode}"
            entry, starts = self.entry(), self.starts()
            if not starts or entry.get("state") != "up" or not entry["stats"]:
                return None
            wanted = incarnation or int(starts[-1]["config"]["incarnation"])
            return starts[-1] if entry["incarnation"] == wanted else None

        return self.wait_until(serving, what=f"service (incarnation {incarnation or 'of the last start'})")

    def wait_exit(self) -> int:
        """Its exit code; the test fails if it goes on."""
        self.wait_until(lambda: self.process.poll() is not None, what="the supervisor's end")
        return self.process.returncode


def register_server(client: Any, udp_port: int) -> dict[str, Any]:
    body = {
        "service": "echo",
        "host": "echo.example",
        "tcp_port": udp_port,
        "data_address": "198.18.0.20",
        "udp_port": udp_port,
        "shards": 2,
    }
    return client.post("/v1/servers", json=body).raise_for_status().json()


def order(helper: Helper, what: str) -> None:
    with helper.control_plane.client("operator") as client:
        client.post(f"/v1/helpers/{helper.entry()['helper_id']}/{what}").raise_for_status()


def drain_commands(helper: Helper) -> list[str]:
    return [event["words"][0] for event in helper.worker.events("drain")]


@contextlib.asynccontextmanager
async def heard(url: str, subject: str) -> AsyncIterator[Callable[[Callable[[dict[str, Any]], bool]], Any]]:
    """What comes on a subject within the block: call the result with what is wanted, and await the message."""
    client = await nats.connect(url)
    try:
        subscription = await client.subscribe(subject)
        await client.flush()

        async def until(wanted: Callable[[dict[str, Any]], bool]) -> Msg:
            while True:
                message = await subscription.next_msg(timeout=20.0)
                if wanted(json.loads(message.data)):
                    return message

        yield until
    finally:
        await client.close()


async def next_heartbeat(url: str, helper_id: int, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    async with heard(url, subjects.helper_heartbeat(helper_id)) as until:
        return dict(json.loads((await until(wanted)).data))
