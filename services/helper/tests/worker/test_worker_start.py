# SPDX-License-Identifier: Apache-2.0
"""Starts that cannot be: one plain line on stderr, an exit status of its own, nothing left behind."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from worker_program import DEADLINE_S, DEVICE_REFUSED, Worker, WorkerFiles

CONFIG, PERMISSION, DEVICE, CONTROL = 2, 3, DEVICE_REFUSED, 5


def _one_line(done: subprocess.CompletedProcess[str], status: int, *words: str) -> None:
    assert done.returncode == status, done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("postman-helper-worker: ")
    assert done.stderr.count("\n") == 1, f"more than one line:\n{done.stderr}"
    for word in words:
        assert word in done.stderr


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"helper_id": None}, ["helper_id is missing"]),
        ({"helper_id": 0}, ["line 1", "from 1 to 65535"]),
        ({"cid_key": "xyz"}, ["cid_key", "32 hex digits"]),
        ({"data_address": "198.18.0.10"}, ["data_address", "prefix length"]),
        ({"hold_us_max": 20000}, ["hold_us_max", "10000"]),
        ({"colour": "blue"}, ["unknown key 'colour'"]),
        ({"trunk_port": 4701}, ["must differ"]),
    ],
)
def test_bad_configuration(files: WorkerFiles, changes: dict[str, str | int | None], words: list[str]) -> None:
    _one_line(files.run(**changes), CONFIG, *words)
    assert sorted(path.name for path in files.folder.iterdir()) == ["worker.conf"]


def test_configuration_that_others_may_read(files: WorkerFiles) -> None:
    path = files.write()
    path.chmod(0o644)
    done = subprocess.run(
        [files.binary, "--config", path], capture_output=True, text=True, check=False, timeout=DEADLINE_S
    )
    _one_line(done, CONFIG, "chmod 600")


def test_usage(worker_binary: Path) -> None:
    for argv in ([], ["--config"], ["--help"], ["--config", "a", "b"]):
        done = subprocess.run([worker_binary, *argv], capture_output=True, text=True, check=False, timeout=DEADLINE_S)
        assert done.returncode == CONFIG
        assert done.stderr == "usage: postman-helper-worker --config FILE\n"


def test_unknown_device(files: WorkerFiles) -> None:
    _one_line(files.run(device="net_nonsense0"), DEVICE, "net_nonsense0")
    assert sorted(path.name for path in files.folder.iterdir()) == ["worker.conf"]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs a packet socket")
@pytest.mark.parametrize("driver", ["net_af_packet0", "net_af_xdp0"])
def test_no_such_interface(files: WorkerFiles, driver: str) -> None:
    _one_line(files.run(device=f"{driver},iface=no-such-if"), DEVICE, "no network interface 'no-such-if'", "ip link")
    _one_line(files.run(device=driver), DEVICE, "iface=")


def test_more_huge_pages_than_there_are(files: WorkerFiles) -> None:
    _one_line(files.run(hugepages="yes", memory_mb=65536), DEVICE, "huge pages", "vm.nr_hugepages", "hugepages=no")


def test_without_the_right_to_packet_sockets(files: WorkerFiles, worker_binary: Path) -> None:
    config = files.write(device="net_af_packet0,iface=lo")
    # The binary may lie where others cannot reach it, so it is opened before root's rights are given up.
    drop = {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}
    with worker_binary.open("rb") as binary, config.open("rb") as text:
        argv = [f"/proc/self/fd/{binary.fileno()}", "--config", f"/dev/fd/{text.fileno()}"]
        if os.geteuid() == 0:
            os.fchown(text.fileno(), 65534, 65534)
        done = subprocess.run(
            argv, capture_output=True, text=True, check=False, timeout=DEADLINE_S,
            pass_fds=(binary.fileno(), text.fileno()), **drop,
        )  # fmt: skip
    _one_line(done, PERMISSION, "root", "CAP_NET_RAW")


def test_control_socket_in_use(files: WorkerFiles) -> None:
    config = files.write()
    with Worker(files.binary, config):
        _one_line(files.run(), CONTROL, "another worker")
        assert files.control_socket.exists()  # still the first one's


def test_control_socket_without_a_folder(files: WorkerFiles) -> None:
    done = files.run(control_socket=f"{files.folder}/none/control.sock")
    assert done.returncode == CONTROL, done.stderr
    assert "No such file" in done.stderr
