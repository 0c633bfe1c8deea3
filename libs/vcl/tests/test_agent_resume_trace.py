# SPDX-License-Identifier: Apache-2.0
"""`vcl.resume`: which verdict a move belongs to, when it began and ended, and who brought it about."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("opentelemetry.sdk")

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from vcl import agent_trace
from vcl.agent_resume_trace import ResumeTracer
from vcl.agent_types import Fact, FactKind

TRACE = "0af7651916cd43dd8448eb211c80319c"
MS = 1000


class Traced:
    """A tracer with a clock that stands where the test puts it, and what came out."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = provider.get_tracer("vcl")
        self.now_us = 100_000_000
        self.resumes = ResumeTracer(lambda: self.now_us)

    def verdict(self, helper_id: int, kind: FactKind = "helper_down", span: int = 1) -> None:
        self.resumes.on_fact(Fact(kind, helper_id, None, 1, "", f"00-{TRACE}-{span:016x}-01"))

    def notice(self, kind: str, since_us: int, **more: int) -> None:
        notice = {"type": kind, "session_id": 7, "server_id": 9, "from_helper_id": 1, "to_helper_id": 2, "epoch": 2}
        notice |= {"connections": 3, "at_us": self.now_us, "silent_since_us": since_us}
        self.resumes.on_notice(notice | more)

    def move(self) -> int:
        """A path falls silent, is suspected after 15 ms and replaced after 20; when that began."""
        since_us = self.now_us
        self.now_us += 15 * MS
        self.notice("path_suspect", since_us)
        self.now_us += 5 * MS
        self.notice("path_moved", since_us)
        return since_us

    def spans(self) -> tuple[ReadableSpan, ...]:
        return self.exporter.get_finished_spans()

    def only(self) -> ReadableSpan:
        (span,) = self.spans()
        return span


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> Iterator[Traced]:
    made = Traced()
    monkeypatch.setattr(agent_trace, "tracer", lambda: made.tracer)
    yield made
    made.resumes.close()


def trigger(span: ReadableSpan) -> Any:
    assert span.attributes is not None
    return span.attributes["vcl.detection.trigger"]


def test_a_move_after_a_push_is_part_of_the_verdicts_trace(traced: Traced) -> None:
    traced.verdict(1, span=0xABC)
    began_ns = time.time_ns()
    since_us = traced.move()
    span = traced.only()
    assert span.parent is not None
    assert (f"{span.parent.trace_id:032x}", span.parent.span_id) == (TRACE, 0xABC)
    assert span.attributes == {
        "vcl.helper.from": 1,
        "vcl.helper.to": 2,
        "vcl.session.server_id": 9,
        "vcl.session.epoch": 2,
        "vcl.session.connections": 3,
        "vcl.detection.trigger": "push",
        "vcl.path.silence": 0.02,
    }
    assert span.start_time is not None
    assert span.end_time is not None
    assert span.end_time - span.start_time == 5 * MS * 1000
    assert abs(span.end_time - began_ns) < 60e9  # Unix time, whatever the monotonic clock says
    assert traced.now_us == since_us + 20 * MS


def test_a_verdict_that_comes_afterwards_is_the_parent_but_not_the_trigger(traced: Traced) -> None:
    traced.move()
    assert traced.spans() == ()
    traced.verdict(2)  # about another helper
    assert traced.spans() == ()
    traced.now_us += 1_000 * MS
    traced.verdict(1)
    span = traced.only()
    assert span.parent is not None
    assert trigger(span) == "timer"


def test_the_last_of_two_verdicts_before_the_move_counts(traced: Traced) -> None:
    traced.verdict(1, "helper_suspect", 1)
    traced.now_us += 300 * MS
    traced.verdict(1, "helper_down", 2)
    traced.move()
    parent = traced.only().parent
    assert parent is not None
    assert parent.span_id == 2


def test_old_and_later_verdicts_have_nothing_to_do_with_it(
    traced: Traced, monkeypatch: pytest.MonkeyPatch, wait_until: Callable[..., Any]
) -> None:
    monkeypatch.setattr("vcl.agent_resume_trace.VERDICT_US", 20 * MS)
    traced.verdict(1)
    traced.now_us += 6 * MS + 20 * MS
    traced.move()
    traced.now_us += 21 * MS
    wait_until(traced.spans, what="the span that nobody explained")
    assert traced.only().parent is None
    assert trigger(traced.only()) == "timer"
    traced.verdict(1)
    assert len(traced.spans()) == 1


def test_what_waits_at_the_end_is_told(traced: Traced) -> None:
    traced.move()
    traced.resumes.close()
    assert traced.only().parent is None


def test_a_planned_move_is_no_suspicion_that_came_to_nothing(traced: Traced) -> None:
    traced.notice("path_suspect", traced.now_us - 15 * MS)
    traced.now_us += 60_000 * MS
    since_us = traced.now_us
    traced.now_us += 2 * MS
    traced.notice("path_moved", since_us)
    traced.resumes.close()
    span = traced.only()
    assert trigger(span) == "planned"
    assert span.start_time is not None
    assert span.end_time is not None
    assert span.end_time - span.start_time == 2 * MS * 1000


def test_moves_from_the_direct_path_are_no_resumes_from_a_helper(traced: Traced) -> None:
    traced.notice("path_moved", traced.now_us, from_helper_id=0)
    traced.notice("path_moved", traced.now_us, from_helper_id=2)  # to itself: it moved only the server
    traced.resumes.close()
    assert traced.spans() == ()


def test_memory_is_bounded(traced: Traced) -> None:
    for i in range(2000):
        traced.now_us += 1
        traced.notice("path_suspect", i, session_id=i)
        traced.verdict(i + 10)
        traced.notice("path_moved", i, session_id=5000 + i, from_helper_id=5)
    traced.resumes.close()
    assert len(traced.spans()) == 256
    assert len(traced.resumes._suspected) == 256


def test_a_trace_parent_that_is_none_starts_a_trace(traced: Traced) -> None:
    traced.resumes.on_fact(Fact("helper_down", 1, None, 1, "", "rubbish"))
    traced.move()
    assert traced.only().parent is None
    assert trigger(traced.only()) == "push"


def test_without_opentelemetry_nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_trace, "is_wanted", lambda: False)
    traced = Traced()
    traced.move()
    traced.verdict(1)
    assert not traced.resumes._suspected
    assert not traced.resumes._verdicts
    assert traced.resumes._timer is None
