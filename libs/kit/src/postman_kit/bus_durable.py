# SPDX-License-Identifier: Apache-2.0
"""How a JetStream stream is made and consumed: one message at a time, in its order, each until it was handled.

The consumer is NATS's (`durable`), so that any process may go on where another ended; of all processes that share it
only one has a message at any time. A handler that raises gets the same message again after a growing pause.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final

import nats.errors
import nats.js.errors
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    DeliverPolicy,
    RetentionPolicy,
    StorageType,
    StreamConfig,
)

from postman_kit.failures import is_reported

MESSAGE_BYTES_MAX: Final = 64 * 1024
_ACK_WAIT_S: Final = 5.0  # how long the message of a process that was killed is kept from the others
_STILL_AT_IT_S: Final = 1.0
_FETCH_S: Final = 2.0  # how late we may notice that NATS forgot our request, as it does when it restarts
_LEAVE_S: Final = 1  # the client takes whole seconds
_RETRY_FIRST_S: Final = 0.1
_RETRY_MAX_S: Final = 5.0

_log = structlog.get_logger(__name__)


class Outcome(Enum):
    """What became of a received message."""

    HANDLED = "handled"
    MALFORMED = "malformed"
    FAILED = "failed"


Receive = Callable[[Msg], Awaitable[Outcome]]


@dataclass(frozen=True)
class Stream:
    """A JetStream stream that must exist. Old messages go when a limit is reached; duplicates within the window too."""

    name: str
    subjects: tuple[str, ...]
    age_s_max: float = 24 * 3600.0
    bytes_max: int = 256 * 1024 * 1024
    duplicate_window_s: float = 120.0

    def config(self) -> StreamConfig:
        """The same in NATS's words."""
        return StreamConfig(
            name=self.name,
            subjects=list(self.subjects),
            retention=RetentionPolicy.LIMITS,
            storage=StorageType.FILE,
            max_age=self.age_s_max,
            max_bytes=self.bytes_max,
            max_msg_size=MESSAGE_BYTES_MAX,
            duplicate_window=self.duplicate_window_s,
        )


async def make_stream(client: Client, stream: Stream) -> None:
    """Make the stream, or give it these settings if it has others."""
    jetstream = client.jetstream()
    try:
        await jetstream.add_stream(stream.config())
    except nats.js.errors.BadRequestError:  # exists with other settings
        await jetstream.update_stream(stream.config())


class DurableConsumer:
    """One durable consumer of one subject of one stream."""

    def __init__(self, stream: Stream, subject: str, durable: str, receive: Receive) -> None:
        """`receive` decodes and handles, and does not raise."""
        self.durable = durable
        self._stream = stream
        self._subject = subject
        self._receive = receive

    async def run(self, client: Client) -> None:
        """Consume until cancelled. Whatever is lost of stream and consumer is made again."""
        failures = 0
        while True:
            try:
                await make_stream(client, self._stream)
                jetstream = client.jetstream()
                await jetstream.add_consumer(self._stream.name, self._config())
                subscription = await jetstream.pull_subscribe_bind(self.durable, stream=self._stream.name)
                failures = 0
                try:
                    await self._consume(subscription)
                finally:
                    await _leave(client, subscription)
            except Exception as error:  # away, or its files are gone: the next attempt may be well
                failures += 1
                if is_reported(failures):
                    _log.warning(
                        "the stream cannot be consumed", durable=self.durable, error=repr(error), failures=failures
                    )
            await asyncio.sleep(_retry_s(failures))

    def _config(self) -> ConsumerConfig:
        return ConsumerConfig(
            name=self.durable,
            durable_name=self.durable,
            filter_subject=self._subject,
            deliver_policy=DeliverPolicy.ALL,
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=_ACK_WAIT_S,
            max_ack_pending=1,  # a message that waits to be tried again holds up all later ones: order
        )

    async def _consume(self, subscription: JetStreamContext.PullSubscription) -> None:
        """Until the consumer is lost, which raises."""
        clock = asyncio.get_running_loop().time
        while True:
            asked_at_s = clock()
            try:
                messages = await subscription.fetch(1, timeout=_FETCH_S)
            except TimeoutError:  # nothing new; at once, it is a conflict, which must not make us spin
                if clock() - asked_at_s < _FETCH_S / 2:
                    await asyncio.sleep(_RETRY_FIRST_S)
                continue
            for message in messages:
                await self._handle(message)

    async def _handle(self, message: Msg) -> None:
        still_at_it = asyncio.create_task(_keep(message))
        try:
            outcome = await self._receive(message)
        except asyncio.CancelledError:  # we stop: let it come again at once, here or elsewhere
            with contextlib.suppress(nats.errors.Error, OSError):
                await message.nak()
            raise
        finally:
            still_at_it.cancel()
        if outcome is Outcome.FAILED:
            await message.nak(delay=_retry_s(message.metadata.num_delivered))
        elif outcome is Outcome.MALFORMED:
            await message.term()
        else:
            await message.ack()


async def _leave(client: Client, subscription: JetStreamContext.PullSubscription) -> None:
    """Stop to listen, and know that NATS knows: else it would send us the next message, and wait for its ack."""
    if not client.is_connected:  # then NATS knows already, and the client would wait for a connection
        return
    with contextlib.suppress(nats.errors.Error, OSError, TimeoutError):
        async with asyncio.timeout(_LEAVE_S):  # it may end just now
            await subscription.unsubscribe()
            await client.flush(timeout=_LEAVE_S)


async def _keep(message: Msg) -> None:
    """Tell NATS that the message is being worked on, for as long as that takes."""
    with contextlib.suppress(nats.errors.Error, OSError):
        while True:
            await asyncio.sleep(_STILL_AT_IT_S)
            await message.in_progress()


def _retry_s(attempts: int) -> float:
    return min(_RETRY_FIRST_S * 2.0 ** min(attempts, 10), _RETRY_MAX_S)
