# SPDX-License-Identifier: Apache-2.0
"""The traffic's ledger: each kind of fault is counted as what it is, and a health check sees each; both ends together
over plain TCP."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from postman_cli.demo.ledger import REPLY, REQUEST, message
from postman_cli.traffic import check
from postman_cli.traffic.book import BookError, complaints, read_book, write_book
from postman_cli.traffic.client import Plan, TrafficClient
from postman_cli.traffic.exchange import Counts, Replies, Requests
from postman_cli.traffic.server import TrafficServer

STEPS_MAX = 5000


def replies(*sequences: int) -> bytes:
    return b"".join(message(REPLY, 1, sequence) for sequence in sequences)


def judged(buf: bytes, sent: int = 3) -> Counts:
    counts = Counts()
    requests = Requests(1, counts)
    for _ in range(sent):
        requests.make()
    requests.judge(buf)
    requests.end()
    return counts


@pytest.mark.parametrize(
    ("buf", "fault"),
    [
        (replies(0, 1), {"lost": 1}),
        (replies(0, 0, 1, 2), {"duplicated": 1}),
        (replies(0, 2, 1), {"reordered": 1}),
        (replies(0, 1, 2, 3), {"altered": 1}),  # a reply to what was never asked
        (replies(0, 1) + message(REQUEST, 1, 2), {"altered": 1, "lost": 1}),
        (replies(0, 1) + message(REPLY, 2, 2), {"altered": 1, "lost": 1}),
        (replies(0, 1) + replies(2)[:-1] + b"\0", {"altered": 1, "lost": 1}),
    ],
)
def test_each_fault_of_a_reply_is_counted_as_what_it_is(buf: bytes, fault: dict[str, int]) -> None:
    counts = judged(buf)
    found = {name: getattr(counts, name) for name in ("lost", "duplicated", "reordered", "altered")}
    assert found == {"lost": 0, "duplicated": 0, "reordered": 0, "altered": 0} | fault
    assert not counts.clean


def test_whole_replies_in_any_pieces_are_clean() -> None:
    counts = Counts()
    requests = Requests(1, counts)
    for _ in range(3):
        requests.make()
    for byte in replies(0, 1, 2):
        requests.judge(bytes([byte]))
    requests.end()
    assert counts == Counts(sent=3, received=3)
    assert counts.clean


def test_the_server_answers_each_request_and_counts_gaps_and_repetitions() -> None:
    counts = Counts()
    server = Replies(counts)
    answered = server.answer(b"".join(message(REQUEST, 1, sequence) for sequence in (0, 2, 2)) + message(REPLY, 1, 3))
    assert answered == replies(0, 2, 2)
    assert (counts.lost, counts.duplicated, counts.altered) == (1, 1, 1)


def test_a_health_check_names_what_is_wrong() -> None:
    good = {"clean": True, "waiting_for": "", "last_reply_age_s": 0.1, "written_unix_s": 100.0}
    assert complaints(good, 101.0) == []
    assert complaints({**good, "last_reply_age_s": None}, 101.0) == ["no reply in the last seconds"]
    assert len(complaints({**good, "clean": False, "waiting_for": "no registry"}, 200.0)) == 3


def test_the_check_command_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "ledger.json"
    assert check.main([str(path)]) == 1
    assert "no ledger in" in capsys.readouterr().out
    write_book(path, {"clean": True})
    assert check.main([str(path)]) == 0
    path.write_text("[]")
    with pytest.raises(BookError, match="is no ledger"):
        read_book(path)


class _Tcp(socket.socket):
    """A TCP socket with what vcl.Socket has beside."""

    transport, why = "tcp", "a test"

    def path(self) -> None:
        return None


class _Listener:
    """A TCP listener with what vcl.Listener has beside."""

    why = ""

    def __init__(self) -> None:
        self._tcp = socket.create_server(("127.0.0.1", 0))
        self.address = self._tcp.getsockname()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tcp, name)


def dial(listener: _Listener) -> _Tcp:
    sock = _Tcp(socket.AF_INET, socket.SOCK_STREAM)
    sock.connect(listener.address)
    return sock


def run_both(client: TrafficClient, server: TrafficServer, done: Any) -> None:
    for _ in range(STEPS_MAX):
        client.step()
        server.step()
        if done():
            return
    raise AssertionError(f"not in {STEPS_MAX} turns: {client.book()}")


def test_both_ends_over_tcp_are_clean_to_the_last_reply() -> None:
    listener = _Listener()
    server = TrafficServer(listener)
    client = TrafficClient(Plan(3, 5000.0, 8, any_transport=True), lambda: dial(listener))
    run_both(client, server, lambda: client.counts.received > 200)
    client.begin_stop()
    run_both(client, server, lambda: client.is_done)
    assert client.outstanding == 0
    client.close()
    book = client.book()
    assert book["clean"]
    assert book["sent"] == book["received"] == server.counts.received
    assert server.book({"trunk_batches_in": 2, "trunk_data_entries_in": 5})["messages_per_trunk_datagram"] == 2.5
    server.close()


def test_a_connection_that_ends_is_an_error_and_what_it_owed_is_lost() -> None:
    listener = _Listener()
    server = TrafficServer(listener)
    client = TrafficClient(Plan(2, 5000.0, 4, any_transport=True), lambda: dial(listener))
    run_both(client, server, lambda: client.counts.received > 20)
    server.close()
    for _ in range(STEPS_MAX):
        client.step()
        if client.book()["waiting_for"]:
            break
    book = client.book()
    assert book["errors"] == 2
    assert not book["clean"]
    assert book["connections"] == 0
    assert "refused" in book["waiting_for"]
    client.close()


def test_plain_tcp_is_not_taken_for_vcl() -> None:
    listener = _Listener()
    client = TrafficClient(Plan(1, 100.0, 1), lambda: dial(listener))
    client.step()
    assert client.book()["waiting_for"] == "a test"
    assert client.book()["sent"] == 0
    client.close()
    listener.close()
