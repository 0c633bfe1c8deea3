# SPDX-License-Identifier: Apache-2.0
"""The real worker in tests: where it is, and a private network around it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parents[4]
sys.path[:0] = [str(Path(__file__).parent), str(_ROOT / "tests" / "interop")]  # importlib mode adds no folder

from worker_network import WorkerNetwork  # noqa: E402
from worker_program import DEVICE_REFUSED, Worker, WorkerFiles, WorkerNotStarted  # noqa: E402

_BUILT = _ROOT / "build" / "services" / "helper" / "worker" / "postman-helper-worker"


_LIBXDP_FOLDER = Path("/run/xdp")


@pytest.fixture(scope="session", autouse=True)
def libxdp_leaves_nothing() -> Iterator[None]:
    """libxdp, which net_af_xdp uses, makes an empty folder for its lock and leaves it. Not ours if it was there."""
    was_there = _LIBXDP_FOLDER.exists()
    yield
    if not was_there and _LIBXDP_FOLDER.exists():
        _LIBXDP_FOLDER.rmdir()


@pytest.fixture(scope="session")
def worker_binary() -> Path:
    """POSTMAN_HELPER_WORKER, or what ./postman build makes."""
    path = Path(os.environ.get("POSTMAN_HELPER_WORKER", _BUILT))
    if not path.exists():
        pytest.skip(f"no worker at {path}: ./postman build")
    return path


@pytest.fixture
def files(worker_binary: Path, tmp_path: Path) -> WorkerFiles:
    """Configurations for workers that need no network."""
    return WorkerFiles(worker_binary, tmp_path)


@pytest.fixture(scope="module")
def network() -> Iterator[WorkerNetwork]:
    """The helper's namespace and the one with everybody else, joined by a veth pair."""
    if os.geteuid() != 0:
        pytest.skip("makes network namespaces: needs root")
    with WorkerNetwork() as made:
        yield made


_DEVICES = {
    "af_packet": "net_af_packet0,iface={device},framesz=2048,blocksz=65536,qpairs=1",
    "af_xdp": "net_af_xdp0,iface={device}",
}


@pytest.fixture(scope="module", params=_DEVICES)
def worker_config(
    request: pytest.FixtureRequest,
    worker_binary: Path,
    network: WorkerNetwork,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """The configuration of a worker on the network, once for each kind of device."""
    files = WorkerFiles(worker_binary, tmp_path_factory.mktemp("worker"))
    device = _DEVICES[request.param].format(device=network.helper_device)
    config = files.write(device=device, hold_us_max=2000)
    if request.param == "af_xdp":
        _skip_without_af_xdp(worker_binary, config, network)
    return config


@pytest.fixture(scope="module")
def worker(worker_binary: Path, worker_config: Path, network: WorkerNetwork) -> Iterator[Worker]:
    """A worker on the network, shared by a module's tests: each must leave it serving."""
    with Worker(worker_binary, worker_config, enter=network.helper.enter) as started:
        yield started


def _skip_without_af_xdp(binary: Path, config: Path, network: WorkerNetwork) -> None:
    """A kernel, a container or a DPDK without it refuses with the exit status of a device."""
    try:
        with Worker(binary, config, enter=network.helper.enter):
            return
    except WorkerNotStarted as refusal:
        if refusal.status != DEVICE_REFUSED:
            raise
        pytest.skip(f"no AF_XDP here: {refusal}")
