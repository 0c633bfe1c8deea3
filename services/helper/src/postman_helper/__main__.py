# SPDX-License-Identifier: Apache-2.0
"""`python -m postman_helper [--config FILE]`: settings → registry client, bus, supervisor. Only wiring here.

SIGTERM and SIGINT end it gently; the second one at once. Exit codes: 0 it has left or was stopped, 2 a setting or the
host is wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from pathlib import Path

from postman_helper import __version__, worker_metrics
from postman_helper.lease import Registry
from postman_helper.settings import HelperSettings
from postman_helper.supervisor import Supervisor
from postman_kit import telemetry
from postman_kit.bus import Bus
from postman_kit.embedded.child import EmbeddedError, StateDirectory
from postman_kit.settings import CONFIG_VARIABLE, SettingsError

EXIT_SETTINGS = 2


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="postman_helper", description="Supervisor of a Postman helper's DPDK worker.")
    parser.add_argument("--config", type=Path, help="a postman.toml; POSTMAN_* variables come before it")
    arguments = parser.parse_args()
    if arguments.config is not None:
        os.environ[CONFIG_VARIABLE] = str(arguments.config)
    exporters = None
    try:
        settings = HelperSettings.load()
        exporters = telemetry.setup("postman-helper", __version__, instance_id=settings.helper_name)
        settings.check_host()
        api_key = settings.client_api_key()
        alone = StateDirectory(settings.worker_dir())
        alone.acquire()  # until we die: two supervisors of one helper would take its identity from each other for ever
        asyncio.run(_run(settings, api_key))
    except (SettingsError, EmbeddedError) as error:
        sys.stderr.write(f"postman_helper: {error}\n")
        return EXIT_SETTINGS
    finally:
        if exporters is not None:
            exporters.shutdown()
    return 0


async def _run(settings: HelperSettings, api_key: str) -> None:
    bus = Bus(settings.nats_url.get_secret_value(), name=f"helper {settings.helper_name}")
    supervisor = Supervisor(settings, Registry(settings.registry_url, api_key), bus)
    worker_metrics.export(supervisor.stats)
    telemetry.export_bus(bus)
    asked = 0

    def on_signal() -> None:
        nonlocal asked
        asked += 1
        if asked == 1:
            supervisor.request_leave()
        else:
            supervisor.request_stop()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    await supervisor.run()


if __name__ == "__main__":
    sys.exit(main())
