# SPDX-License-Identifier: Apache-2.0
"""The nemesis of bench chaos: a seeded list of faults, done to real processes and links one after the other. It knows
nothing of the load but which helper is in use, and nothing of the verdict."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from ..demo.stack import Stack, StackError
from ..lab.impairment import Impairment, LinkFault

Kind = Literal["kill", "pause", "cut", "loss", "delay", "restart"]

IN_USE_SHARE = 0.75
"""How often the victim is the helper that carries the traffic; else any."""
BETWEEN_S = (0.3, 1.5)
PAUSE_S = (0.005, 0.5)
LINK_FAULT_S = (0.1, 1.0)
LOSS_SHARE = (0.01, 0.3)
DELAY_US = (200, 20_000)
WORKER_BACK_S_MAX = 30.0
HELPER_USED_S_MAX = 10.0
"""So long a fault that shall hit the helper in use waits for a session on the direct path to come back to one."""


@dataclass(frozen=True)
class Done:
    """A fault that was done, with the time at which it began (monotonic, us)."""

    kind: Kind
    host: str
    at_us: int
    in_use: bool
    seconds: float = 0.0
    detail: dict[str, Any] = field(default_factory=dict)


def schedule(choice: random.Random, kills: int, pauses: int) -> list[Kind]:
    """Which faults in which order: for each five of the others one cut, one loss, one delay; for each ten a restart."""
    others = kills + pauses
    counts: dict[Kind, int] = {"kill": kills, "pause": pauses, "restart": others // 10}
    counts |= {"cut": others // 5, "loss": others // 5, "delay": others // 5}
    faults = [kind for kind, count in counts.items() for _ in range(count)]
    choice.shuffle(faults)
    return faults


class Nemesis:
    """`helper_in_use` gives the host name of the helper that carries the traffic now, or None."""

    def __init__(self, stack: Stack, choice: random.Random, helper_in_use: Callable[[], str | None]) -> None:
        self.stack, self.choice = stack, choice
        self._helper_in_use = helper_in_use
        self.done: list[Done] = []

    def torment(self, faults: list[Kind]) -> Iterator[Done]:
        """Does them all, and yields each when it has ended."""
        for kind in faults:
            time.sleep(self.choice.uniform(*BETWEEN_S))
            done = getattr(self, f"_{kind}")()
            self.done.append(done)
            yield done

    def _victim(self) -> tuple[str, bool]:
        """A helper with a living worker, and whether it is the one in use."""
        began_s = time.monotonic()
        wants_used = self.choice.random() < IN_USE_SHARE
        other = self.choice.choice(sorted(self.stack.helpers))
        while (waited_s := time.monotonic() - began_s) < WORKER_BACK_S_MAX:
            used = self._helper_in_use()
            host = used if wants_used else other
            if host is None and waited_s > HELPER_USED_S_MAX:
                host = other
            if host is not None and self._has_worker(host):
                return host, host == used
            time.sleep(0.02)
        raise StackError(f"no worker to torment within {WORKER_BACK_S_MAX:.0f} s")

    def _has_worker(self, host: str) -> bool:
        try:
            self.stack.worker_pid(host)
        except StackError:
            return False
        return True

    def _kill(self) -> Done:
        host, in_use = self._victim()
        return Done("kill", host, self.stack.kill_worker(host) // 1000, in_use)

    def _pause(self) -> Done:
        host, in_use = self._victim()
        seconds = self.choice.uniform(*PAUSE_S)
        pid = self.stack.worker_pid(host)
        at_us = time.monotonic_ns() // 1000
        os.kill(pid, signal.SIGSTOP)
        try:
            time.sleep(seconds)
        finally:
            os.kill(pid, signal.SIGCONT)  # our own child's child, which cannot have ended while it stood still
        return Done("pause", host, at_us, in_use, seconds)

    def _link(self, kind: Kind, fault: LinkFault, *, of_helper: bool) -> Done:
        host, in_use = self._victim() if of_helper else (self.choice.choice(("c1", "s1")), True)
        seconds = self.choice.uniform(*LINK_FAULT_S)
        with Impairment(self.stack.lab, host, fault, self.choice.randrange(1, 2**32)) as impaired:
            at_us = time.monotonic_ns() // 1000
            time.sleep(seconds)
        return Done(kind, host, at_us, in_use, seconds, impaired.counts)

    def _cut(self) -> Done:
        """One way only: what the helper says is not heard, or it hears nothing."""
        from_host = self.choice.random() < 0.5
        return self._link("cut", LinkFault(float(from_host), float(not from_host)), of_helper=True)

    def _loss(self) -> Done:
        share = self.choice.uniform(*LOSS_SHARE)
        return self._link("loss", LinkFault(share, share), of_helper=self.choice.random() < 0.5)

    def _delay(self) -> Done:
        delay_us = self.choice.randrange(*DELAY_US)
        fault = LinkFault(delay_us=delay_us, jitter_us=delay_us // 4)
        return self._link("delay", fault, of_helper=self.choice.random() < 0.5)

    def _restart(self) -> Done:
        """The helper is told to end in order and started again."""
        host, in_use = self._victim()
        at_us = time.monotonic_ns() // 1000
        self.stack.restart_helper(host)
        return Done("restart", host, at_us, in_use, (time.monotonic_ns() // 1000 - at_us) / 1e6)
