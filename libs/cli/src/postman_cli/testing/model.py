# SPDX-License-Identifier: Apache-2.0
"""A step of the test run, what it needs, and what came out of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from postman_cli.testing.runner import Runner


@dataclass(frozen=True)
class Choice:
    """What the person asked for on the command line."""

    fast: bool = False
    keyword: str = ""  # pytest's -k
    sim_seed: int | None = None  # run this one seed
    sim_seeds: int | None = None  # run so many


@dataclass
class Outcome:
    """Counts of single tests, and a line for each thing that a person should know."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    notes: list[str] = field(default_factory=list)

    def add(self, other: Outcome) -> None:
        """Takes in another outcome's counts and notes."""
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped
        self.notes += other.notes

    @classmethod
    def failure(cls, note: str) -> Outcome:
        """One failed test with its reason."""
        return cls(failed=1, notes=[note])


@dataclass(frozen=True)
class Step:
    """One row of the table. `cores` are kept busy while it runs; an exclusive step has the machine for itself."""

    name: str
    about: str
    run: Callable[[Runner, Choice], Outcome]
    budget_s: float
    cores: int = 1
    exclusive: bool = False
    uses_pytest: bool = False
    only_asked: bool = False  # runs when it is asked for by name: what it shows changes seldom, and takes long


@dataclass(frozen=True)
class Result:
    """A finished step."""

    step: Step
    outcome: Outcome
    duration_s: float
