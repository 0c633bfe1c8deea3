# SPDX-License-Identifier: Apache-2.0
"""A figure: one measured value, what it is compared with, and what is needed to measure it again."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from statistics import median
from typing import Any

from ..checkout import ROOT


@dataclass(frozen=True)
class Figure:
    """`value` is the median of its runs and `spread` their range; `ratio` is value / baseline."""

    bench: str
    metric: str
    value: float | None
    unit: str
    baseline: float | None
    baseline_name: str
    ratio: float | None
    runs: int
    spread: tuple[float, float] | None
    seed: int
    commit: str
    host: str

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def figure(
    bench: str,
    metric: str,
    values: Sequence[float | None] | float | None,
    unit: str,
    *,
    baseline: Sequence[float | None] | float | None = None,
    baseline_name: str = "",
    seed: int = 0,
) -> Figure:
    """A figure of one or more runs; None is a run that had nothing to measure."""
    found = _known(values)
    base = _known(baseline)
    value = median(found) if found else None
    base_value = median(base) if base else None
    return Figure(
        bench,
        metric,
        _rounded(value),
        unit,
        _rounded(base_value),
        baseline_name,
        _rounded(value / base_value) if value is not None and base_value else None,
        len(found),
        (_short(min(found)), _short(max(found))) if len(found) > 1 else None,
        seed,
        commit(),
        host(),
    )


def _known(values: Sequence[float | None] | float | None) -> list[float]:
    if values is None or isinstance(values, int | float):
        values = [values]
    return [float(value) for value in values if value is not None]


def _short(value: float) -> float:
    return float(f"{value:.6g}")


def _rounded(value: float | None) -> float | None:
    return None if value is None else _short(value)


@cache
def commit() -> str:
    """The commit of this checkout, with a plus when there are changes."""
    try:
        found = subprocess.run(
            ["git", "-C", str(ROOT), "describe", "--always", "--dirty=+", "--abbrev=12"],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return found.stdout.strip()


@cache
def host() -> str:
    """What kind of machine this is: not its name, which says nothing to others."""
    model = next(
        (
            line.split(":", 1)[1].strip()
            for line in open("/proc/cpuinfo", encoding="utf-8")  # noqa: SIM115, PTH123
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    return f"{model}, {os.cpu_count()} cores, Linux {platform.release().split('-')[0]}"
