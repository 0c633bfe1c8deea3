# SPDX-License-Identifier: Apache-2.0
"""The table of steps. Budgets are several times what a machine with two cores takes; over budget is a failure."""

from __future__ import annotations

from postman_cli.testing import c_tests, fuzzers, lint, mutants, path_model, python_tests, simulator
from postman_cli.testing.model import Step

STEPS = (
    Step("lint", "formats, types, borders between parts", lint.run, budget_s=180),
    Step("c-unit", "C unit tests, release build", c_tests.run_release, budget_s=120),
    Step(
        "simulator",
        "engines and relays in virtual time, 10,000 seeds (fast: 200)",
        simulator.run,
        budget_s=240,
        cores=2,
    ),
    Step("model", "the path rules as a finite model, searched to its end by spin", path_model.run, budget_s=300),
    Step(
        "mutants",
        "bugs planted in the transport, which its tests must see (only with --only mutants)",
        mutants.run,
        budget_s=600,
        cores=2,
        only_asked=True,
    ),
    Step("c-sanitized", "C unit tests, ASan + UBSan build", c_tests.run_sanitized, budget_s=300, cores=2),
    Step("c-threads", "C tests of the parts with threads, TSan build", c_tests.run_threaded, budget_s=120, cores=2),
    Step("python", "Python tests that need no root", python_tests.run_unit, budget_s=900, cores=2, uses_pytest=True),
    Step("fuzz", "all fuzzers for 2 minutes together (fast: 5 s each)", fuzzers.run, budget_s=600, cores=2),
    Step(
        "network",
        "Python tests in network namespaces",
        python_tests.run_network,
        budget_s=600,
        exclusive=True,
        uses_pytest=True,
    ),
    Step(
        "compose",
        "docker compose up: containers built, placed, killed, restarted",
        python_tests.run_compose,
        budget_s=900,
        exclusive=True,
        uses_pytest=True,
    ),
)

NAMES = tuple(step.name for step in STEPS)
