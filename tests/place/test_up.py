# SPDX-License-Identifier: Apache-2.0
"""`postman up` and `postman status` as programs, with a real Postgres, NATS and services."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

CLI = (sys.executable, "-m", "postman_cli")
FREE_PORTS = ("--registry-port", "0", "--placement-port", "0", "--health-port", "0", "--nats-port", "0")
ENDS_S = 30


def run(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
    # COLUMNS: what runs the tests may have set a width for its own output.
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("POSTMAN_", "COLUMNS"))}
    return subprocess.run([*CLI, *words], env=clean | env, capture_output=True, text=True, timeout=ENDS_S * 2)


class Up:
    """A running `postman up`, and what it printed when it was ready."""

    def __init__(self, state: Path) -> None:
        self.state = state
        command = [*CLI, "up", "--json", *FREE_PORTS, "--state-dir", str(state / "up")]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.process.communicate()[1]
        self.ready: dict[str, Any] = json.loads(line)

    def end(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        if self.process.poll() is None:
            self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=ENDS_S)
        return self.process.returncode, errors


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    running = Up(tmp_path_factory.mktemp("state"))
    yield running
    running.end()


def test_status_finds_what_runs_in_the_state_folder(up: Up) -> None:
    done = run("status", "--json", POSTMAN_STATE_DIR=str(up.state))
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["registry_url"] == up.ready["registry_url"]
    assert facts["ready"] is True
    assert facts["helpers"] == facts["servers"] == []


def test_status_by_environment_variables(up: Up, tmp_path: Path) -> None:
    done = run(
        "status",
        POSTMAN_STATE_DIR=str(tmp_path),
        POSTMAN_REGISTRY_URL=up.ready["registry_url"],
        POSTMAN_PLACEMENT_URL=up.ready["placement_url"],
        POSTMAN_HEALTH_URL=up.ready["health_url"],
        POSTMAN_API_KEY_FILE=up.ready["api_key_files"]["viewer"],
    )
    assert done.returncode == 0, done.stderr
    assert "ready" in done.stdout
    assert "0 helpers" in done.stdout


def test_a_wrong_key_is_told(up: Up, tmp_path: Path) -> None:
    url = up.ready["registry_url"]
    done = run("status", POSTMAN_STATE_DIR=str(tmp_path), POSTMAN_REGISTRY_URL=url, POSTMAN_API_KEY="no-such-key-0123")
    assert done.returncode == 1
    assert "401" in done.stderr


def test_secrets_are_for_the_owner_only(up: Up) -> None:
    state = up.state / "up"
    made = [state / name for name in ("env", "env.helper", "up.json", "nats/server.conf", "postgres/passwords/health")]
    for path in (*made, *map(Path, up.ready["api_key_files"].values())):
        assert path.stat().st_mode & 0o077 == 0, path


def test_a_second_up_in_the_same_state_folder_is_refused(up: Up) -> None:
    done = run("up", *FREE_PORTS, "--state-dir", str(up.state / "up"))
    assert done.returncode == 1
    assert f"process {up.process.pid}" in done.stderr


def test_status_of_nothing_says_how_to_start(tmp_path: Path) -> None:
    done = run("status", POSTMAN_STATE_DIR=str(tmp_path))
    assert done.returncode == 1
    assert "./postman up" in done.stderr


def test_a_port_in_use_is_a_clear_error(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run("up", *FREE_PORTS, "--registry-port", str(port), "--state-dir", str(tmp_path / "up"))
    assert done.returncode == 1
    assert f"port {port}" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_clean_and_starts_again_with_the_same_keys(
    tmp_path: Path, number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")  # a proxy for the web is no way to its own services
    first = Up(tmp_path)
    keys = Path(first.ready["api_key_files"]["agent"]).read_text()
    status, errors = first.end(number)
    assert status == 0, errors
    assert not (tmp_path / "up" / "up.json").exists()
    second = Up(tmp_path)
    assert Path(second.ready["api_key_files"]["agent"]).read_text() == keys
    assert second.end()[0] == 0


def test_one_that_was_killed_is_no_obstacle_whoever_has_its_process_id(tmp_path: Path) -> None:
    first = Up(tmp_path)
    first.end(signal.SIGKILL)
    left = tmp_path / "up" / "up.json"
    left.write_text(json.dumps(json.loads(left.read_text()) | {"pid": os.getpid()}))
    assert "./postman up" in run("status", POSTMAN_STATE_DIR=str(tmp_path)).stderr
    second = Up(tmp_path)
    assert second.end()[0] == 0


def test_what_helpers_call_themselves_cannot_break_the_table(up: Up) -> None:
    key = Path(up.ready["api_key_files"]["agent"]).read_text().strip()
    body = {"name": "h", "data_address": "198.18.0.10", "workers": 1, "version": "[/red]"}
    headers = {"Authorization": f"Bearer {key}"}
    httpx.post(f"{up.ready['registry_url']}/v1/helpers", json=body, headers=headers, trust_env=False).raise_for_status()
    done = run("status", POSTMAN_STATE_DIR=str(up.state), http_proxy="http://127.0.0.1:1")
    assert done.returncode == 0, done.stderr
    assert "[/red]" in done.stdout
    assert "198.18.0.10" in done.stdout


@pytest.mark.parametrize("place", ["/proc/none/up", "/dev/null", "/dev/null/up"])
def test_a_state_folder_that_cannot_be_is_a_clear_error(place: str) -> None:
    done = run("up", "--registry-port", "0", "--nats-port", "0", "--state-dir", place)
    assert done.returncode == 1
    assert place in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("url", ["http://x:y", "http://[", "http://127.0.0.1:1"])
def test_a_wrong_url_is_a_clear_error(tmp_path: Path, url: str) -> None:
    done = run("status", POSTMAN_STATE_DIR=str(tmp_path), POSTMAN_REGISTRY_URL=url, POSTMAN_API_KEY="no-such-key-0123")
    assert done.returncode == 1
    assert done.stderr.startswith("postman status: ")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("part", ["postman_registry", "postman_placement", "postman_health", "nats-server", "postgres"])
def test_a_part_that_is_killed_is_started_again_in_its_place(up: Up, wait_until: Callable[..., Any], part: str) -> None:
    def oldest() -> psutil.Process | None:
        found = []
        for child in psutil.Process(up.process.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if any(part in word for word in child.cmdline()):
                    found.append((child.create_time(), child.pid))
        return psutil.Process(min(found)[1]) if found else None

    killed = oldest()
    assert killed is not None
    killed.kill()

    def is_back() -> bool:
        now = oldest()
        status = run("status", "--json", POSTMAN_STATE_DIR=str(up.state))
        return now is not None and now.pid != killed.pid and status.returncode == 0

    wait_until(is_back, timeout_s=60)
    assert up.process.poll() is None
