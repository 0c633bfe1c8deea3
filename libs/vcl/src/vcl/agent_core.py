# SPDX-License-Identifier: Apache-2.0
"""The agent's inside: everything that runs on its loop. agent.py is the same, seen from an ordinary thread."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import re
import socket
import time
from collections.abc import Callable

from postman_contracts import rest as contract
from postman_contracts.problems import ProblemType
from vcl.agent_cache import NEGATIVE_S, Cache, Key
from vcl.agent_config import AgentConfig
from vcl.agent_counters import Counters
from vcl.agent_facts import FactListener
from vcl.agent_lease import LeaseKeeper, OnKeys, OnLost, ServerLease
from vcl.agent_rest import Failure, Rest, RestError, Token
from vcl.agent_types import REASON_CLOSED, REASON_NO_SERVER, REASON_UNREACHABLE, Fact, Lookup

log = logging.getLogger("vcl.agent")

AGENT_NAME_CHARACTERS_MAX = 63  # contracts: Name


def _agent_name(host: str, pid: int) -> str:
    """A name that the registry takes, whatever this machine is called: names of hosts may have any characters."""
    plain = re.sub(r"[^A-Za-z0-9._:-]", "-", host).lstrip("._:-") or "host"
    return f"{plain[: AGENT_NAME_CHARACTERS_MAX - len(f'-{pid}')]}-{pid}"


class Core:
    """Registry client, cache, fact listener and leases of one process."""

    def __init__(self, config: AgentConfig, counters: Counters) -> None:
        who = {"agent": _agent_name(socket.gethostname(), os.getpid()), "group": config.group, "site": config.site}
        self._rest = Rest(config.registry_url, config.api_key, {name: value for name, value in who.items() if value})
        self._counters = counters
        self._cache = Cache()
        self._asking: dict[Key, asyncio.Task[Lookup]] = {}
        # After a failure nobody asks for a moment: a dead registry costs one wait, not one for each connect().
        self._quiet_until_s = 0.0
        self._keepers: dict[ServerLease, asyncio.Task[None]] = {}
        self._callbacks: dict[int, Callable[[Fact], None]] = {}
        self._gap_callbacks: dict[int, Callable[[], None]] = {}
        self._listener: asyncio.Task[None] | None = None
        self._nats_url = config.nats_url
        self._closing = False

    async def start(self) -> None:
        """Begins to listen for facts, if there is a NATS to listen to."""
        if self._nats_url:
            listener = FactListener(self._nats_url, self._counters, self._take_fact, self._after_gap)
            self._listener = asyncio.create_task(listener.run(), name="vcl-facts")

    async def close(self, timeout_s: float) -> None:
        """Gives every lease back as far as time allows, and ends."""
        self._closing = True
        asking = list(self._asking.values())
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await asyncio.gather(*(self.end_lease(lease) for lease in list(self._keepers)))
        if self._listener is not None:
            self._listener.cancel()
            await asyncio.wait([self._listener], timeout=timeout_s)
        await self._rest.close()

    # --- resolve ---------------------------------------------------------------------------------

    async def lookup(self, host: str, port: int, timeout_s: float, past_cache: bool = False) -> Lookup:
        """The answer of the cache, unless past it, or of the registry; callers with one question share one call."""
        if self._closing:
            return Lookup(None, REASON_CLOSED)
        self._counters.resolves += 1
        key = (host.lower(), port)
        known = None if past_cache else self._cache.fresh(key, time.monotonic(), time.time())
        if known is not None:
            self._counters.resolve_cached += 1
            return known
        task = self._asking.get(key)
        if task is None:
            task = asyncio.create_task(self._ask(key))
            self._asking[key] = task
            task.add_done_callback(lambda _: self._asking.pop(key, None))
        try:
            return await asyncio.wait_for(asyncio.shield(task), timeout_s)
        except TimeoutError:
            return self._fallback(key, f"{REASON_UNREACHABLE}: no answer within {timeout_s:g} s")

    async def _ask(self, key: Key) -> Lookup:
        if time.monotonic() < self._quiet_until_s:
            return self._fallback(key, REASON_UNREACHABLE)
        try:
            lookup = Lookup(await self._rest.resolve(*key))
        except RestError as error:
            self._count(error)
            if error.failure in (Failure.UNREACHABLE, Failure.MALFORMED):
                self._quiet_until_s = time.monotonic() + NEGATIVE_S
                return self._fallback(key, error.reason)
            lookup = Lookup(None, REASON_NO_SERVER if error.problem == ProblemType.NO_VCL_SERVER else error.reason)
        self._cache.store(key, lookup, time.monotonic())
        return lookup

    def _fallback(self, key: Key, reason: str) -> Lookup:
        resolution = self._cache.fallback(key, time.time())
        if resolution is not None:
            self._counters.resolve_fallbacks += 1
        return Lookup(resolution, reason)

    async def renew_token(self, server_id: int) -> Token:
        """A fresh token; RestError when there is none to be had."""
        try:
            return await self._rest.renew_token(server_id)
        except RestError as error:
            self._count(error)
            raise

    def _count(self, error: RestError) -> None:
        if error.failure is Failure.UNREACHABLE:
            self._counters.registry_unreachable += 1
        elif error.failure is Failure.MALFORMED:
            self._counters.registry_malformed += 1
        elif error.failure is Failure.REFUSED:
            self._counters.registry_refused += 1

    # --- leases ----------------------------------------------------------------------------------

    async def register_server(
        self,
        registration: contract.ServerRegistration,
        end: Callable[[ServerLease, float], None],
        on_lost: OnLost | None,
        on_keys: OnKeys | None,
    ) -> ServerLease:
        """Registers, and keeps the lease from then on; RestError when the registry does not take it."""
        try:
            grant = await self._rest.register_server(registration)
        except RestError as error:
            self._count(error)
            raise
        lease = ServerLease(grant, end)
        keeper = LeaseKeeper(self._rest, self._counters, lease, on_lost, on_keys)
        self._keepers[lease] = asyncio.create_task(keeper.run(), name=f"vcl-lease-{grant.server_id}")
        return lease

    async def end_lease(self, lease: ServerLease) -> None:
        """Stops renewing a lease and tells the registry; a second call does nothing."""
        task = self._keepers.pop(lease, None)
        if task is None:
            return
        task.cancel()
        if lease.lost:
            return
        try:
            await self._rest.end_lease(lease.grant.server_id, lease.grant.incarnation)
        except RestError as error:
            self._count(error)
            log.debug("end of the lease of server %d: %s", lease.grant.server_id, error.reason)

    # --- facts -----------------------------------------------------------------------------------

    async def subscribe(
        self, number: int, callback: Callable[[Fact], None], on_gap: Callable[[], None] | None = None
    ) -> None:
        """Calls back with each fact from now on, and when some may have been missed."""
        self._callbacks[number] = callback
        if on_gap is not None:
            self._gap_callbacks[number] = on_gap

    async def unsubscribe(self, number: int) -> None:
        """Undoes subscribe()."""
        self._callbacks.pop(number, None)
        self._gap_callbacks.pop(number, None)

    def _take_fact(self, fact: Fact) -> None:
        if fact.kind == "server_gone" and fact.server_id is not None:
            self._cache.forget_server(fact.server_id)
        elif fact.kind == "server_up":
            self._cache.forget_absences()
        elif fact.kind in ("server_down", "assignment_changed") or fact.helper_id is not None:
            self._cache.expire_all()
        for callback in list(self._callbacks.values()):
            self._call(functools.partial(callback, fact))

    def _after_gap(self) -> None:
        self._cache.expire_all()
        for callback in list(self._gap_callbacks.values()):
            self._call(callback)

    def _call(self, callback: Callable[[], None]) -> None:
        try:
            callback()
        except Exception:
            self._counters.callback_errors += 1
            log.exception("fact callback failed")
