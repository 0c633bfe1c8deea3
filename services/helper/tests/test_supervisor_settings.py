# SPDX-License-Identifier: Apache-2.0
"""What is wrong with the settings or the host is said at the start, with the repair, and ends with exit code 2."""

from __future__ import annotations

import os
import subprocess
import sys
from ipaddress import IPv4Interface
from pathlib import Path
from typing import Any

import pytest

from postman_helper import device
from postman_kit.settings import SettingsError


def run(fake_worker: Any, **changes: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("POSTMAN_")}
    settings = {
        "POSTMAN_API_KEY": "k" * 32,
        "POSTMAN_STATE_DIR": str(fake_worker.dir),
        "POSTMAN_HELPER_NAME": "h1",
        "POSTMAN_HELPER_WORKER": str(fake_worker.binary),
        "POSTMAN_HELPER_DEVICE": "net_null0",
        "POSTMAN_HELPER_DATA_ADDRESS": "198.18.0.10/24",
    }
    return subprocess.run(
        [sys.executable, "-m", "postman_helper"],
        env=environment | {name: value for name, value in (settings | changes).items() if value},
        cwd=fake_worker.dir,
        capture_output=True,
        text=True,
        timeout=30,
    )


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"POSTMAN_HELPER_WORKER": "/nonexistent/postman-helper-worker"}, "Build it with ./postman build"),
        ({"POSTMAN_HELPER_DEVICE": "", "POSTMAN_HELPER_DATA_ADDRESS": "203.0.113.9/24"}, "set POSTMAN_HELPER_DEVICE"),
        ({"POSTMAN_HELPER_DEVICE": "net_pcap0,iface=nosuchdev0"}, "no network interface 'nosuchdev0'"),
        ({"POSTMAN_HELPER_DATA_ADDRESS": "198.18.0.10"}, "prefix length of 8 to 30"),
        ({"POSTMAN_HELPER_DATA_ADDRESS": "198.18.0.255/24"}, "address of a host"),
        ({"POSTMAN_HELPER_CLIENT_PORT": "0"}, "POSTMAN_HELPER_CLIENT_PORT"),
        ({"POSTMAN_HELPER_HEARTBEAT_S": "5"}, "POSTMAN_HELPER_HEARTBEAT_S"),
        ({"POSTMAN_STATE_DIR": "/tmp/" + "d" * 110}, "POSTMAN_HELPER_CONTROL_SOCKET"),
        ({"POSTMAN_API_KEY": ""}, "no API key is set"),
    ],
)
def test_a_wrong_setting_is_named_with_its_repair(fake_worker: Any, changes: dict[str, str], says: str) -> None:
    done = run(fake_worker, **changes)
    assert done.returncode == 2, done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert not fake_worker.events("start")


RING = "blocksz=262144,framesz=2048,framecnt=2048,qpairs=1"


@pytest.mark.parametrize(
    ("given", "used"),
    [
        (None, f"net_af_packet0,iface=lo,{RING}"),
        ("net_af_packet0,iface=eth1", f"net_af_packet0,iface=eth1,{RING}"),
        ("net_af_packet0,iface=eth1,framecnt=512", "net_af_packet0,iface=eth1,framecnt=512"),
        ("net_af_xdp0,iface=eth1", "net_af_xdp0,iface=eth1"),
        ("0000:01:00.0", "0000:01:00.0"),
    ],
)
def test_the_device_is_chosen_by_the_address_and_completed(given: str | None, used: str) -> None:
    assert device.complete(given, IPv4Interface("127.0.0.9/8")) == used


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("203.0.113.9/24", "0 interfaces have 203.0.113.9"),
        ("203.0.113.9/24", "lo 127.0.0.1/8"),
        ("127.0.0.1/8", "lo has"),
    ],
)
def test_an_address_that_chooses_no_device_is_said_with_what_is_here(address: str, says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        device.complete(None, IPv4Interface(address))


@pytest.mark.skipif(os.geteuid() != 0, reason="tells root what an ordinary user would be told")
def test_a_device_of_the_kernel_needs_root(fake_worker: Any, tmp_path: Path) -> None:
    code = (
        "import os, sys\n"
        "from postman_helper import device\n"
        "from postman_helper.settings import HelperSettings, SettingsError\n"
        "settings = HelperSettings.load(); os.setuid(65534)\n"
        "try: device.check(settings.device)\n"
        "except SettingsError as error: sys.exit(str(error))"
    )
    environment = os.environ | {
        "POSTMAN_HELPER_DEVICE": "net_af_packet0,iface=lo",
        "POSTMAN_HELPER_DATA_ADDRESS": "198.18.0.10/24",
    }
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=30)
    assert "needs root" in done.stderr
