# SPDX-License-Identifier: Apache-2.0
"""The supervisor with the real DPDK worker, on a device that drops everything: what one writes the other reads."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from postman_helper.settings import HelperSettings

WORKER = HelperSettings.model_fields["helper_worker"].get_default(call_default_factory=True)

pytestmark = pytest.mark.skipif(not WORKER.exists(), reason=f"{WORKER} is not built (needs DPDK)")


def test_the_real_worker_starts_serves_drains_and_ends(
    control_plane: Any, wait_until: Callable[..., Any], tmp_path: Path
) -> None:
    log = tmp_path / "supervisor.log"
    environment = control_plane.environment("helper") | {
        "POSTMAN_STATE_DIR": str(tmp_path),
        "POSTMAN_HELPER_NAME": f"real-{os.getpid()}",
        "POSTMAN_HELPER_WORKER": str(WORKER),
        "POSTMAN_HELPER_DEVICE": "net_null0,no-rx=1",
        "POSTMAN_HELPER_DATA_ADDRESS": "198.18.0.10/24",
        "POSTMAN_HELPER_GATEWAY": "198.18.0.1",
        "POSTMAN_HELPER_HOLD_US_MAX": "50",
        "POSTMAN_HELPER_MEMORY_MB": "96",
        "POSTMAN_HELPER_CPU": "0",
    }

    def entry() -> dict[str, Any]:
        with control_plane.client() as client:
            items = client.get("/v1/helpers", params={"limit": 500}).json()["items"]
        return next((item for item in items if item["name"] == environment["POSTMAN_HELPER_NAME"]), {})

    with (
        log.open("wb") as out,
        subprocess.Popen([sys.executable, "-m", "postman_helper"], env=os.environ | environment, stderr=out) as process,
    ):
        try:
            wait_until(lambda: entry().get("stats"), what="heartbeats of the worker")
            body = {"service": "echo", "host": "real.example", "tcp_port": 7401, "udp_port": 7401}
            with control_plane.client("agent") as client:
                client.post("/v1/servers", json=body | {"data_address": "198.18.0.20"}).raise_for_status()
            wait_until(
                lambda: entry().get("stats", {}).get("nb_servers", 0) >= 1, what="a server in the worker's table"
            )
            assert entry()["stats"]["uptime_ms"] > 0
            assert 0 <= entry()["stats"]["load"] <= 1
            process.send_signal(signal.SIGTERM)
            wait_until(lambda: process.poll() is not None, what="the end")
            assert process.returncode == 0
            assert entry()["state"] == "gone"
        finally:
            process.kill()
            sys.stderr.write(log.read_text())
