# SPDX-License-Identifier: Apache-2.0
"""What a bench runs on: a lab with the whole Postman in it, up and torn down again."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..demo.stack import Stack, work_dir_for
from ..lab.network import LabNetwork
from ..lab.topology import TOPOLOGIES

Say = Callable[[str], None]


@dataclass(frozen=True)
class Request:
    """What the person asked for. Numbers that are None are the bench's own."""

    say: Say
    seed: int = 1
    connections: int | None = None
    requests: int | None = None
    seconds: int | None = None
    runs: int | None = None
    kills: int | None = None
    pauses: int | None = None
    mib: int | None = None

    def random(self) -> random.Random:
        """The choices of this run, the same each time."""
        return random.Random(self.seed)


@contextmanager
def whole_stack(request: Request, name: str, *, topology: str = "demo", helpers: int | None = None) -> Iterator[Stack]:
    """Control plane and helpers in a fresh lab, all serving. `helpers`: only so many of the topology's."""
    work_dir: Path = work_dir_for(f"bench-{name}")
    shutil.rmtree(work_dir, ignore_errors=True)
    work_dir.mkdir(parents=True)
    with LabNetwork(TOPOLOGIES[topology]) as lab, Stack(lab, work_dir) as stack:
        request.say("control plane: Postgres, NATS, registry, placement, health")
        stack.start_control()
        hosts = lab.topology.with_role("helper")[:helpers]
        if hosts:
            request.say(f"helpers: {len(hosts)} DPDK workers with their supervisors")
        for host in hosts:
            stack.start_helper(host)
        if hosts:
            stack.wait_helpers()
        yield stack
