# SPDX-License-Identifier: Apache-2.0
"""Runs the life cycle of domain.py: inputs come in through one queue, each action is carried out here."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Coroutine
from typing import Any, Final

import structlog

from postman_contracts.rest import HelperGrant, HelperRegistration
from postman_helper import __version__
from postman_helper.bus import HelperBus, Listener
from postman_helper.control import ControlError
from postman_helper.domain import Action, Input, LifeCycle, State, backoff_s, is_reported
from postman_helper.incarnation import Incarnation
from postman_helper.lease import Registry, RegistryError
from postman_helper.settings import HelperSettings
from postman_helper.worker_process import WorkerStartError
from postman_helper.worker_stats import WorkerStats
from postman_kit.bus import Bus

log = structlog.get_logger(__name__)

# The registry usually comes back within seconds, and a helper that waits for it serves nobody.
REGISTER_RETRY_S_MAX: Final = 5.0
END_LEASE_TIMEOUT_S: Final = 2.0


class Supervisor:
    """run() once; request_leave() and request_stop() from the same loop. `stats` is what its workers count."""

    def __init__(self, settings: HelperSettings, registry: Registry, bus: Bus) -> None:
        self._settings = settings
        self._registry = registry
        self.stats = WorkerStats()
        listener = Listener(
            on_drain=lambda: self._put(Input.DRAIN_ORDERED),
            on_undrain=lambda: self._put(Input.UNDRAIN_ORDERED),
            on_refresh=self._refresh,
            on_assignments=self._prepare,
        )
        self._bus = HelperBus(bus, listener)
        self._life = LifeCycle()
        # With whose input it is: that of an incarnation which is no longer the current one says nothing.
        self._inputs: asyncio.Queue[tuple[Incarnation | None, Input]] = asyncio.Queue()
        self._current: Incarnation | None = None
        # Its identity is lost but it still relays: ended as soon as its successor has an identity.
        self._predecessor: Incarnation | None = None
        self._step: asyncio.Task[None] | None = None

    @property
    def state(self) -> State:
        """Where the life cycle is."""
        return self._life.state

    async def run(self) -> None:
        """Returns when the helper has left or was stopped; the lease is given back then."""
        await self._bus.start()
        action = Action.START
        try:
            while action is not Action.FINISH:
                self._perform(action)
                event = await self._next_input()
                was = self._life.state
                action = self._life.on(event, time.monotonic())
                log.info("life cycle", was=was, on=event, state=self._life.state)
        finally:
            await self._finish()

    async def _next_input(self) -> Input:
        while True:
            source, event = await self._inputs.get()
            if source is None or source is self._current:
                return event

    def request_leave(self) -> None:
        """Ends the helper gently: its clients move away first."""
        self._put(Input.LEAVE_WANTED)

    def request_stop(self) -> None:
        """Ends the helper without waiting for its clients."""
        self._put(Input.STOP_WANTED)

    def _put(self, event: Input, source: Incarnation | None = None) -> None:
        self._inputs.put_nowait((source, event))

    # --- actions -----------------------------------------------------------------------------------

    def _perform(self, action: Action) -> None:
        if action is Action.START:
            if self._current is not None:  # now, not in the step: its reports must not be taken for its successor's
                self._predecessor, self._current = self._current, None
            self._begin_step(self._start())
        elif action is Action.WAIT:
            self._begin_step(self._wait())
        elif action in (Action.PARK, Action.SERVE, Action.LEAVE):
            assert self._current is not None
            carry_out = {
                Action.PARK: self._current.park,
                Action.SERVE: self._current.serve,
                Action.LEAVE: self._current.begin_leave,
            }
            carry_out[action]()

    def _begin_step(self, step: Coroutine[Any, Any, None]) -> None:
        """Starting and waiting follow each other: the one before has ended, as its last act was to report."""
        self._step = asyncio.create_task(self._guard(step))

    async def _guard(self, step: Coroutine[Any, Any, None]) -> None:
        try:
            await step
        except Exception:
            log.exception("a step of the life cycle failed")
            self._put(Input.WORKER_FAILED)

    async def _start(self) -> None:
        grant = await self._register()
        await self._end_predecessor()
        incarnation = Incarnation(self._settings, grant, self._registry, self._bus, self.stats, self._take_report)
        self._current = incarnation
        await self._bus.listen_as(grant.helper_id)
        try:
            await incarnation.start()
        except (WorkerStartError, ControlError, OSError) as error:
            log.error("worker did not start", error=str(error), incarnation=grant.incarnation)
            await incarnation.stop()
            self._put(Input.WORKER_FAILED)
            return
        self._put(Input.WORKER_READY)
        if grant.desired_state == "draining":
            self._put(Input.DRAIN_ORDERED)
        incarnation.begin()

    async def _register(self) -> HelperGrant:
        registration = HelperRegistration(
            name=self._settings.helper_name,
            site=self._settings.helper_site,
            data_address=str(self._settings.helper_data_address.ip),
            client_port=self._settings.helper_client_port,
            trunk_port=self._settings.helper_trunk_port,
            workers=1,
            version=__version__,
        )
        failures = 0
        while True:
            try:
                grant = await self._registry.register(registration)
            except RegistryError as error:
                failures += 1
                if is_reported(failures):
                    log.warning("not registered", error=str(error), failures=failures)
                await asyncio.sleep(backoff_s(failures - 1, random.random(), max_s=REGISTER_RETRY_S_MAX))
            else:
                log.info("registered", helper_id=grant.helper_id, incarnation=grant.incarnation)
                return grant

    async def _wait(self) -> None:
        loop = self._life.crash_loop(time.monotonic())
        delay_s = self._life.retry_delay_s(random.random())
        if loop is not None:
            log.error("crash loop: the causes are above", failures=loop.failures, within_s=round(loop.window_s, 1))
        log.info("next start", in_s=round(delay_s, 3))
        await asyncio.sleep(delay_s)
        self._put(Input.RETRY_DUE)

    async def _end_predecessor(self) -> None:
        predecessor, self._predecessor = self._predecessor, None
        if predecessor is not None:
            await predecessor.stop()

    async def _finish(self) -> None:
        if self._step is not None:
            self._step.cancel()
            await asyncio.gather(self._step, return_exceptions=True)
        await self._end_predecessor()
        if self._current is not None:
            await self._current.stop()
            await self._current.end_lease(END_LEASE_TIMEOUT_S)
        await self._bus.stop()
        await self._registry.close()

    # --- facts ---------------------------------------------------------------------------------------

    def _take_report(self, incarnation: Incarnation, event: Input) -> None:
        if incarnation is self._current:
            self._put(event, incarnation)

    def _refresh(self) -> None:
        if self._current is not None:
            self._current.refresh()

    async def _prepare(self, epoch: int) -> None:
        if self._current is not None:
            await self._current.prepare(epoch)
