# SPDX-License-Identifier: Apache-2.0
"""One incarnation: a worker process under one identity, from its start to its end.

While it serves, four tasks run: the watch for its exit, heartbeats (each helper_heartbeat_s), the lease (each third of
its lifetime, and at once after refresh()), and orders (park(), serve()). None of them stops the worker because the
registry or NATS is away.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final, Literal

import structlog
from opentelemetry import trace

from postman_contracts.fields import HelperReportedState
from postman_contracts.rest import HelperGrant, HelperLeaseRenewal, TrunkServer
from postman_helper import worker_config
from postman_helper.bus import HelperBus
from postman_helper.control import Control, ControlError, ControlRefused
from postman_helper.domain import Input, backoff_s, is_reported
from postman_helper.lease import IdentityLost, Registry, RegistryError
from postman_helper.server_table import Table, describe, table_after, table_diff, table_of
from postman_helper.settings import HelperSettings
from postman_helper.worker_process import WorkerProcess, WorkerStartError, exit_text, write_config
from postman_helper.worker_stats import WorkerStats

log = structlog.get_logger(__name__)
tracer = trace.get_tracer(__name__)

RENEWALS_PER_TTL: Final = 3  # two may fail before the lease ends
RETRY_MAX_S: Final = 2.0
# A worker that polls answers within a millisecond. One that is silent this long serves nobody, and is replaced.
SILENT_S_MAX: Final = 5.0
# ... and this many requests in a row: after a pause of our own (a stopped machine) the one under way fails by itself.
SILENT_REQUESTS_MIN: Final = 3
# While silent for more than this it gets no heartbeat and no renewal: the registry shall find out too.
ANSWERED_S_MAX: Final = 1.5
ORDER_RETRY_S: Final = 0.5
DRAIN_POLL_S: Final = 0.1
DRAIN_QUIET_S: Final = 1.0
# Counters of the worker (relay.h) that stand still when nobody's data flows: entries up, entries down.
FLOW_COUNTERS: Final = ("trunk_data_entries_out", "trunk_entries_in")


class Incarnation:
    """Made for one grant; start() and begin() once, stop() always."""

    def __init__(
        self,
        settings: HelperSettings,
        grant: HelperGrant,
        registry: Registry,
        bus: HelperBus,
        stats: WorkerStats,
        report: Callable[[Incarnation, Input], None],
    ) -> None:
        self.helper_id = grant.helper_id
        self.incarnation = grant.incarnation
        self._settings = settings
        self._grant = grant
        self._registry = registry
        self._bus = bus
        self._all_stats = stats
        self._report = report
        self._worker: WorkerProcess | None = None
        self._control = Control(settings.control_socket())
        self._tasks: list[asyncio.Task[None]] = []
        self._state: HelperReportedState = grant.desired_state
        self._is_parked = grant.desired_state == "draining"
        self._is_leaving = False
        self._order_changed = asyncio.Event()
        self._epoch_named: int | None = None
        self._epoch_prepared: int | None = None
        self._stats: dict[str, int | float] = {}
        self._answered_at_s = 0.0
        self._table: Table = {}
        self._table_version: int | None = None
        self._lease_ttl_s = grant.lease_ttl_s
        self._refresh = asyncio.Event()
        self._renewing = asyncio.Lock()
        self._identity_lost = False

    # --- life ------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Spawns the worker and gives it its servers. WorkerStartError or ControlError if that fails."""
        config_path = self._settings.worker_dir() / "worker.conf"
        write_config(config_path, worker_config.render(self._settings, self._grant))
        try:
            self._worker = await WorkerProcess.spawn(self._settings.helper_worker, config_path)
        except OSError as error:
            raise WorkerStartError(f"cannot run {self._settings.helper_worker}: {error}") from None
        await self._worker.wait_ready(self._settings.helper_start_timeout_s)
        await self._take_servers(self._grant.servers, self._grant.servers_version)
        self._answered_at_s = time.monotonic()
        log.info("worker is ready", pid=self._worker.pid, **self._identity())

    def begin(self) -> None:
        """Starts watching, heartbeats, lease and orders."""
        self._begin_task("exit", self._watch())
        self._begin_task("heartbeat", self._beat())
        self._begin_task("lease", self._keep_lease())
        self._begin_task("orders", self._follow_orders())

    def park(self) -> None:
        """Takes no new sessions, and goes on with those that it has, until serve()."""
        self._is_parked = True
        self._state = "draining"
        self._order_changed.set()
        self.refresh()

    def serve(self) -> None:
        """Takes sessions again; says so once the worker knows."""
        self._is_parked = False
        self._order_changed.set()

    def begin_leave(self) -> None:
        """Tells everybody, waits until no data flows, then reports DRAINED."""
        self._is_leaving = self._is_parked = True
        self._state = "draining"
        self.refresh()
        self._begin_task("drain", self._drain())

    async def prepare(self, epoch: int) -> None:
        """Makes ready for assignments that name this helper: it fetches its servers now, then says the epoch."""
        if epoch <= (self._epoch_named or 0):
            return
        self._epoch_named = epoch
        if self._identity_lost or not self._is_answering():
            return  # the next renewal brings the same
        attributes = {"postman.assignment.epoch": epoch, **self._trace_attributes()}
        with tracer.start_as_current_span("helper.assignment", attributes=attributes) as span:
            try:
                await self._renew()
                log.info("prepared for assignments", epoch=epoch, **self._identity())
            except (RegistryError, ControlError) as error:
                span.set_status(trace.StatusCode.ERROR, str(error))
                self.refresh()  # the lease task tries again, and deals with the error

    def refresh(self) -> None:
        """Renews the lease now, for the table that its answer brings."""
        self._refresh.set()

    async def stop(self) -> None:
        """Ends the tasks and the worker. The lease is left to end by itself, or to end_lease()."""
        tasks = self._cancel_tasks()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._control.close()
        if self._worker is not None:
            await self._worker.stop()

    async def end_lease(self, timeout_s: float) -> None:
        """Tells the registry that this incarnation is over; tries once."""
        if self._identity_lost:
            return
        try:
            async with asyncio.timeout(timeout_s):
                await self._registry.end(self.helper_id, self.incarnation)
        except (RegistryError, TimeoutError) as error:
            log.warning("the lease was not given back and will expire", error=str(error), **self._identity())

    # --- the tasks ---------------------------------------------------------------------------------

    def _begin_task(self, name: str, coroutine: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(asyncio.create_task(self._guard(name, coroutine)))

    async def _guard(self, name: str, coroutine: Coroutine[Any, Any, None]) -> None:
        try:
            await coroutine
        except Exception:
            log.exception("a task failed", task=name, **self._identity())
            self._report(self, Input.WORKER_FAILED)

    def _cancel_tasks(self) -> list[asyncio.Task[None]]:
        tasks = [task for task in self._tasks if task is not asyncio.current_task()]
        self._tasks = []
        for task in tasks:
            task.cancel()
        return tasks

    async def _watch(self) -> None:
        assert self._worker is not None
        status = await self._worker.wait_exit()
        self._cancel_tasks()  # no heartbeat and no renewal for a dead worker
        await self._say("worker-ended", exit_text(status))  # before all else: clients wait for it
        how = await self._worker.describe_exit()
        log.error("worker ended", how=how, **self._identity())
        self._report(self, Input.WORKER_FAILED)

    async def _beat(self) -> None:
        failures = 0
        while True:
            beat_at_s = time.monotonic()
            try:
                await self._control.ping()
                self._answered_at_s = time.monotonic()
                self._stats = await self._control.stats()
                self._all_stats.take(self.incarnation, self._stats)
            except ControlError as error:
                failures += 1
                if is_reported(failures):
                    log.warning("worker is silent", error=str(error), failures=failures, **self._identity())
                if failures >= SILENT_REQUESTS_MIN and time.monotonic() - self._answered_at_s > SILENT_S_MAX:
                    await self._replace_silent_worker()
                    return
            else:
                failures = 0
                if not self._identity_lost:
                    await self._bus.heartbeat(
                        self.helper_id,
                        self.incarnation,
                        self._state,
                        self._stats,
                        interval_s=self._settings.helper_heartbeat_s,
                        assignment_epoch=self._epoch_prepared,
                    )
            await asyncio.sleep(max(0.0, beat_at_s + self._settings.helper_heartbeat_s - time.monotonic()))

    async def _replace_silent_worker(self) -> None:
        assert self._worker is not None
        log.error("worker does not answer and is killed", silent_s=SILENT_S_MAX, **self._identity())
        await self._say("worker-silent", f"no answer for {SILENT_S_MAX:g} s")
        await self._worker.kill()  # _watch() reports the rest

    async def _say(self, event: Literal["worker-ended", "worker-silent"], detail: str) -> None:
        """Reports to health: sent or lost, but never waited for. The trace of what follows from it begins here."""
        if self._identity_lost:  # then another one's word counts
            return
        name = {"worker-ended": "helper.worker_ended", "worker-silent": "helper.worker_silent"}[event]
        attributes: dict[str, str | int] = {"postman.worker.detail": detail, **self._trace_attributes()}
        with tracer.start_as_current_span(name, attributes=attributes):
            await self._bus.report(self.helper_id, self.incarnation, event, detail)

    async def _keep_lease(self) -> None:
        failures = 0
        while True:
            self._refresh.clear()
            if self._is_answering():
                try:
                    await self._renew()
                    failures = 0
                except IdentityLost as error:
                    self._identity_lost = True
                    hint = f"if it happens again, another helper is called {self._settings.helper_name} too"
                    log.warning("identity is lost", reason=str(error), hint=hint, **self._identity())
                    self._report(self, Input.IDENTITY_LOST)
                    return
                except (RegistryError, ControlError) as error:
                    failures += 1
                    if is_reported(failures):
                        log.warning("lease not renewed", error=str(error), failures=failures, **self._identity())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._lease_delay_s(failures)):
                    await self._refresh.wait()

    def _is_answering(self) -> bool:
        """Whether there is a worker whose lease may be renewed."""
        return bool(self._tasks) and time.monotonic() - self._answered_at_s <= ANSWERED_S_MAX

    def _lease_delay_s(self, failures: int) -> float:
        regular_s = self._lease_ttl_s / RENEWALS_PER_TTL
        if failures:
            return min(regular_s, backoff_s(failures - 1, random.random(), max_s=RETRY_MAX_S))
        return regular_s * random.uniform(0.8, 1.0)

    async def _renew(self) -> None:
        async with self._renewing:
            was_parked, epoch = self._is_parked, self._epoch_named
            renewal = HelperLeaseRenewal(
                incarnation=self.incarnation, state=self._state, stats=self._stats, servers_version=self._table_version
            )
            lease = await self._registry.renew(self.helper_id, renewal)
            self._lease_ttl_s = lease.lease_ttl_s
            if lease.servers is not None:
                await self._take_servers(lease.servers, lease.servers_version)
            self._epoch_prepared = max(self._epoch_prepared or 0, epoch or 0, lease.assignment_epoch or 0) or None
            if was_parked is self._is_parked and not self._is_leaving:  # else an order overtook this answer
                self._compare_order(lease.desired_state)

    def _compare_order(self, desired: HelperReportedState) -> None:
        if desired == "draining" and not self._is_parked:
            self._report(self, Input.DRAIN_ORDERED)
        elif desired == "up" and self._is_parked:
            self._report(self, Input.UNDRAIN_ORDERED)

    async def _follow_orders(self) -> None:
        """Keeps telling the worker what it shall be, until it has taken it. One task: so the last order comes last."""
        told = False
        while True:
            self._order_changed.clear()
            parked = self._is_parked
            if parked is not told:
                try:
                    await self._control.drain(parked)
                except ControlError as error:
                    log.warning("order not passed on", draining=parked, error=str(error), **self._identity())
                    await asyncio.sleep(ORDER_RETRY_S)
                    continue
                told = parked
                log.info("parked" if parked else "serving again", **self._identity())
            if not self._is_parked and self._state == "draining":
                self._state = "up"
                self.refresh()
            await self._order_changed.wait()

    async def _take_servers(self, servers: list[TrunkServer], version: int) -> None:
        self._table_version = None  # until all of it is with the worker: after a failure, all is asked for again
        for command in table_diff(self._table, table_of(servers)):
            try:
                await self._control.apply(command)
            except ControlRefused as error:
                # One server that this worker cannot reach must not keep out the others. It is tried again with the next
                # change of the table.
                log.warning("server table", refused=describe(command), error=str(error), **self._identity())
                continue
            self._table = table_after(self._table, command)
            log.info("server table", servers=len(self._table), change=describe(command))
        self._table_version = version

    async def _drain(self) -> None:
        try:
            async with asyncio.timeout(self._settings.helper_drain_timeout_s):
                await self._control.drain(True)
                await self._wait_quiet()
            log.info("drained", **self._identity())
        except TimeoutError:
            log.warning("drain timeout: data still flows", after_s=self._settings.helper_drain_timeout_s)
        except ControlError as error:
            log.warning("the worker cannot drain", error=str(error))
        self._report(self, Input.DRAINED)

    async def _wait_quiet(self) -> None:
        """Returns when the flow counters stood still for DRAIN_QUIET_S."""
        last: list[int | float] = []
        still_since_s = time.monotonic()
        while time.monotonic() - still_since_s < DRAIN_QUIET_S:
            stats = await self._control.stats()
            flow = [stats.get(name, 0) for name in FLOW_COUNTERS]
            if flow != last:
                last, still_since_s = flow, time.monotonic()
            await asyncio.sleep(DRAIN_POLL_S)

    def _trace_attributes(self) -> dict[str, int]:
        return {"postman.helper.id": self.helper_id, "postman.helper.incarnation": self.incarnation}

    def _identity(self) -> dict[str, int]:
        return {"helper_id": self.helper_id, "incarnation": self.incarnation}
