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
from worker_program import Worker, WorkerFiles  # noqa: E402

_BUILT = _ROOT / "build" / "services" / "helper" / "worker" / "postman-helper-worker"


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


@pytest.fixture(scope="module", params=["net_af_packet0,iface={device},framesz=2048,blocksz=65536,qpairs=1"])
def worker(
    request: pytest.FixtureRequest,
    worker_binary: Path,
    network: WorkerNetwork,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Worker]:
    """A worker on the network, with one server. Shared by a module's tests: each must leave it serving."""
    folder = tmp_path_factory.mktemp("worker")
    config = WorkerFiles(worker_binary, folder).write(device=request.param.format(device=network.helper_device))
    with Worker(worker_binary, config, enter=network.helper.enter) as started:
        yield started
