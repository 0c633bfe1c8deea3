# SPDX-License-Identifier: Apache-2.0
"""The embedded agent: the control plane, seen from an application's threads.

One daemon thread per process runs a loop (agent_core.py) that talks to the registry (REST) and listens to NATS. It
starts with the first question. Every call here blocks for a bounded time, may come from any thread, and never raises
because of what the registry or NATS said or did not say, except register_server(), whose caller must know.

Fork: a child starts afresh at its first call. It does not inherit subscriptions or leases: those are its parent's.
"""

from __future__ import annotations

import atexit
import concurrent.futures
import contextlib
import dataclasses
import itertools
import logging
import os
import threading
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING

from vcl import agent_trace
from vcl.agent_config import AgentConfig
from vcl.agent_counters import Counters
from vcl.agent_loop import LoopThread
from vcl.agent_types import (
    REASON_CLOSED,
    REASON_OWN_THREAD,
    REASON_UNREACHABLE,
    AgentError,
    Fact,
    HelperPath,
    Lookup,
    Resolution,
    ServerGrant,
    ServerKey,
)

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any, TypeVar

    from vcl.agent_core import Core
    from vcl.agent_lease import OnKeys, OnLost, ServerLease

    T = TypeVar("T")

__all__ = [
    "Agent",
    "AgentConfig",
    "AgentError",
    "Fact",
    "HelperPath",
    "Lookup",
    "Resolution",
    "ServerGrant",
    "ServerKey",
]

log = logging.getLogger("vcl.agent")

# Beyond a call's own timeout: the loop is one thread, and a callback of the application may hold it for a moment.
GRACE_S = 1.0
REGISTER_TIMEOUT_S = 5.0
TOKEN_TIMEOUT_S = 2.0
CLOSE_TIMEOUT_S = 1.0


class _Runtime:
    """The thread and what runs on it: made at the first call, left behind by a fork."""

    def __init__(self, config: AgentConfig, counters: Counters) -> None:
        from vcl.agent_core import Core  # httpx, nats and pydantic are imported only by processes that need them

        self.loop = LoopThread("vcl-agent")
        self.core: Core = Core(config, counters)
        self.loop.submit(self.core.start())


class Agent:
    """See the head of this file. Most processes want Agent.shared()."""

    def __init__(self, config: AgentConfig) -> None:
        self._config = config
        self._counters = Counters()
        self._numbers = itertools.count(1)
        self._closed = False
        self._runtime: _Runtime | None = None
        self._lock = threading.Lock()
        self._thread_state = threading.local()
        _live.add(self)

    @classmethod
    def shared(cls) -> Agent:
        """The agent of this process, configured by its environment (agent_config.py)."""
        global _shared
        with _shared_lock:
            if _shared is None or _shared._closed:
                _shared = Agent(AgentConfig.from_environment())
            return _shared

    @property
    def enabled(self) -> bool:
        """Whether there is a registry to ask."""
        return not self._config.problem

    @property
    def last_reason(self) -> str:
        """Why this thread's last call brought nothing, or only what the cache held; empty if it was answered."""
        return getattr(self._thread_state, "reason", "")

    def counters(self) -> dict[str, int]:
        """A copy of everything counted so far."""
        return dataclasses.asdict(self._counters)

    # --- questions -------------------------------------------------------------------------------

    def resolve(self, host: str, port: int, timeout_s: float = 2.0, *, past_cache: bool = False) -> Resolution | None:
        """Where the VCL server for (host, port) is, or None: then `last_reason` says why.

        Past the cache: the registry is asked even if it has just been.
        """
        return self.lookup(host, port, timeout_s, past_cache=past_cache).resolution

    def lookup(self, host: str, port: int, timeout_s: float = 2.0, *, past_cache: bool = False) -> Lookup:
        """As resolve(), with the reason beside the answer."""
        with agent_trace.span("vcl.resolve", {"server.address": host, "server.port": port}):
            lookup = self._lookup(host, port, timeout_s, past_cache)
        self._thread_state.reason = lookup.reason
        return lookup

    def _lookup(self, host: str, port: int, timeout_s: float, past_cache: bool) -> Lookup:
        try:
            runtime = self._runtime_for_call()
            return self._wait(runtime, runtime.core.lookup(host, port, timeout_s, past_cache), timeout_s)
        except AgentError as error:
            return Lookup(None, error.reason)

    def renew_token(self, server_id: int, timeout_s: float = TOKEN_TIMEOUT_S) -> tuple[bytes, bytes] | None:
        """(token, token_key) for a session that lives on, or None: then `last_reason` says why."""
        with agent_trace.span("vcl.renew_token", {"vcl.session.server_id": server_id}):
            try:
                runtime = self._runtime_for_call()
                renewed = self._wait(runtime, runtime.core.renew_token(server_id), timeout_s)
            except AgentError as error:
                self._thread_state.reason = error.reason
                return None
        self._thread_state.reason = ""
        return renewed.token, renewed.token_key

    # --- leases ----------------------------------------------------------------------------------

    def register_server(
        self,
        service: str,
        host: str,
        tcp_port: int,
        data_address: str,
        udp_port: int,
        shards: int = 1,
        *,
        on_lost: OnLost | None = None,
        on_keys: OnKeys | None = None,
        timeout_s: float = REGISTER_TIMEOUT_S,
    ) -> ServerLease:
        """Registers a listening server and renews its lease until ServerLease.close(); AgentError if that cannot be.

        An outage of the registry is waited out. `on_lost(lease, reason)` comes on a thread of its own when the registry
        does not know the lease any more: the caller may register again from there. `on_keys(keys)` comes on the
        agent's thread when the registry rotated K_srv.
        """
        from postman_contracts.rest import ServerRegistration

        try:
            registration = ServerRegistration(
                service=service,
                host=host,
                tcp_port=tcp_port,
                data_address=data_address,
                udp_port=udp_port,
                shards=shards,
                site=self._config.site or None,
            )
        except ValueError as error:
            raise AgentError(f"this server cannot be registered: {error}") from None
        with agent_trace.span("vcl.register_server", {"vcl.service": service, "server.port": tcp_port}):
            runtime = self._runtime_for_call()
            registering = runtime.core.register_server(registration, self._end_lease, on_lost, on_keys)
            return self._wait(runtime, registering, timeout_s)

    def _end_lease(self, lease: ServerLease, timeout_s: float) -> None:
        runtime = self._runtime
        if runtime is None:  # closed (which gave the lease back), or a child: the lease is its parent's
            return
        with contextlib.suppress(RuntimeError, concurrent.futures.TimeoutError, concurrent.futures.CancelledError):
            ending = runtime.loop.submit(runtime.core.end_lease(lease))
            if not runtime.loop.is_current():
                ending.result(timeout_s)

    # --- facts -----------------------------------------------------------------------------------

    def subscribe(
        self, callback: Callable[[Fact], None], on_gap: Callable[[], None] | None = None
    ) -> Callable[[], None]:
        """Calls back on the agent's thread with each fact of the control plane; returns the function that ends it.

        `on_gap` is called when NATS is there (again): facts may have been missed, and the registry knows what follows
        from them. A callback must not block, nor call this agent. A disabled agent never calls.
        """
        if not self.enabled or self._closed:
            return lambda: None
        runtime = self._start()
        number = next(self._numbers)
        runtime.loop.submit(runtime.core.subscribe(number, callback, on_gap))

        def unsubscribe() -> None:
            with contextlib.suppress(RuntimeError):
                runtime.loop.submit(runtime.core.unsubscribe(number))

        return unsubscribe

    # --- life ------------------------------------------------------------------------------------

    def close(self, timeout_s: float = CLOSE_TIMEOUT_S) -> None:
        """Gives the leases back and ends the thread, within about twice `timeout_s`. Safe to call twice."""
        with self._lock:
            runtime, self._runtime, self._closed = self._runtime, None, True
        if runtime is None:
            return
        with contextlib.suppress(RuntimeError, concurrent.futures.TimeoutError, concurrent.futures.CancelledError):
            closing = runtime.loop.submit(runtime.core.close(timeout_s))
            if not runtime.loop.is_current():
                closing.result(timeout_s * 2)
        runtime.loop.stop(timeout_s)

    def _start(self) -> _Runtime:
        with self._lock:
            if self._runtime is None:
                self._runtime = _Runtime(self._config, self._counters)
            return self._runtime

    def _runtime_for_call(self) -> _Runtime:
        if self._closed:
            raise AgentError(REASON_CLOSED)
        if self._config.problem:
            raise AgentError(self._config.problem)
        runtime = self._start()
        if runtime.loop.is_current():
            raise AgentError(REASON_OWN_THREAD)
        return runtime

    def _wait(self, runtime: _Runtime, coroutine: Coroutine[Any, Any, T], timeout_s: float) -> T:
        from vcl.agent_rest import RestError

        try:
            future = runtime.loop.submit(coroutine)
        except RuntimeError:
            raise AgentError(REASON_CLOSED) from None
        try:
            return future.result(timeout_s + GRACE_S)
        except RestError as error:
            raise AgentError(error.reason) from None
        except concurrent.futures.CancelledError:
            raise AgentError(REASON_CLOSED) from None
        except concurrent.futures.TimeoutError:
            future.cancel()
            raise AgentError(f"{REASON_UNREACHABLE}: no answer within {timeout_s:g} s") from None
        except Exception as error:  # a mistake of ours must not become the application's
            log.exception("the agent failed")
            raise AgentError(f"the agent failed: {error!r}") from error

    def _after_fork_in_child(self) -> None:
        # The thread does not exist here, but its sockets and its loop do. They are kept, not finalised: closing them
        # properly would speak to the peers on connections that belong to the parent.
        if self._runtime is not None:
            _left_behind.append(self._runtime)
        self._runtime = None
        self._lock = threading.Lock()  # another thread of the parent may have held it
        self._counters = Counters()


_shared: Agent | None = None
_shared_lock = threading.Lock()
_live: weakref.WeakSet[Agent] = weakref.WeakSet()
_left_behind: list[_Runtime] = []


def _after_fork_in_child() -> None:
    global _shared_lock
    _shared_lock = threading.Lock()
    for agent in list(_live):
        agent._after_fork_in_child()


def _close_all() -> None:
    for agent in list(_live):
        agent.close()


os.register_at_fork(after_in_child=_after_fork_in_child)
atexit.register(_close_all)
