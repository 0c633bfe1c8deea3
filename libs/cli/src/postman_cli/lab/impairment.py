# SPDX-License-Identifier: Apache-2.0
"""A host's data link that loses, delays or passes nothing in one direction, for a while.

netem would do it, but many kernels have none, so vcl-link (libs/vcl/bench/link.c) stands between the host's switch port
and the bridge for that time:

    host data0 ── d-host ── vcl-link ── e-host ══ p-host ── bridge
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from types import TracebackType

from ..checkout import RELEASE_BUILD
from .namespaces import LabError
from .network import LabNetwork

PROGRAM = RELEASE_BUILD / "libs" / "vcl" / "bench" / "vcl-link"
PPM = 1_000_000


@dataclass(frozen=True)
class LinkFault:
    """Loss in each direction as a share, and a delay with jitter for both."""

    loss_from_host: float = 0.0
    loss_to_host: float = 0.0
    delay_us: int = 0
    jitter_us: int = 0

    def arguments(self, seed: int) -> list[str]:
        """As vcl-link takes them."""
        losses = (round(self.loss_from_host * PPM), round(self.loss_to_host * PPM))
        return [str(number) for number in (seed, *losses, self.delay_us, self.jitter_us)]


CUT_FROM_HOST = LinkFault(loss_from_host=1.0)
CUT_TO_HOST = LinkFault(loss_to_host=1.0)


class Impairment:
    """One host's link with a fault, from `with` to its end. `counts`: the frames that passed and were lost, then."""

    def __init__(self, lab: LabNetwork, host_name: str, fault: LinkFault, seed: int = 1) -> None:
        self.lab, self.host_name, self.fault, self.seed = lab, host_name, fault, seed
        self.counts: dict[str, list[int]] = {}
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Impairment:
        switch, name = self.lab.switch, self.host_name
        switch.run("ip", "link", "add", f"e-{name}", "type", "veth", "peer", "name", f"p-{name}")
        try:
            for device in (f"e-{name}", f"p-{name}"):
                switch.run("ethtool", "-K", device, "tx", "off", "tso", "off", "gso", "off", "gro", "off")
            switch.run("ip", "link", "set", f"p-{name}", "master", "data", "up")
            switch.run("ip", "link", "set", f"e-{name}", "up")
            argv = [str(PROGRAM), f"d-{name}", f"e-{name}", *self.fault.arguments(self.seed)]
            self._process = switch.start(argv, stdout=subprocess.PIPE)
            assert self._process.stdout is not None
            if b"up" not in self._process.stdout.readline():
                raise LabError(f"{PROGRAM.name} did not start on d-{name}")
            switch.run("ip", "link", "set", f"d-{name}", "nomaster")
        except BaseException:
            self._undo()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._undo()

    def _undo(self) -> None:
        switch, name = self.lab.switch, self.host_name
        switch.run("ip", "link", "set", f"d-{name}", "master", "data")
        if self._process is not None:
            self._process.terminate()
            said, _ = self._process.communicate(timeout=10)
            self.counts = json.loads(said) if said.strip() else {}
        switch.run("ip", "link", "del", f"e-{name}")
