# SPDX-License-Identifier: Apache-2.0
"""The lease of one listening server: renewed in the background, through any outage of the registry, until it is closed
or the registry says that it knows it no more."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import random
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from vcl.agent_rest import RestError, is_lease_lost
from vcl.agent_types import ServerGrant, ServerKey

if TYPE_CHECKING:
    from vcl.agent_counters import Counters
    from vcl.agent_rest import Rest

log = logging.getLogger("vcl.agent")

# Three tries fit into one lifetime of the lease; retries after an error come sooner, so that a registry which was away
# hears from all servers before it would call them down.
RENEWALS_PER_TTL = 3
RETRY_FIRST_S = 0.2
CLOSE_TIMEOUT_S = 1.0

OnLost = Callable[["ServerLease", str], None]
OnKeys = Callable[[tuple[ServerKey, ...]], None]


class ServerLease:
    """What register_server() returns. `grant` always holds the keys that are valid now."""

    def __init__(self, grant: ServerGrant, end: Callable[[ServerLease, float], None]) -> None:
        self.grant = grant
        self.lost = False
        self._end = end

    def close(self, timeout_s: float = CLOSE_TIMEOUT_S) -> None:
        """Stops renewing and gives the lease back; never fails: what cannot be told to the registry expires there."""
        self._end(self, timeout_s)


class LeaseKeeper:
    """The loop's side of a ServerLease."""

    def __init__(
        self, rest: Rest, counters: Counters, lease: ServerLease, on_lost: OnLost | None, on_keys: OnKeys | None
    ) -> None:
        self._rest = rest
        self._counters = counters
        self._lease = lease
        self._on_lost = on_lost
        self._on_keys = on_keys

    async def run(self) -> None:
        """Renews until the lease is lost; ends by cancellation otherwise."""
        failures = 0
        while True:
            await asyncio.sleep(self._delay_s(failures))
            try:
                ttl_s, keys = await self._rest.renew_lease(self._lease.grant.server_id, self._lease.grant.incarnation)
            except RestError as error:
                if is_lease_lost(error):
                    self._lose(error.reason)
                    return
                failures += 1
                self._counters.lease_errors += 1
                log.debug("lease of server %d: %s", self._lease.grant.server_id, error.reason)
                continue
            failures = 0
            self._counters.lease_renewals += 1
            self._take(ttl_s, keys)

    def _delay_s(self, failures: int) -> float:
        regular_s = self._lease.grant.lease_ttl_s / RENEWALS_PER_TTL
        delay_s = regular_s if failures == 0 else min(regular_s, RETRY_FIRST_S * 2.0 ** min(failures - 1, 10))
        return delay_s * random.uniform(0.8, 1.0)

    def _take(self, ttl_s: float, keys: tuple[ServerKey, ...]) -> None:
        changed = keys != self._lease.grant.keys
        self._lease.grant = dataclasses.replace(self._lease.grant, lease_ttl_s=ttl_s, keys=keys)
        if changed and self._on_keys is not None:
            try:
                self._on_keys(keys)
            except Exception:
                self._counters.callback_errors += 1
                log.exception("on_keys callback failed")

    def _lose(self, reason: str) -> None:
        self._counters.leases_lost += 1
        self._lease.lost = True
        log.info("lease of server %d is lost: %s", self._lease.grant.server_id, reason)
        if self._on_lost is not None:
            threading.Thread(target=self._tell_lost, args=(reason,), name="vcl-lease-lost", daemon=True).start()

    def _tell_lost(self, reason: str) -> None:
        # On a thread of its own: the callback registers again, which waits for the agent's thread.
        assert self._on_lost is not None
        try:
            self._on_lost(self._lease, reason)
        except Exception:
            self._counters.callback_errors += 1
            log.exception("on_lost callback failed")
