# SPDX-License-Identifier: Apache-2.0
"""REST bodies and messages: limits hold, secrets stay hidden, newer peers are tolerated, callers' mistakes are not."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from postman_contracts import messages, problems, rest, subjects

HELPER = {"name": "h1", "data_address": "198.18.0.10", "workers": 1, "version": "0.1.0"}
SERVER = {"service": "echo", "host": "echo.lab", "tcp_port": 7, "data_address": "198.18.0.9", "udp_port": 7}
BEAT = {"v": 1, "helper_id": 1, "incarnation": 1, "state": "up", "at": "2026-01-01T00:00:00Z"}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("name", "x" * 64),
        ("name", "a b"),
        ("name", "a\0b"),
        ("name", 5),
        ("data_address", "::"),
        ("data_address", "224.0.0.1"),
        ("data_address", "fe80::1%eth0"),
        ("data_address", "host.example"),
        ("data_address", None),
        ("client_port", 0),
        ("client_port", 65536),
        ("client_port", 4701.5),
        ("workers", 0),
        ("workers", 10**30),
        ("version", ""),
        ("version", "1\ud800"),
        ("version", "1\0"),
        ("site", "-x"),
        ("surprise", 1),
    ],
)
def test_wrong_helper_registrations(field: str, value: object) -> None:
    with pytest.raises(ValidationError) as caught:
        rest.HelperRegistration.model_validate(HELPER | {field: value})
    assert [error["loc"][0] for error in caught.value.errors()] == [field]


@pytest.mark.parametrize(
    ("field", "value"),
    [("shards", 0), ("shards", 257), ("host", "a/b"), ("host", "x" * 254), ("udp_port", -1), ("service", "é")],
)
def test_wrong_server_registrations(field: str, value: object) -> None:
    with pytest.raises(ValidationError):
        rest.ServerRegistration.model_validate(SERVER | {field: value})


def test_addresses_and_hosts_are_normalised() -> None:
    body = rest.ServerRegistration.model_validate(SERVER | {"host": "Echo.LAB", "data_address": "2001:DB8:0::1"})
    assert (body.host, body.data_address) == ("echo.lab", "2001:db8::1")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "x", None, [1]])
def test_stats_are_finite_numbers(value: object) -> None:
    with pytest.raises(ValidationError):
        rest.HelperLeaseRenewal.model_validate({"incarnation": 1, "state": "up", "stats": {"load": value}})


def test_stats_are_limited_in_number() -> None:
    stats = {f"s{number}": number for number in range(129)}
    with pytest.raises(ValidationError):
        rest.HelperLeaseRenewal(incarnation=1, state="up", stats=stats)


@given(st.binary(min_size=32, max_size=32))
def test_secrets_travel_as_base64_and_are_never_shown(key: bytes) -> None:
    body = rest.ServerKey(key_id=1, key=key)
    assert rest.ServerKey.model_validate_json(body.model_dump_json()) == body
    assert json.loads(body.model_dump_json())["key"] not in repr(body)
    assert repr(key) not in repr(body)


@pytest.mark.parametrize("key", ["", "AAAA", "!" * 44, "A" * 43 + "é", 7, None])
def test_wrong_secrets_are_refused_without_repeating_them(key: object) -> None:
    with pytest.raises(ValidationError):
        rest.ServerKey.model_validate({"key_id": 1, "key": key})


def test_answers_tolerate_what_a_newer_registry_adds() -> None:
    lease = {"lease_ttl_s": 4, "servers": None, "servers_version": 9, "desired_state": "up", "future": {"x": 1}}
    assert rest.HelperLease.model_validate(lease).servers_version == 9


@pytest.mark.parametrize("model", [messages.HelperHeartbeat, messages.HelperOrder, messages.HelperFact])
@given(data=st.recursive(st.none() | st.integers() | st.text(), lambda x: st.dictionaries(st.text(), x), max_leaves=9))
def test_any_json_is_a_message_or_a_validation_error(model: type[BaseModel], data: Any) -> None:
    try:
        model.model_validate_json(json.dumps(data))
    except ValidationError:
        return
    raise AssertionError("no message has only optional fields")


def test_messages_tolerate_new_fields_and_refuse_new_versions() -> None:
    assert messages.HelperHeartbeat.model_validate(BEAT | {"future": 1}).stats == {}
    with pytest.raises(ValidationError):
        messages.HelperHeartbeat.model_validate(BEAT | {"v": 2})


def test_times_become_utc_and_must_have_a_zone() -> None:
    at = datetime(2026, 1, 1, 2, tzinfo=timezone(timedelta(hours=2)))
    fact = messages.ServerFact(event_id=uuid4(), at=at, server_id=1, service="echo", incarnation=1)
    assert fact.at.tzinfo is UTC
    assert '"2026-01-01T00:00:00Z"' in fact.model_dump_json()
    with pytest.raises(ValidationError):
        messages.HelperHeartbeat.model_validate(BEAT | {"at": "2026-01-01T00:00:00"})


def test_subjects() -> None:
    assert subjects.helper_heartbeat(7) == "postman.v1.heartbeat.helper.7"
    assert subjects.helper_order(7) == "postman.v1.order.helper.7"
    assert subjects.fact_kind(subjects.helper_fact("draining")) == ("helper", "draining")
    assert subjects.fact_kind(subjects.server_fact("gone")) == ("server", "gone")
    assert subjects.fact_kind(subjects.helper_order(7)) is None
    assert subjects.fact_kind("postman.v2.fact.helper.up") is None


def test_problem_kinds() -> None:
    kind = problems.ProblemType.NO_VCL_SERVER
    document = {"type": problems.problem_type(kind), "title": "t", "status": 404, "detail": "d", "extra": 1}
    assert problems.Problem.model_validate(document).kind == kind
