# SPDX-License-Identifier: Apache-2.0
"""A span `vcl.resume` for each move of a session away from a helper: from the moment the engine gave the old path up
until the server answered on the new one.

Two threads tell what happened: the sessions' watcher the moves, the agent the verdicts. A verdict on the helper that
was left is why the session moved, or tells why afterwards: the span becomes part of the verdict's trace. So a move that
no verdict has explained waits a moment for one. Without OpenTelemetry nothing is kept."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from vcl import agent_trace

if TYPE_CHECKING:
    from vcl.agent_types import Fact

log = logging.getLogger("vcl.agent")

VERDICT_US: Final = 2_000_000
"""A verdict so long before or after a move belongs to it."""
KEPT_MAX: Final = 256
"""Verdicts, suspicions and moves that wait; the oldest are forgotten first."""

_VERDICTS: Final = ("helper_suspect", "helper_down")


@dataclass(frozen=True, slots=True)
class _Verdict:
    helper_id: int
    at_us: int
    traceparent: str


@dataclass(frozen=True, slots=True)
class _Move:
    notice: dict[str, Any]
    began_us: int
    planned: bool  # the old path still worked

    @property
    def ended_us(self) -> int:
        at_us: int = self.notice["at_us"]
        return at_us


class ResumeTracer:
    """See the head of this file. Times are those of time.monotonic(), in microseconds."""

    def __init__(self, now_us: Callable[[], int] = lambda: time.monotonic_ns() // 1000) -> None:
        self._now_us = now_us
        self._lock = threading.Lock()
        self._verdicts: deque[_Verdict] = deque(maxlen=KEPT_MAX)
        self._suspected: dict[int, dict[str, Any]] = {}  # the last suspicion of each session
        self._moves: deque[_Move] = deque(maxlen=KEPT_MAX)
        self._timer: threading.Timer | None = None

    def on_fact(self, fact: Fact) -> None:
        """The control plane said something."""
        if fact.kind not in _VERDICTS or fact.helper_id is None or not agent_trace.is_wanted():
            return
        with self._lock:
            self._verdicts.append(_Verdict(fact.helper_id, self._now_us(), fact.traceparent))
        self._emit_explained()

    def on_notice(self, notice: dict[str, Any]) -> None:
        """Something happened to a session."""
        if notice["type"] not in ("path_suspect", "path_moved") or not agent_trace.is_wanted():
            return
        with self._lock:
            if notice["type"] == "path_suspect":
                self._suspected[notice["session_id"]] = notice
                while len(self._suspected) > KEPT_MAX:
                    self._suspected.pop(next(iter(self._suspected)))
                return
            suspected = self._suspected.pop(notice["session_id"], None)
            if notice["from_helper_id"] in (0, notice["to_helper_id"]):
                return
            # A suspicion may have come to nothing; that of this move names the same silence.
            if suspected is not None and suspected["silent_since_us"] == notice["silent_since_us"]:
                self._moves.append(_Move(notice, suspected["at_us"], planned=False))
            else:
                self._moves.append(_Move(notice, min(notice["silent_since_us"], notice["at_us"]), planned=True))
        self._emit_explained()

    def close(self) -> None:
        """Nobody will explain what still waits."""
        with self._lock:
            waiting = [(move, self._verdict_on(move)) for move in self._moves]
            timer, self._timer = self._timer, None
            self._moves.clear()
        if timer is not None:
            timer.cancel()
        for move, verdict in waiting:
            self._emit(move, verdict)

    def _emit_explained(self) -> None:
        """Makes spans of the moves that have a verdict, or have waited for one long enough."""
        ready: list[tuple[_Move, _Verdict | None]] = []
        with self._lock:
            waiting, before_us = list(self._moves), self._now_us() - VERDICT_US
            self._moves.clear()
            for move in waiting:
                verdict = self._verdict_on(move)
                if verdict is not None or move.ended_us <= before_us:
                    ready.append((move, verdict))
                else:
                    self._moves.append(move)
            if self._moves and self._timer is None:
                self._timer = threading.Timer(VERDICT_US / 1e6, self._on_timer)
                self._timer.daemon = True
                self._timer.start()
        for move, verdict in ready:
            self._emit(move, verdict)

    def _on_timer(self) -> None:
        with self._lock:
            self._timer = None
        self._emit_explained()

    def _verdict_on(self, move: _Move) -> _Verdict | None:
        """The last one about the helper that was left before the session was back, else the first one after that."""
        about = [
            verdict
            for verdict in self._verdicts
            if verdict.helper_id == move.notice["from_helper_id"]
            and move.began_us - VERDICT_US <= verdict.at_us <= move.ended_us + VERDICT_US
        ]
        before = [verdict for verdict in about if verdict.at_us <= move.ended_us]
        return before[-1] if before else about[0] if about else None

    def _emit(self, move: _Move, verdict: _Verdict | None) -> None:
        try:
            self._make_span(move, verdict)
        except Exception:  # a span processor of the application's must not end the thread that looks after sessions
            log.exception("a span could not be made")

    def _make_span(self, move: _Move, verdict: _Verdict | None) -> None:
        tracer = agent_trace.tracer()
        if tracer is None:
            return
        from opentelemetry import propagate
        from opentelemetry.context import Context

        parent = Context()
        if verdict is not None and verdict.traceparent:
            parent = propagate.extract({"traceparent": verdict.traceparent}, context=parent)
        pushed = verdict is not None and verdict.at_us <= move.ended_us
        unix_ns = time.time_ns() - self._now_us() * 1000  # of monotonic 0
        notice = move.notice
        span = tracer.start_span(
            "vcl.resume",
            context=parent,
            start_time=unix_ns + move.began_us * 1000,
            attributes={
                "vcl.helper.from": notice["from_helper_id"],
                "vcl.helper.to": notice["to_helper_id"],
                "vcl.session.server_id": notice["server_id"],
                "vcl.session.epoch": notice["epoch"],
                "vcl.session.connections": notice["connections"],
                "vcl.detection.trigger": "push" if pushed else "planned" if move.planned else "timer",
                "vcl.path.silence": (move.ended_us - notice["silent_since_us"]) / 1e6,  # s, as the stream felt it
            },
        )
        span.end(end_time=unix_ns + move.ended_us * 1000)
