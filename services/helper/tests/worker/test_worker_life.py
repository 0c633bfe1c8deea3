# SPDX-License-Identifier: Apache-2.0
"""A worker's life on devices that need no network: its control socket, its end, what it leaves behind."""

from __future__ import annotations

import json
import signal
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from worker_program import HELPER_ID, INCARNATION, Worker, WorkerFiles, eventually

KEYS = f"{'00' * 16} {'11' * 16}"


@pytest.fixture(params=["net_null0,no-rx=1", "net_ring0"])
def lone(request: pytest.FixtureRequest, files: WorkerFiles) -> Iterator[Worker]:
    with Worker(files.binary, files.write(device=request.param)) as started:
        yield started


def _left(files: WorkerFiles) -> list[str]:
    return sorted(str(path.relative_to(files.folder)) for path in files.folder.rglob("*"))


def test_commands(lone: Worker) -> None:
    assert lone.must("neighbours")["neighbours"] == []
    assert lone.must("ping") == {"ok": True, "helper_id": HELPER_ID, "incarnation": INCARNATION, "draining": False}
    assert lone.must(f"server set 7 0 198.18.0.2 9000 {KEYS}") == {"ok": True}
    assert lone.stats()["nb_servers"] == 1
    assert [n["state"] for n in lone.must("neighbours")["neighbours"]] == ["asking"]  # before its packets come
    assert lone.must("server remove 7") == {"ok": True, "removed": True}
    assert lone.must("drain on")["draining"] is True
    assert lone.must("ping")["draining"] is True
    for wrong in ("", "nonsense", "server set 7", "drain sideways", "server set 0 0 198.18.0.2 1 a b", "ping " * 50):
        answer = lone.ask(wrong)
        assert answer["ok"] is False
        assert answer["error"]


def test_stats_fit_the_contract(lone: Worker) -> None:
    from postman_helper.control import flatten

    flat = flatten(lone.stats())
    assert 0 <= flat["load"] <= 1
    assert "trunk_data_entries_out" in flat
    assert "drops.trunk_tag" in flat
    assert len(flat) < 128


def test_overlong_line(lone: Worker) -> None:
    assert lone.ask("x" * 100_000) == {"ok": False, "error": "the line is too long"}
    assert lone.must("ping")


def test_a_stuck_client_blocks_nobody(lone: Worker) -> None:
    with lone.connect() as stuck:
        stuck.setblocking(False)
        try:
            while True:
                stuck.send(b"stats\n" * 100)
        except BlockingIOError:
            pass  # its answers are never read, its requests no longer either
        for _ in range(20):
            assert lone.must("ping")
    assert lone.must("ping")


def test_many_clients(lone: Worker) -> None:
    clients = [lone.connect() for _ in range(8)]
    for client in clients:
        client.sendall(b"ping\nping\n")
    for client in clients:
        with client.makefile() as answers:
            assert [json.loads(answers.readline())["ok"] for _ in range(2)] == [True, True]
    for _ in range(30):
        assert lone.must("ping")  # each takes the place of a silent one
    for client in clients:
        client.close()


def test_quit(lone: Worker) -> None:
    assert lone.must("quit") == {"ok": True}
    assert lone.process.wait(timeout=20) == 0
    assert not lone.control_socket.exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_end_it_cleanly(files: WorkerFiles, number: signal.Signals) -> None:
    with Worker(files.binary, files.write()) as started:
        assert stat.S_IMODE(started.control_socket.stat().st_mode) == 0o600
        started.process.send_signal(number)
        assert started.process.wait(timeout=20) == 0
    assert started.words == ""
    assert _left(files) == ["worker.conf"]


def test_a_killed_worker_is_followed_by_the_next(files: WorkerFiles) -> None:
    config = files.write()
    for _ in range(3):
        with Worker(files.binary, config) as victim:
            victim.process.kill()
            victim.process.wait()
    assert files.control_socket.exists()
    with Worker(files.binary, config) as last:
        assert last.must("ping")
    assert _left(files) == ["worker.conf"]


def test_nothing_is_left_in_dpdk_s_own_folders(files: WorkerFiles) -> None:
    def seen() -> set[str]:
        return {str(path) for folder in ("/run", "/run/dpdk", "/dev/hugepages") for path in Path(folder).glob("*")}

    before = seen()
    with Worker(files.binary, files.write()):
        assert not [path for path in seen() - before if "dpdk" in path or "postman" in path or "rte" in path]


def test_an_idle_worker_naps(files: WorkerFiles, record_property: Callable[[str, object], None]) -> None:
    with Worker(files.binary, files.write(device="net_null0,no-rx=1")) as started:
        assert started.ready["doorbell"] is False
        eventually("it naps", lambda: started.stats()["naps"] > 100)
        record_property("idle_cpu_share", started.cpu_share(2.0))


def test_spinning_is_possible(files: WorkerFiles) -> None:
    with Worker(files.binary, files.write(device="net_null0,no-rx=1", idle="spin")) as started:
        eventually("it polls", lambda: started.stats()["polls"] > 100_000)
        assert started.stats()["naps"] == 0


def test_full_speed_noise(files: WorkerFiles) -> None:
    """net_null delivers empty frames as fast as it is asked: all dropped, and the control socket is served."""
    with Worker(files.binary, files.write(device="net_null0")) as started:
        eventually("a million frames", lambda: started.stats()["rx_packets"] > 1_000_000)
        stats = started.stats()
        dropped = sum(stats["drops"].values())
        assert stats["rx_packets"] - 64 <= dropped <= stats["rx_packets"] + 64
        eventually("the load is seen", lambda: started.stats()["load"] > 0.5)
