# SPDX-License-Identifier: Apache-2.0
"""The agent's ear on NATS: facts about helpers and servers. They are hints (docs/protocol.md S11): missing some is
legal, so a plain subscription does, and an absent NATS is only counted."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import nats
from pydantic import ValidationError

from postman_contracts import subjects
from postman_contracts.messages import HelperFact, ServerFact
from vcl.agent_types import Fact, FactKind

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
}


def decode(subject: str, payload: bytes) -> Fact | None:
    """The fact in a message, or None when it is malformed or of a kind this version does not know."""
    kind = _KINDS.get(subjects.fact_kind(subject) or ("", ""))
    if kind is None:
        return None
    try:
        if kind.startswith("helper"):
            helper = HelperFact.model_validate_json(payload)
            return Fact(kind, helper.helper_id, None, helper.incarnation, helper.reason)
        server = ServerFact.model_validate_json(payload)
        return Fact(kind, None, server.server_id, server.incarnation, server.reason)
    except ValidationError:
        return None


class FactListener:
    """Subscribes for as long as it runs, whatever NATS does meanwhile."""

    def __init__(
        self, url: str, counters: Counters, on_fact: Callable[[Fact], None], on_connected: Callable[[], None]
    ) -> None:
        self._url = url
        self._counters = counters
        self._on_fact = on_fact
        self._on_connected = on_connected

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
        await self._connected()
        return client

    async def _connected(self) -> None:
        self._counters.nats_connects += 1
        self._on_connected()

    async def _count_error(self, error: Exception) -> None:
        self._counters.nats_errors += 1
        log.debug("NATS: %s", error)

    async def _take(self, message: Msg) -> None:
        fact = decode(message.subject, message.data)
        if fact is None:
            self._counters.facts_malformed += 1
            return
        self._counters.facts += 1
        self._on_fact(fact)


def _setter(event: asyncio.Event) -> Callable[[], Any]:
    async def closed() -> None:
        event.set()

    return closed
