#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The 64 cases of the transport: what may go wrong, what must hold then, and the one test that shows it.

A case's test is a C function `case_NN_words` (cmocka) or a Python function `test_case_NN_words`, anywhere in the tree.

    devtools/cases.py           writes docs/cases.md
    devtools/cases.py --check   fails when a case has no test or two, when a number means nothing, when a test is not
                                run, or when docs/cases.md is not what would be written
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "docs" / "cases.md"
SOURCES = ("*.c", "*.py")
C_TEST = re.compile(r"^static void (case_(\d\d)_\w+)\(", re.MULTILINE)
PYTHON_TEST = re.compile(r"^ *(?:async )?def (test_case_(\d\d)_\w+)\(", re.MULTILINE)
COMPLETE = True  # every case has its test: from then on a missing one is a complaint
# number, what goes wrong, invariants of docs/failure-model.md
CASES: tuple[tuple[int, str, str], ...] = (
    (1, "A helper is killed while its connections are idle", "I4 at the next send, I9"),
    (2, "A helper is killed with requests on their way", "I1, I4"),
    (3, "A helper is killed after the server has its batch and before the replies are out", "I1: executed once"),
    (4, "A helper is killed between BIND and BIND_ACK", "I2"),
    (5, "A helper stands still for a second, then sends what it had", "I1, I2, I3"),
    (6, "A helper stands still for 10 ms", "I8: no move, or one that harms nobody"),
    (7, "A helper starts again under its id and gives the same indexes to other flows", "I2"),
    (8, "A batch of replies for the last incarnation of a helper reaches the next one", "I2"),
    (9, "A helper loses all that goes to the server, and nothing else", "I4"),
    (10, "A helper loses all that comes from the server, and nothing else", "I4"),
    (11, "A helper loses a third of the datagrams above 1,000 bytes", "I4, by smaller frames"),
    (12, "A helper loses one flow and carries all others", "I4 for that flow; nobody else moves"),
    (13, "A helper is 20 ms slower from now on", "a move only to something better; none back and forth"),
    (14, "A helper alters a bit of a payload", "I1"),
    (15, "A helper exchanges two payloads of one length", "I2"),
    (16, "A helper sends every batch twice", "I1"),
    (17, "A helper changes the order of batches within a millisecond", "I1, hardly anything is sent twice"),
    (18, "Two helpers die 5 ms apart, the second one during the move to it", "I3, I4"),
    (19, "All helpers die", "I4 by the direct path, I8"),
    (20, "All helpers die under twice the load that the server can take", "I8: the storm of RESUMEs is bounded"),
    (21, "The control plane sends a client elsewhere than it is moving to", "I3: the client's epoch decides"),
    (22, "A helper is taken away while its clients are leaving it", "I3"),
    (23, "A planned move with very many frames in flight", "I1, no PTO, nothing sent twice"),
    (24, "A helper comes and goes each 30 ms", "moves are spaced, the helper is held down"),
    (25, "The client reaches the helper, the helper does not reach the server", "I4"),
    (26, "A client is cut off from everything for 5 s", "I1, I4"),
    (27, "A client is cut off for longer than T_hold", "I9 at both ends"),
    (28, "The server stands still for 2 s: every path is silent", "at most three moves"),
    (29, "The server dies and another one starts at its address", "I9, nothing is silently opened again"),
    (30, "The server starts again while a helper keeps its old bindings", "I2, I7"),
    (31, "A client process dies", "I5: the server forgets it"),
    (32, "RESUME is lost, and the second one too", "I3, I4, moved within 50 ms"),
    (33, "RESUME_ACK is lost: the server has moved, the client has not heard", "I3"),
    (34, "RESUME arrives a hundred times", "I3, I6: one change"),
    (35, "A RESUME arrives after the one of the next epoch", "I3: it is ignored"),
    (36, "A RESUME is repeated from another address a minute later", "I3, I7"),
    (37, "RESUME with a wrong MAC, cut short, for another server, by another helper", "I7"),
    (38, "A valid RESUME from an address that is not its sender's", "I6, back to the old path"),
    (39, "PATH_RESPONSE is lost six times", "back, and again"),
    (40, "300 moves: the low eight bits of the epoch come round", "I3"),
    (41, "Streams pass offset 2^16, 2^32, and begin near 2^32", "I1"),
    (42, "A frame from 2^16 bytes ago appears on the path in use", "I1"),
    (43, "A frame of the last epoch has the truncated offset of a current one", "I1"),
    (44, "Bytes are acknowledged that were never sent", "I7"),
    (45, "Resent frames are cut at other offsets than at first", "I1"),
    (46, "FIN is lost, comes twice, crosses a RESUME", "I1, an orderly end"),
    (47, "One OPEN arrives through two helpers", "one connection"),
    (48, "A flood of OPENs from invented addresses", "I5, I6; honest ones get through"),
    (49, "Expired tokens, clocks a minute off, keys that rotate", "OPEN is refused, RESUME works"),
    (50, "A connection id comes again within its tombstone", "I2"),
    (51, "One batch with messages of many flows is lost", "I1, I8: the trunk mends it"),
    (52, "NACK is lost, or comes when the ring has moved on", "I1: the endpoints mend it"),
    (53, "A third of everything is lost in bursts, both ways, for 10 s", "I1, I4, I8"),
    (54, "Three times the load that the server can take, for 10 s", "I8, I10: goodput stays, recovery is prompt"),
    (55, "Very many BUSYs, and forged ones", "I7: a delay of 50 ms at most"),
    (56, "Credit is lost, comes in another order, passes 2^32", "I10"),
    (57, "A helper dies with all the credit", "I10: it is given again"),
    (58, "The receiver's window is shut, and the word that it opened is lost", "I4"),
    (59, "One flow sends nine tenths of all bytes", "the others hardly notice"),
    (60, "Large frames stop passing in the middle of a transfer", "I4 within 20 ms"),
    (61, "The address of a client changes in the middle of a connection", "I7"),
    (62, "A client's own loop stands still for 40 ms", "no move"),
    (63, "An application does not read", "I5"),
    (64, "Very many idle connections, and then a helper dies", "I5: nothing happens before traffic"),
)


@dataclass(frozen=True)
class Test:
    """Where a case is shown."""

    number: int
    function: str
    path: Path
    registered: bool


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing, fail on what is missing or outdated")
    check = parser.parse_args().check
    tests = sorted(find_tests(), key=lambda test: (test.number, test.function))
    complaints = list(judge(tests))
    table = render(tests)
    if check:
        if not TABLE.exists() or TABLE.read_text() != table:
            complaints.append("docs/cases.md is not up to date: devtools/cases.py writes it")
    else:
        TABLE.write_text(table)
    missing = sorted({number for number, _, _ in CASES} - {test.number for test in tests})
    if missing:
        print(f"no test yet: {', '.join(str(number) for number in missing)}")
    for complaint in complaints:
        print(complaint)
    print(f"cases: {len(complaints)} complaints")
    return 1 if complaints else 0


def find_tests() -> Iterator[Test]:
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *SOURCES]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in sorted(set(listed.split("\0")) - {""}):
        path = ROOT / name
        if path.is_file():
            yield from tests_of(Path(name), path.read_text())


def tests_of(path: Path, text: str) -> Iterator[Test]:
    """A C test must be named in its file once more, in the list of what is run; pytest finds its own."""
    pattern = C_TEST if path.suffix == ".c" else PYTHON_TEST
    for match in pattern.finditer(text):
        registered = path.suffix == ".py" or len(re.findall(rf"\b{match[1]}\b", text)) > 1
        yield Test(int(match[2]), match[1], path, registered)


def judge(tests: list[Test]) -> Iterator[str]:
    known = {number for number, _, _ in CASES}
    for number in sorted(known):
        of_case = [test for test in tests if test.number == number]
        if not of_case and COMPLETE:
            yield f"case {number}: no test"
        for test in of_case[1:]:
            yield f"case {number}: {of_case[0].function} and {test.function} both claim it"
    for test in tests:
        if test.number not in known:
            yield f"{test.path}: {test.function}: there is no case {test.number}"
        if not test.registered:
            yield f"{test.path}: {test.function} is never run"


def render(tests: list[Test]) -> str:
    first = {test.number: test for test in reversed(tests)}
    lines = [
        "# The 64 cases",
        "",
        "Written by `devtools/cases.py` from its list and the tests that it finds; `./postman test --only lint` checks",
        "it. The invariants I1 to I10 are those of [failure-model.md](failure-model.md).",
        "",
        "| no. | what goes wrong | what must hold | test |",
        "|---|---|---|---|",
    ]
    for number, fault, invariant in CASES:
        test = first.get(number)
        shown = f"`{test.function}` in `{test.path}`" if test else "missing"
        lines.append(f"| {number} | {fault} | {invariant} | {shown} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
