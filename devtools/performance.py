#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the figures of `./postman bench --all --json` into docs/performance.md, between its two marks.

    ./postman bench --all --json > figures.jsonl  &&  devtools/performance.py figures.jsonl

Figures of several hosts in one file, or of several commits in one bench, are refused: they are not to be compared."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "performance.md"
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"


def number(value: float | None) -> str:
    """Four digits, or a dash."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def row(figure: dict[str, Any]) -> str:
    """One line of a table."""
    baseline = f"{number(figure['baseline'])} ({figure['baseline_name']})" if figure["baseline"] is not None else "-"
    spread = " … ".join(number(value) for value in figure["spread"]) if figure["spread"] else "-"
    cells = (
        figure["metric"],
        f"{number(figure['value'])} {figure['unit']}",
        baseline,
        number(figure["ratio"]),
        str(figure["runs"]),
        spread,
    )
    return f"| {' | '.join(cells)} |"


def render(figures: list[dict[str, Any]]) -> str:
    """All tables. ValueError when the figures do not belong together, or there are none."""
    hosts = {figure["host"] for figure in figures}
    if len(hosts) != 1:
        raise ValueError(f"figures of one host are wanted, not of {sorted(hosts)}")
    lines = [f"{hosts.pop()}."]
    for bench in dict.fromkeys(figure["bench"] for figure in figures):
        of_bench = [figure for figure in figures if figure["bench"] == bench]
        commits = {figure["commit"] for figure in of_bench}
        if len(commits) != 1:
            raise ValueError(f"{bench}: figures of one commit are wanted, not of {sorted(commits)}")
        lines += ["", f"### {bench}", f"Commit {commits.pop()}.", ""]
        lines += ["| metric | value | baseline | ratio | runs | spread |", "|" + "---|" * 6]
        lines += [row(figure) for figure in of_bench]
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    """Exit status 2 for wrong usage."""
    if len(arguments) != 1:
        sys.stderr.write(f"{__doc__}\n")
        return 2
    figures = [json.loads(line) for line in Path(arguments[0]).read_text().splitlines() if line.startswith("{")]
    text = DOCUMENT.read_text()
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    DOCUMENT.write_text(f"{before}{BEGIN}\n{render(figures)}\n{END}{after}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
