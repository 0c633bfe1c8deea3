# SPDX-License-Identifier: Apache-2.0
"""Connections encrypted end to end (rule W11): by an argument or VCL_ENCRYPT; never plain, never TCP instead."""

from __future__ import annotations

from typing import Any

import pytest

import vcl
from vcl.client import encrypt_by_default

DEADLINE_S = 20.0


def test_w11_payload_goes_both_ways_and_both_ends_know(vcl_world: Any) -> None:
    encrypted = vcl_world.sessions.connect_peer(vcl_world.peer, *vcl_world.address, DEADLINE_S, encrypt=True)
    plain = vcl_world.sessions.connect_peer(vcl_world.peer, *vcl_world.address, DEADLINE_S)
    vcl_world.listener.settimeout(DEADLINE_S)
    ends = [vcl_world.listener.accept()[0] for _ in range(2)]
    payload = bytes(range(256)) * 400
    for client, is_encrypted in ((encrypted, True), (plain, False)):
        client.settimeout(DEADLINE_S)
        assert client.conn_info()["encrypted"] is is_encrypted
        client.sendall(payload)
        client.shutdown(1)
    for server in ends:
        server.settimeout(DEADLINE_S)
        got = b""
        while chunk := server.recv(65536):
            got += chunk
        assert got == payload
        server.sendall(payload)
        server.close()
    for client in (encrypted, plain):
        got = b""
        while chunk := client.recv(65536):
            got += chunk
        assert got == payload
        client.close()


def test_w11_there_is_no_plain_tcp_instead(vcl_world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("POSTMAN_REGISTRY_URL", raising=False)
    with pytest.raises(OSError, match="no encrypted connection"):
        vcl.connect(vcl_world.address, DEADLINE_S, encrypt=True)
    monkeypatch.setenv("VCL_ENCRYPT", "1")
    with pytest.raises(OSError, match="no encrypted connection"):
        vcl.connect(vcl_world.address, DEADLINE_S)
    with vcl.connect(vcl_world.address, DEADLINE_S, encrypt=False) as sock:
        assert sock.transport == "tcp"


def test_w11_the_setting_is_one_or_nothing() -> None:
    assert encrypt_by_default({"VCL_ENCRYPT": " 1 "})
    assert not encrypt_by_default({"VCL_ENCRYPT": "0"})
    assert not encrypt_by_default({})
    with pytest.raises(ValueError, match="VCL_ENCRYPT"):
        encrypt_by_default({"VCL_ENCRYPT": "yes"})
