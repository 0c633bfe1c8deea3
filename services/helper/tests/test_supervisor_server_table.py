# SPDX-License-Identifier: Apache-2.0
"""The diff of server tables: applied to the old table it always gives the new one."""

from __future__ import annotations

import random

from postman_contracts.rest import TrunkServer
from postman_helper.server_table import RemoveServer, SetServer, Table, describe, table_after, table_diff, table_of


def server(server_id: int, shard: int = 0, udp_port: int = 5000, key: bytes = b"k" * 16) -> TrunkServer:
    return TrunkServer(
        server_id=server_id,
        shard=shard,
        data_address="198.18.0.20",
        udp_port=udp_port,
        trunk_key_to_server=key,
        trunk_key_to_helper=key,
    )


def test_equal_tables_need_nothing() -> None:
    table = table_of([server(1), server(2, shard=1)])
    assert table_diff(table, dict(table)) == []


def test_a_changed_key_or_port_is_set_again() -> None:
    old = table_of([server(1), server(2), server(3)])
    new = table_of([server(1), server(2, udp_port=6000), server(3, key=b"n" * 16)])
    assert table_diff(old, new) == [SetServer(server(2, udp_port=6000)), SetServer(server(3, key=b"n" * 16))]


def test_a_server_that_loses_a_shard_is_removed_and_its_rest_set_again() -> None:
    old = table_of([server(1, shard=0), server(1, shard=1)])
    new = table_of([server(1, shard=0)])
    assert table_diff(old, new) == [RemoveServer(1), SetServer(server(1, shard=0))]


def random_table(source: random.Random) -> Table:
    shards = [(server_id, shard) for server_id in range(1, 5) for shard in range(3) if source.random() < 0.5]
    return table_of([server(server_id, shard, source.choice((5000, 6000))) for server_id, shard in shards])


def test_the_diff_leads_from_any_table_to_any_other() -> None:
    source = random.Random(20240611)
    for _ in range(500):
        old, new = random_table(source), random_table(source)
        table = old
        for command in table_diff(old, new):
            table = table_after(table, command)
        assert table == new


def test_a_description_never_holds_a_key() -> None:
    key = b"0123456789abcdef"
    text = describe(SetServer(server(1, key=key)))
    assert key.hex() not in text
    assert "198.18.0.20:5000" in text
