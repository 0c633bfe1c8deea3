# SPDX-License-Identifier: Apache-2.0
"""The history: every fact of the stream is recorded once, and whoever follows it is woken."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Final

import structlog
from opentelemetry import trace
from pydantic import ValidationError

from postman_contracts import subjects
from postman_contracts.messages import HelperFact
from postman_health import store_events
from postman_health.facts import AnyFact, id_in, kind_of
from postman_health.store_events import Event, Filter, NewEvent, Unstorable
from postman_kit.db import Database

_HELPER_KINDS: Final = subjects.HELPER_FACTS_ALL.removesuffix("*").removeprefix(subjects.FACTS_ALL.removesuffix(">"))

OnHelperFact = Callable[[str, HelperFact], Awaitable[None]]

_log = structlog.get_logger(__name__)


class History:
    """`counters`: recorded, repeated (delivered again), malformed."""

    def __init__(self, database: Database, on_helper_fact: OnHelperFact) -> None:
        self.counters: Counter[str] = Counter()
        self.on_recorded: list[Callable[[], None]] = []
        self._database = database
        self._on_helper_fact = on_helper_fact

    async def on_fact(self, subject: str, fact: AnyFact) -> None:
        """Record it. Raises while the database is away: then the stream sends it again, and all others wait."""
        kind, body = kind_of(subject), fact.body
        if kind is None:
            self._refuse(subject, "its subject is no name of a kind")
            return
        if kind.startswith(_HELPER_KINDS):
            try:
                await self._on_helper_fact(subject, HelperFact.model_validate(body))
            except ValidationError as error:
                self._refuse(subject, str(error))
                return
        recorded_at = datetime.now(UTC)
        event = NewEvent(
            event_id=fact.event_id,
            kind=kind,
            helper_id=id_in(body, "helper_id"),
            server_id=id_in(body, "server_id"),
            at=fact.at or recorded_at,
            trace_id=_trace_id(),
            body=body,
        )
        try:
            async with self._database.transaction() as connection:
                number = await store_events.record(connection, event, recorded_at)
        except Unstorable as error:
            self._refuse(subject, str(error))
            return
        self.counters["repeated" if number is None else "recorded"] += 1
        if number is not None:
            for notify in self.on_recorded:
                notify()

    async def page(self, wanted: Filter, after: int, limit: int, *, newest: bool = False) -> list[Event]:
        """The next events after a number, or the newest of them; oldest first."""
        async with self._database.transaction() as connection:
            return await store_events.page(connection, wanted, after, limit, newest=newest)

    async def newest_number(self) -> int:
        """Where the history ends now."""
        async with self._database.transaction() as connection:
            return await store_events.newest_number(connection)

    def _refuse(self, subject: str, why: str) -> None:
        """A fact that no repetition makes better is passed over: it must not hold up those behind it."""
        self.counters["malformed"] += 1
        _log.warning("a fact cannot be recorded", subject=subject[:200], why=why[:200])


def _trace_id() -> str | None:
    """The trace that the message belongs to; None if it came without one (ours then begins with its receipt)."""
    span = trace.get_current_span()
    context = span.get_span_context()
    is_begun_here = getattr(span, "parent", context) is None  # only spans of the SDK know their parent
    return None if is_begun_here or not context.is_valid else trace.format_trace_id(context.trace_id)
