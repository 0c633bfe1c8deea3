# SPDX-License-Identifier: Apache-2.0
"""The agent's ear on NATS: facts about helpers, servers and assignments, and health's verdicts on helpers. They are
hints (docs/protocol.md S11): missing some is legal, so a plain subscription does, and an absent NATS is only counted.

A verdict comes twice, at once as such and later as a fact, which is history: the fact is left alone."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import nats
from pydantic import ValidationError

from postman_contracts import subjects
from postman_contracts.messages import AssignmentsChanged, HelperFact, HelperVerdict, ServerFact
from postman_contracts.permissions import USERS
from vcl.agent_types import Fact, FactKind
from vcl.agent_verdicts import VERDICT_KINDS, Verdicts

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.aio.msg import Msg

    from vcl.agent_counters import Counters

log = logging.getLogger("vcl.agent")

RETRY_S = 0.5
CONNECT_TIMEOUT_S = 2
# Detects a peer that vanished without a FIN after at most PING_S * PINGS_MISSED.
PING_S = 5
PINGS_MISSED = 2

_KINDS: dict[tuple[str, str], FactKind] = {
    ("helper", "up"): "helper_up",
    ("helper", "down"): "helper_down",
    ("helper", "draining"): "helper_draining",
    ("helper", "gone"): "helper_gone",
    ("server", "up"): "server_up",
    ("server", "down"): "server_down",
    ("server", "gone"): "server_gone",
    ("assignment", "changed"): "assignment_changed",
}


def decode(subject: str, payload: bytes, traceparent: str = "") -> Fact | None:
    """The fact in a message, or None when it is malformed or of a kind this version does not know."""
    kind = _KINDS.get(subjects.fact_kind(subject) or ("", ""))
    if kind is None:
        return None
    try:
        if kind == "assignment_changed":
            changed = AssignmentsChanged.model_validate_json(payload)
            services = tuple(sorted({assigned.service for assigned in changed.assignments}))
            return Fact(kind, None, None, 0, "", traceparent, services, changed.epoch)
        if kind.startswith("helper"):
            helper = HelperFact.model_validate_json(payload)
            return Fact(kind, helper.helper_id, None, helper.incarnation, helper.reason, traceparent)
        server = ServerFact.model_validate_json(payload)
        return Fact(kind, None, server.server_id, server.incarnation, server.reason, traceparent)
    except ValidationError:
        return None


def _is_history(subject: str) -> bool:
    about, what = subjects.fact_kind(subject) or ("", "")
    return about == "verdict" and what in VERDICT_KINDS


def _inbox_prefix(url: str) -> str:
    """What NATS lets the URL's user listen to; a user that is none of Postman's has no restriction of ours."""
    try:
        user = USERS.get(urlsplit(url).username or "")
    except ValueError:  # the connect will say so
        user = None
    return user.inbox_prefix if user else "_INBOX"


class FactListener:
    """Subscribes for as long as it runs, whatever NATS does meanwhile."""

    def __init__(
        self, url: str, counters: Counters, on_fact: Callable[[Fact], None], on_connected: Callable[[], None]
    ) -> None:
        self._url = url
        self._counters = counters
        self._on_fact = on_fact
        self._on_connected = on_connected
        self._verdicts = Verdicts()

    async def run(self) -> None:
        """Connects, listens, and starts over when the client gives up; ends by cancellation."""
        while True:
            closed = asyncio.Event()
            try:
                client = await self._connect(closed)
            except Exception as error:  # whatever the client trips over, the next try may do
                self._counters.nats_errors += 1
                log.debug("NATS: %r", error)
            else:
                try:
                    await closed.wait()
                finally:
                    with contextlib.suppress(Exception):
                        await client.close()
            await asyncio.sleep(RETRY_S)

    async def _connect(self, closed: asyncio.Event) -> Client:
        client = await nats.connect(
            self._url,
            name="vcl agent",
            inbox_prefix=_inbox_prefix(self._url),
            connect_timeout=CONNECT_TIMEOUT_S,
            reconnect_time_wait=RETRY_S,
            max_reconnect_attempts=-1,
            ping_interval=PING_S,
            max_outstanding_pings=PINGS_MISSED,
            error_cb=self._count_error,
            closed_cb=_setter(closed),
            reconnected_cb=self._connected,
        )
        await client.subscribe(subjects.FACTS_ALL, cb=self._take)
        await client.subscribe(subjects.HELPER_VERDICTS_ALL, cb=self._take_verdict)
        await self._connected()
        return client

    async def _connected(self) -> None:
        self._counters.nats_connects += 1
        self._on_connected()

    async def _count_error(self, error: Exception) -> None:
        self._counters.nats_errors += 1
        log.debug("NATS: %s", error)

    async def _take(self, message: Msg) -> None:
        if _is_history(message.subject):
            return
        fact = decode(message.subject, message.data, _traceparent(message))
        if fact is None:
            self._counters.facts_malformed += 1
            return
        self._counters.facts += 1
        self._on_fact(fact)

    async def _take_verdict(self, message: Msg) -> None:
        try:
            verdict = HelperVerdict.model_validate_json(message.data)
        except ValidationError:
            self._counters.verdicts_malformed += 1
            return
        said = (verdict.incarnation, verdict.verdict)
        if not self._verdicts.is_news(verdict.helper_id, said, verdict.serial, verdict.lasts_s, time.monotonic()):
            self._counters.verdicts_repeated += 1
            return
        self._counters.verdicts += 1
        kind = VERDICT_KINDS[verdict.verdict]
        self._on_fact(Fact(kind, verdict.helper_id, None, verdict.incarnation, verdict.reason, _traceparent(message)))


def _traceparent(message: Msg) -> str:
    return (message.headers or {}).get("traceparent", "")


def _setter(event: asyncio.Event) -> Callable[[], Any]:
    async def closed() -> None:
        event.set()

    return closed
