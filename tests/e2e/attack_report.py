# SPDX-License-Identifier: Apache-2.0
"""docs/attacks.md, of what test_attacker.py saw."""

from __future__ import annotations

import subprocess
from pathlib import Path
from statistics import median
from typing import Any

JUDGED = ("lost", "duplicated", "reordered", "altered")

HEAD = """# Attacks in the lab

Written at commit {commit} by `POSTMAN_ATTACK_S={seconds:g} POSTMAN_ATTACKS_DOC=docs/attacks.md .venv/bin/pytest
tests/e2e/test_attacker.py`, which also asserts what [security.md](security.md) says of it; `./postman test` runs a
short one. Real parts: control plane, two DPDK helpers, a server, {connections} connections by the helpers with
{rate:g} requests a second, and {openers} clients that open one connection after the other, each of a new session. All
of that and the attackers share two cores. The attackers sit at the switch, with captures of the client's leg and of
the trunk.

**No connection was stolen, corrupted or starved:**

{verdict}

## Attempts
"""

FLOODS = """
## Floods of OPEN
Each OPEN comes from another address and port. *Made up*: one captured OPEN, as it is or with another token, session id
or MAC. *Authentic*: {authentic} OPENs of another client with a valid token of its own, each of another session and
sealed with that session's key. The sender has priority; server, helpers, clients and control plane share what it
leaves of two cores. In as much quiet time there are {quiet} replies.
"""


def commit() -> str:
    argv = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()


def refused(drops: dict[str, dict[str, int]]) -> str:
    said = [f"{end}: " + ", ".join(f"{why} {n}" for why, n in sorted(counts.items())) for end, counts in drops.items()]
    return "; ".join(said) or "nothing: repeated what is known"


def attempts(rows: list[dict[str, Any]]) -> str:
    lines = ["| attempt | attacker | at | sent | bytes | answered to a spoofed address | dropped by name | rules |"]
    lines.append("|---|---|---|---|---|---|---|---|")
    for row in rows:
        ratio = f"{row['bytes_to_spoofed_address']} bytes ({row['bytes_to_spoofed_address'] / row['bytes']:.2f})"
        lines.append(
            f"| {row['name']} | {row['attacker']} | {row['target']} | {row['sent']} | {row['bytes']} | {ratio} "
            f"| {refused(row['drops'])} | {row['rules']} |"
        )
    return "\n".join(lines)


def times_ms(opens: list[list[float]], began_s: float, ended_s: float) -> list[float]:
    """Of the opens that had any part in this time."""
    return sorted(1e3 * (end - begin) for begin, end in opens if begin < ended_s and end > began_s)


def floods(report: dict[str, Any]) -> str:
    opens = report["opens"]
    figures: list[tuple[str, list[str]]] = []

    def row(name: str, values: list[Any]) -> None:
        figures.append((name, [str(value) for value in values]))

    both = report["floods"]
    row("OPENs sent, of 136 bytes", [flood["sent"] for flood in both])
    row("seconds", [flood["seconds"] for flood in both])
    row("**offered: a second, by the sender**", [f"{flood['rate_per_s']:.0f}" for flood in both])
    row("datagrams to the server's host (counter of the interface)", [f["offered"]["packets"] for f in both])
    row("of these dropped at the full queue of the server's socket", [f["queue"].get("RcvbufErrors", 0) for f in both])
    row("datagrams read by the server", [flood["server"]["datagrams_in"] for flood in both])
    row("OPENs with a wrong token; with a wrong MAC", [f"{drop(f, 'token')}; {drop(f, 'mac')}" for f in both])
    row("OPENs that held", [flood["server"]["opens"] for flood in both])
    row("cookies asked for (S17)", [flood["server"]["open_cookies"] for flood in both])
    row("refused at a limit (S17)", [drop(flood, "limit") for flood in both])
    row("connections accepted, honest ones included", [flood["server"]["accepts"] for flood in both])
    row("sessions afterwards; more than before", [f"{f['sessions']}; {f['server']['sessions']}" for f in both])
    row("the server's memory grew by", [f"{flood['rss_bytes'] / 2**20:.1f} MiB" for flood in both])
    row("bytes answered per byte", [f"{f['bytes_to_spoofed_address'] / f['bytes']:.3f}" for f in both])
    row("replies to honest connections meanwhile", [flood["replies"] for flood in both])
    honest = [times_ms(opens, flood["began_s"], flood["ended_s"]) for flood in both]
    row("**honest opens meanwhile, none of which failed**", [len(times) for times in honest])
    row("their time: median; longest (not asserted)", [f"{median(t):.1f} ms; {t[-1]:.1f} ms" for t in honest])
    lines = ["| | made up | authentic |", "|---|---|---|"]
    return "\n".join(lines + [f"| {name} | {' | '.join(values)} |" for name, values in figures])


def drop(flood: dict[str, Any], name: str) -> int:
    return int(flood["drops"].get(name, 0))


def verdict(report: dict[str, Any]) -> str:
    final = report["final"]
    client, server = final["client"], final["server"]
    times = sorted(1e3 * (end - begin) for begin, end in report["opens"])

    def judged(book: dict[str, Any]) -> str:
        return ", ".join(f"{word} {book[word]}" for word in JUDGED)

    return f"""- At the client {client["received"]} replies: {judged(client)};
  connections that ended: {client["errors"]}.
- At the server {server["received"]} requests: {judged(server)}.
- Opened by clients that open one after the other: {len(times)}; over plain TCP, because the registry
  did not answer within 2 s (the only reason allowed): {len(report["not_vcl"])};
  time to open: median {median(times):.1f} ms, longest {times[-1]:.1f} ms (not asserted).
- Before the floods the server had accepted {report["accepted"]} connections; clients had asked for {report["honest"]}
  at most. {report["again"]} answers to OPENs named a second connection for an OPEN that was seen before, each after the
  first one and its tombstone had ended. Nobody speaks on such a connection; it ends by S14."""


def document(report: dict[str, Any]) -> str:
    quiet = round(report["run"]["seconds"] * report["run"]["rate"])
    head = HEAD.format(commit=commit(), verdict=verdict(report), **report["run"])
    return (
        head
        + attempts(report["rows"])
        + "\n"
        + FLOODS.format(**report["run"], quiet=quiet)
        + "\n"
        + floods(report)
        + "\n"
    )
