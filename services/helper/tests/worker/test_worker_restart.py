# SPDX-License-Identifier: Apache-2.0
"""A worker that is killed in the middle of traffic, and the next one on the same interface."""

from __future__ import annotations

from pathlib import Path

import pytest
from worker_network import WorkerNetwork
from worker_peers import Client, Server, cid, data_frame, entry
from worker_program import Worker, eventually

pytestmark = pytest.mark.root

SERVER_ID = 7
LIVES = 3


def test_the_next_worker_relays_at_once(network: WorkerNetwork, worker_binary: Path, worker_config: Path) -> None:
    client = Client(network)
    frame = data_frame(cid(1, SERVER_ID), b"through each of them", urgent=True)
    for life in range(LIVES):
        with Worker(worker_binary, worker_config, enter=network.helper.enter) as worker:
            server = Server(network, worker, SERVER_ID)
            client.send(frame)
            assert [e.frame for e in server.receive_frames(1)] == [frame]
            server.send(server.batch([entry(client, frame)]))
            assert client.receive() == frame
            if life < LIVES - 1:
                worker.process.kill()
                worker.process.wait()
            server.socket.close()
    client.close()


def test_what_was_held_is_sent_at_the_end(network: WorkerNetwork, worker_binary: Path, worker_config: Path) -> None:
    client = Client(network)
    with Worker(worker_binary, worker_config, enter=network.helper.enter) as worker:
        server = Server(network, worker, SERVER_ID)
        for i in range(100):
            client.send(data_frame(cid(i, SERVER_ID), b"last words"))
        eventually("all frames are in", lambda: worker.stats()["client_frames_in"] == 100)
        assert worker.stop() == 0
        assert len(server.receive_frames(100)) == 100
        server.socket.close()
    client.close()
