# SPDX-License-Identifier: Apache-2.0
"""Durable consumers against a real NATS: order, repetition, sharing, and what is lost and made again."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from uuid import uuid4

import nats
import pytest
from opentelemetry import trace
from pydantic import BaseModel

from postman_kit.bus import Bus, Stream
from postman_kit.embedded import EmbeddedNats

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"


class Note(BaseModel):
    v: int = 1
    text: str


async def eventually(condition: Callable[[], object], timeout_s: float = 20.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 # what is polled is another process
            await asyncio.sleep(0.01)


@pytest.fixture
def stream() -> Stream:
    """A stream of the test's own."""
    name = uuid4().hex
    return Stream(f"S{name}", (f"{name}.>",), bytes_max=1 << 20)


def subject_of(stream: Stream) -> str:
    return stream.subjects[0].replace(">", "note")


async def started(url: str) -> Bus:
    bus = Bus(url, name="test")
    await bus.start()
    assert await bus.wait_connected(10)
    return bus


@pytest.fixture
async def bus(nats_server: EmbeddedNats) -> AsyncIterator[Bus]:
    bus = await started(nats_server.url)
    yield bus
    await bus.stop()


async def tell(bus: Bus, stream: Stream, *texts: str) -> None:
    for text in texts:
        payload = Note(text=text).model_dump_json().encode()
        await bus.publish_durable(subject_of(stream), payload, message_id=uuid4().hex)


def collect(into: list[str]) -> Callable[[str, Note], Awaitable[None]]:
    async def on_note(_: str, note: Note) -> None:
        into.append(note.text)

    return on_note


async def test_from_the_beginning_in_order_and_on_from_there(
    bus: Bus, stream: Stream, nats_server: EmbeddedNats
) -> None:
    await bus.ensure_stream(stream)
    before = [str(number) for number in range(50)]
    await tell(bus, stream, *before)
    got: list[str] = []
    first = await started(nats_server.url)
    await first.subscribe_durable(stream, subject_of(stream), Note, collect(got), durable="reader")
    await eventually(lambda: got == before)
    await first.stop()
    await tell(bus, stream, "while away")
    again: list[str] = []
    await bus.subscribe_durable(stream, subject_of(stream), Note, collect(again), durable="reader")
    await eventually(lambda: again)
    assert (got, again) == (before, ["while away"])


async def test_a_message_that_was_not_handled_comes_again_before_all_others(bus: Bus, stream: Stream) -> None:
    tried: list[str] = []

    async def on_note(_: str, note: Note) -> None:
        tried.append(note.text)
        if note.text == "hard" and tried.count("hard") < 3:
            raise RuntimeError("told to")

    await bus.subscribe_durable(stream, subject_of(stream), Note, on_note, durable="reader")
    await bus.ensure_stream(stream)
    await tell(bus, stream, "easy", "hard", "later")
    await eventually(lambda: "later" in tried)
    assert tried == ["easy", "hard", "hard", "hard", "later"]
    assert bus.counters["failed"] == 2


async def test_malformed_messages_are_counted_and_hold_up_nobody(bus: Bus, stream: Stream) -> None:
    await bus.ensure_stream(stream)
    for number, data in enumerate((b"", b"{", b'{"v": 1}', b"\xff")):
        await bus.publish_durable(subject_of(stream), data, message_id=f"{stream.name}{number}")
    await tell(bus, stream, "good")
    got: list[str] = []
    await bus.subscribe_durable(stream, subject_of(stream), Note, collect(got), durable="reader")
    await eventually(lambda: got == ["good"])
    assert bus.counters["malformed"] == 4


async def test_two_processes_share_the_work_one_message_at_a_time(
    bus: Bus, stream: Stream, nats_server: EmbeddedNats
) -> None:
    other = await started(nats_server.url)
    running, overlaps, order = 0, 0, list[str]()

    async def on_note(_: str, note: Note) -> None:
        nonlocal running, overlaps
        running += 1
        overlaps += running > 1
        order.append(note.text)
        await asyncio.sleep(0.002)
        running -= 1

    await bus.ensure_stream(stream)
    texts = [str(number) for number in range(60)]
    await tell(bus, stream, *texts)
    for each in (bus, other):
        await each.subscribe_durable(stream, subject_of(stream), Note, on_note, durable="shared")
    await eventually(lambda: len(order) >= 60)
    assert (order, overlaps) == (texts, 0)
    await other.stop()


async def test_stopping_in_the_middle_gives_the_message_to_another_at_once(
    bus: Bus, stream: Stream, nats_server: EmbeddedNats
) -> None:
    leaving, held = await started(nats_server.url), asyncio.Event()

    async def hold(_: str, __: Note) -> None:
        held.set()
        await asyncio.Event().wait()

    await leaving.subscribe_durable(stream, subject_of(stream), Note, hold, durable="shared")
    await bus.ensure_stream(stream)
    await tell(bus, stream, "one", "two")
    await held.wait()
    got: list[str] = []
    await bus.subscribe_durable(stream, subject_of(stream), Note, collect(got), durable="shared")
    await leaving.stop()
    await eventually(lambda: got == ["one", "two"])


async def test_it_goes_on_after_a_killed_nats(tmp_path: Path, stream: Stream) -> None:
    got: list[str] = []
    with EmbeddedNats(tmp_path / "nats") as server:
        bus = await started(server.url)
        await bus.subscribe_durable(stream, subject_of(stream), Note, collect(got), durable="reader")
        await bus.ensure_stream(stream)
        await tell(bus, stream, "before")
        await eventually(lambda: got == ["before"])
        assert server.pid
        os.kill(server.pid, signal.SIGKILL)
        await eventually(lambda: not bus.is_connected and server.pid is None)
        server.start()
        await eventually(lambda: bus.is_connected)
        await tell(bus, stream, "after")
        await eventually(lambda: got[-1] == "after")
        assert [text for text in got if text != "before"] == ["after"]  # "before" again, if its ack was not on disk yet
        await bus.stop()


@pytest.mark.parametrize("lost", ["consumer", "stream"])
async def test_what_somebody_deleted_is_made_again(
    bus: Bus, stream: Stream, nats_server: EmbeddedNats, lost: str
) -> None:
    got: list[str] = []
    await bus.subscribe_durable(stream, subject_of(stream), Note, collect(got), durable="reader")
    await bus.ensure_stream(stream)
    await tell(bus, stream, "one")
    await eventually(lambda: got == ["one"])
    client = await nats.connect(nats_server.url)
    if lost == "consumer":
        await client.jetstream().delete_consumer(stream.name, "reader")
    else:
        await client.jetstream().delete_stream(stream.name)
    await client.close()

    async def told() -> bool:
        try:
            await tell(bus, stream, "two")
        except Exception:  # the first attempt finds that the stream is gone
            return False
        return True

    async with asyncio.timeout(20):
        while not await told():  # noqa: ASYNC110 # what is polled is another process
            await asyncio.sleep(0.05)
    await eventually(lambda: "two" in got)
    assert got == (["one", "one", "two"] if lost == "consumer" else ["one", "two"])  # anew from the beginning


async def test_the_senders_trace_goes_on_in_the_handler(bus: Bus, stream: Stream) -> None:
    seen: list[str] = []

    async def on_note(_: str, __: Note) -> None:
        seen.append(f"{trace.get_current_span().get_span_context().trace_id:032x}")

    await bus.ensure_stream(stream)
    await bus.publish_durable(
        subject_of(stream), b'{"text": "x"}', message_id=uuid4().hex, trace_parent=f"00-{TRACE_ID}-b7ad6b7169203331-01"
    )
    await bus.subscribe_durable(stream, subject_of(stream), Note, on_note, durable="reader")
    await eventually(lambda: seen)
    assert seen == [TRACE_ID]
