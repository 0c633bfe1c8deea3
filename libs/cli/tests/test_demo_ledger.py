# SPDX-License-Identifier: Apache-2.0
"""The demo's ledger must see every kind of wrong: it is what the demo's claims rest on."""

from __future__ import annotations

import random

import pytest

from postman_cli.demo.ledger import REPLY, REQUEST, ReceivedLedger, SentLedger, compare, message


def books(sent: list[bytes], received: list[bytes], cut: random.Random | None = None) -> tuple[dict, dict]:
    """The two ends' books of one connection whose requests were `sent` and arrived as `received`; no replies."""
    writer, reader = SentLedger(), ReceivedLedger(REQUEST)
    for buf in sent:
        writer.add(buf)
    stream = b"".join(received)
    while stream:
        n = cut.randint(1, 200) if cut else len(stream)
        reader.feed(stream[:n])
        stream = stream[n:]
    no_replies = {"sent": SentLedger().report(), "received": ReceivedLedger(REPLY).report()}
    client = {"7": {"sent": writer.report(), "received": no_replies["received"]}}
    server = {"7": {"sent": no_replies["sent"], "received": reader.report()}}
    return client, server


def requests(count: int) -> list[bytes]:
    return [message(REQUEST, 7, n) for n in range(count)]


@pytest.mark.parametrize("seed", range(5))
def test_a_whole_stream_in_any_pieces_is_clean(seed: int) -> None:
    verdict = compare(*books(requests(300), requests(300), random.Random(seed)))
    assert verdict.clean
    assert (verdict.sent, verdict.delivered, verdict.bytes_delivered) == (300, 300, 300 * 64)


def test_a_missing_message_is_lost() -> None:
    verdict = compare(*books(requests(10), requests(10)[:4] + requests(10)[5:]))
    assert (verdict.lost, verdict.duplicated, verdict.reordered, verdict.clean) == (1, 0, 0, False)


def test_a_missing_end_is_lost() -> None:
    verdict = compare(*books(requests(10), requests(10)[:8]))
    assert (verdict.lost, verdict.clean) == (2, False)


def test_a_repeated_message_is_duplicated() -> None:
    verdict = compare(*books(requests(10), requests(10)[:5] + requests(10)[4:]))
    assert (verdict.lost, verdict.duplicated, verdict.clean) == (0, 1, False)


def test_swapped_messages_are_reordered() -> None:
    sent = requests(10)
    verdict = compare(*books(sent, [*sent[:3], sent[4], sent[3], *sent[5:]]))
    assert (verdict.lost, verdict.reordered, verdict.clean) == (0, 1, False)


def test_an_altered_byte_is_corruption() -> None:
    sent = requests(10)
    altered = bytearray(sent[3])
    altered[40] ^= 1
    verdict = compare(*books(sent, [*sent[:3], bytes(altered), *sent[4:]]))
    assert verdict.corrupted == 1
    assert not verdict.clean


def test_another_connections_message_is_corruption() -> None:
    sent = requests(3)
    verdict = compare(*books(sent, [sent[0], message(REQUEST, 8, 1), sent[2]]))
    assert verdict.corrupted == 1
    assert not verdict.clean


def test_half_a_message_at_the_end_is_not_clean() -> None:
    sent = requests(3)
    verdict = compare(*books(sent, [*sent[:2], sent[2][:63]]))
    assert not verdict.clean


def test_a_connection_that_only_one_end_knows_is_lost() -> None:
    client, _ = books(requests(3), requests(3))
    verdict = compare(client, {})
    assert (verdict.lost, verdict.clean) == (3, False)
