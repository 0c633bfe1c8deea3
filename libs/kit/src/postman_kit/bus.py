# SPDX-License-Identifier: Apache-2.0
"""NATS as our services use it: typed JSON messages in and out, trace context in headers, and no start that waits.

`Bus.start` returns at once. A task connects, for ever, and connects again when the connection ends for good;
subscriptions and streams that were asked for are made on each new connection. Until then `publish` drops (core NATS is
for what is stale in a second anyway) and `publish_durable` raises `BusUnavailable`: the outbox tries again. How a
stream is consumed is in bus_durable.py.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar
from urllib.parse import urlsplit

import nats
import nats.errors
import nats.js.errors
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from pydantic import BaseModel, ValidationError

from postman_contracts.permissions import USERS
from postman_kit.bus_durable import MESSAGE_BYTES_MAX, DurableConsumer, Outcome, Stream, make_stream
from postman_kit.bus_trace import processing, publishing
from postman_kit.failures import is_reported
from postman_kit.urls import redact

_RECONNECT_WAIT_S: Final = 0.25
_RESTART_WAIT_S: Final = 1.0  # after the server closed us for good, e.g. with a wrong password
_PING_INTERVAL_S: Final = 5  # two unanswered pings: the connection is dead
_DRAIN_S: Final = 2.0
_CANCEL_AGAIN_S: Final = 0.5

__all__ = ["MESSAGE_BYTES_MAX", "Bus", "BusUnavailable", "Handler", "Stream"]

M = TypeVar("M", bound=BaseModel)
Handler = Callable[[str, M], Awaitable[None]]
"""Called with the subject and the message. What it raises is logged and counted, never fatal."""

_log = structlog.get_logger(__name__)


class BusUnavailable(Exception):
    """NATS did not take (or did not acknowledge) a message; nothing is known about what became of it."""


@dataclass(frozen=True)
class _Subscription(Generic[M]):
    subject: str
    model: type[M]
    handler: Handler[M]
    queue: str


class Bus:
    """One process's connection to NATS.

    `counters`: published, dropped (core messages while disconnected), received, malformed, failed (handler raised),
    refused (NATS did not permit this user to publish or subscribe).
    """

    def __init__(self, url: str, *, name: str, inbox_prefix: str | None = None) -> None:
        """`url` may carry user and password; `name` is what NATS's monitoring shows.

        Answers come on subjects that begin with `inbox_prefix`; the default is the one that this user may listen to.
        """
        self.counters: Counter[str] = Counter()
        self.connections = 0
        """How often it has connected: a number that grew says that NATS was away, however shortly."""
        self._url = url
        self._name = name
        self._inbox_prefix = inbox_prefix or _inbox_prefix_of(url)
        self._client: Client | None = None
        self._task: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()
        self._subscriptions: list[_Subscription[Any]] = []
        self._streams: list[Stream] = []
        self._consumers: list[DurableConsumer] = []
        self._consuming: list[asyncio.Task[None]] = []

    @property
    def is_connected(self) -> bool:
        """Whether a publish has a chance now."""
        return self._client is not None and self._client.is_connected

    # --- life ----------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin to connect, and return."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=f"bus {self._name}")

    async def wait_connected(self, timeout_s: float) -> bool:
        """Wait until connected with everything subscribed; False if that took longer."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._ready.wait()
        return self.is_connected

    async def stop(self) -> None:
        """Let handlers finish, flush and close. Bounded in time, whatever the network does."""
        task, self._task = self._task, None
        client, self._client = self._client, None
        self._ready.clear()
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await self._stop_consuming()
        if client is not None and not client.is_closed:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(_DRAIN_S):
                    await (client.drain() if client.is_connected else client.close())
            if not client.is_closed:
                with contextlib.suppress(Exception):
                    async with asyncio.timeout(_DRAIN_S):
                        await client.close()

    # --- out -----------------------------------------------------------------------------------------

    async def publish(self, subject: str, message: BaseModel) -> bool:
        """Publish on core NATS. False (and counted as dropped) while disconnected: never queued until stale."""
        client = self._client
        if client is None or not client.is_connected:
            self.counters["dropped"] += 1
            return False
        payload = message.model_dump_json().encode()
        try:
            with publishing(subject, len(payload)) as headers:
                await client.publish(subject, payload, headers=headers or None)
        except (nats.errors.Error, OSError):
            self.counters["dropped"] += 1
            return False
        self.counters["published"] += 1
        return True

    async def publish_durable(
        self, subject: str, payload: bytes, *, message_id: str, trace_parent: str | None = None, timeout_s: float = 2.0
    ) -> None:
        """Publish to the stream of this subject and wait until it is stored. The same id is stored once."""
        client = self._client
        if client is None or not client.is_connected:
            raise BusUnavailable("not connected to NATS")
        try:
            with publishing(subject, len(payload), parent=trace_parent, message_id=message_id) as headers:
                headers["Nats-Msg-Id"] = message_id
                await client.jetstream().publish(subject, payload, timeout=timeout_s, headers=headers)
        except (nats.errors.Error, OSError, TimeoutError) as error:
            if isinstance(error, nats.js.errors.NoStreamResponseError):  # NATS came back without its files
                await self._make_streams(client)
            raise BusUnavailable(
                f"NATS did not store a message on {subject}: {error or type(error).__name__}"
            ) from None
        self.counters["published"] += 1

    # --- in ------------------------------------------------------------------------------------------

    async def subscribe(self, subject: str, model: type[M], handler: Handler[M], *, queue: str = "") -> None:
        """Have `handler` called for each well-formed message, on this connection and all later ones."""
        subscription = _Subscription(subject, model, handler, queue)
        self._subscriptions.append(subscription)
        if self._ready.is_set() and self._client is not None:
            await self._apply(self._client, subscription)

    async def subscribe_durable(
        self, stream: Stream, subject: str, model: type[M], handler: Handler[M], *, durable: str
    ) -> None:
        """Have `handler` called for each well-formed message of the stream, from its beginning and in its order.

        NATS keeps under the name `durable` how far its handlers have come. A message counts as handled when the handler
        returns; when it raises, the same message comes again after a growing pause and all later ones wait. So a
        handler sees a message at least once, must know what it has seen (by `event_id`), and must not raise for what no
        repetition repairs. Malformed messages are counted and passed over. Processes that use the same name share the
        work, one message at a time. The stream is made if it does not exist.
        """
        subscription = _Subscription(subject, model, handler, "")

        async def receive(message: Msg) -> Outcome:
            return await self._receive(subscription, message)

        consumer = DurableConsumer(stream, subject, durable, receive)
        self._consumers.append(consumer)
        if self._ready.is_set() and self._client is not None:
            self._consume(self._client, consumer)

    async def ensure_stream(self, stream: Stream) -> None:
        """Have this stream made or updated, on this connection and all later ones."""
        self._streams.append(stream)
        if self._ready.is_set() and self._client is not None:
            await make_stream(self._client, stream)

    # --- the task --------------------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            client, closed = Client(), asyncio.Event()
            try:
                await self._connect(client, closed)
                self._client = client
                for stream in self._streams:
                    await make_stream(client, stream)
                for subscription in self._subscriptions:
                    await self._apply(client, subscription)
                for consumer in self._consumers:
                    self._consume(client, consumer)
                self._ready.set()
                await closed.wait()
                _log.warning("nats closed the connection", url=redact(self._url), error=str(client.last_error or ""))
            except Exception as error:  # whatever the client trips over, the next connection may be well
                _log.warning("nats is not usable yet", url=redact(self._url), error=repr(error))
            finally:
                self._ready.clear()
                await self._stop_consuming()
                if self._client is not client and not client.is_closed:  # cancelled while connecting
                    with contextlib.suppress(Exception):
                        await asyncio.shield(client.close())
            with contextlib.suppress(Exception):
                await client.close()
            await asyncio.sleep(_RESTART_WAIT_S)

    async def _connect(self, client: Client, closed: asyncio.Event) -> None:
        failures = 0

        async def on_closed() -> None:
            closed.set()

        async def on_disconnected() -> None:
            if self._task is not None:  # else it is our own stop
                _log.warning("nats disconnected", url=redact(self._url))

        async def on_reconnected() -> None:
            nonlocal failures
            failures = 0
            self.connections += 1
            _log.info("nats connected again", url=redact(self._url))

        async def on_error(error: Exception) -> None:
            nonlocal failures
            failures += 1
            if "permissions violation" in str(error).lower():
                self._refused(error)
                return
            # The client retries for ever by itself: 1, 2, 4, ... failures get a line, an outage is no flood.
            if not client.is_connected and is_reported(failures):
                _log.warning("nats does not answer", url=redact(self._url), error=repr(error), failures=failures)
            else:
                _log.debug("nats error", error=repr(error))

        await client.connect(
            self._url,
            name=self._name,
            inbox_prefix=self._inbox_prefix,
            closed_cb=on_closed,
            disconnected_cb=on_disconnected,
            reconnected_cb=on_reconnected,
            error_cb=on_error,
            max_reconnect_attempts=-1,
            reconnect_time_wait=_RECONNECT_WAIT_S,  # type: ignore[arg-type] # annotated int, slept as float
            ping_interval=_PING_INTERVAL_S,
            max_outstanding_pings=2,
        )
        self.connections += 1
        _log.info("nats connected", url=redact(self._url))

    def _refused(self, error: Exception) -> None:
        """NATS tells a client asynchronously that it may not do something; nobody else would notice."""
        self.counters["refused"] += 1
        if is_reported(self.counters["refused"]):
            _log.error("nats does not permit this", url=redact(self._url), error=str(error))

    def _consume(self, client: Client, consumer: DurableConsumer) -> None:
        self._consuming.append(asyncio.create_task(consumer.run(client), name=f"consume {consumer.durable}"))

    async def _stop_consuming(self) -> None:
        tasks, self._consuming = self._consuming, []
        while tasks:  # the client's `fetch` may swallow a cancellation that comes in the moment of its own time-out
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=_CANCEL_AGAIN_S)
            tasks = [task for task in tasks if not task.done()]

    async def _make_streams(self, client: Client) -> None:
        try:
            for stream in self._streams:
                await make_stream(client, stream)
        except (nats.errors.Error, OSError, TimeoutError) as error:
            _log.warning("a stream could not be made", error=repr(error))

    async def _apply(self, client: Client, subscription: _Subscription[Any]) -> None:
        async def on_message(message: Msg) -> None:
            await self._receive(subscription, message)

        await client.subscribe(subscription.subject, queue=subscription.queue, cb=on_message)

    async def _receive(self, subscription: _Subscription[Any], message: Msg) -> Outcome:
        self.counters["received"] += 1
        try:
            if len(message.data) > MESSAGE_BYTES_MAX:
                raise ValueError(f"{len(message.data)} bytes")
            decoded = subscription.model.model_validate_json(message.data)
        except (ValidationError, ValueError) as error:
            self.counters["malformed"] += 1
            _log.debug("malformed message", subject=message.subject, error=str(error)[:200])
            return Outcome.MALFORMED
        try:
            with processing(message.subject, subscription.subject, len(message.data), message.headers):
                await self._handle(subscription, message.subject, decoded)
        except Exception:
            return Outcome.FAILED
        return Outcome.HANDLED

    async def _handle(self, subscription: _Subscription[Any], subject: str, decoded: BaseModel) -> None:
        """Its failure is told within the message's span, and ends that one as failed."""
        try:
            await subscription.handler(subject, decoded)
        except Exception:
            self.counters["failed"] += 1
            _log.exception("message was not handled", subject=subject)
            raise


def _inbox_prefix_of(url: str) -> str:
    """What NATS lets the URL's user listen to; a user that is none of ours has no restriction of ours."""
    user = USERS.get(urlsplit(url).username or "")
    return user.inbox_prefix if user else "_INBOX"
