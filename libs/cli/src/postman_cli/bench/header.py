# SPDX-License-Identifier: Apache-2.0
"""bench header: what a helper's trunk carries beside the application's bytes, from a capture of a real run.

tcpdump listens at the switch port of the only helper while 64-byte requests and replies pass; trunk_capture.py decodes
every batch. For each entry with exactly one 64-byte message: its bytes beside the payload, with the check and without
its 4 bytes. That is what a message adds; its share of the batch's own 40 bytes and of Ethernet, IP and UDP (42) is
given apart, because it depends on how many messages meet in a batch. For scale: the same message in a TCP segment of
its own has 54 (no options).

Counted is what is sent from a second after the load has begun, when bindings have been made. The quiet messages among
these are those of connections of which nothing was sent again, either way, in the 0.3 s before: a busy machine, which
lets a process wait for longer than a probe timeout, has more of the others, and long frames for them (W10)."""

from __future__ import annotations

import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from ..demo.stack import Stack
from .catalog import Outcome
from .figure import figure
from .load import Load
from .site import Request, whole_stack
from .trunk_capture import CaptureError, TrunkBatch, TrunkEntry, batches

CONNECTIONS, REQUESTS = 1000, 40_000
THINK_US_PER_CONNECTION = 250
SETTLE_S, QUIET_S = 1.0, 0.3
MESSAGE_BYTES = 64
TRUNK_PORT = 4702
WIRE_BYTES = 42
TCP_BYTES = 54
BATCHES_MAX = 200_000


def run(request: Request) -> Outcome:
    """One capture."""
    with whole_stack(request, "header", helpers=1) as stack:
        return measure(request, stack)


def measure(request: Request, stack: Stack) -> Outcome:
    """With a stack that has one helper."""
    path, steady_s, verdict_clean, errors = _capture(request, stack)
    outcome = Outcome()
    if not verdict_clean or errors:
        outcome.faults.append(f"the ledger is clean: {errors[:3]}")
    try:
        found = list(batches(path, TRUNK_PORT))
    except CaptureError as error:
        outcome.faults.append(f"the capture decodes to its last byte: {error}")
        return outcome
    quiet = _quiet(found)
    for way, from_helper in (("requests", True), ("replies", False)):
        here = [
            number
            for number, batch in enumerate(found)
            if (batch.source_port == TRUNK_PORT) == from_helper and batch.at_s >= steady_s
        ]
        _figures(request, outcome, way, [found[number] for number in here], [m for n in here for m in quiet[n]])
    return outcome


def _quiet(found: list[TrunkBatch]) -> list[list[TrunkEntry]]:
    """Of each batch the messages of connections of which nothing was sent again lately, either way."""
    connection_of: dict[int, int] = {}
    resent_s: dict[int, float] = {}
    quiet: list[list[TrunkEntry]] = []
    for batch in found:
        quiet.append([])
        for entry in batch.entries:
            if entry.kind == "control":
                connection_of.update({entry.index: entry.connection} if entry.connection else {})
                continue
            connection = entry.connection or connection_of.get(entry.index, 0)
            if entry.resent:
                resent_s[connection] = batch.at_s
            elif entry.payload == MESSAGE_BYTES and batch.at_s - resent_s.get(connection, 0) > QUIET_S:
                quiet[-1].append(entry)
    return quiet


def _capture(request: Request, stack: Stack) -> tuple[Path, float, bool, list[str]]:
    helper = next(iter(stack.helpers))
    path = stack.work_dir / "trunk.pcap"
    connections = request.connections or CONNECTIONS
    load = Load(stack)
    command = ["tcpdump", "-i", f"d-{helper}", "-B", "16384", "-w", str(path), "-c", str(BATCHES_MAX)]
    dump = stack.lab.switch.start([*command, f"udp and port {TRUNK_PORT}"], stderr=subprocess.DEVNULL)
    try:
        load.start(connections, VCL_PATHS="helpers")
        load.begin("steady", "closed", think_us=THINK_US_PER_CONNECTION * connections)
        load.await_replies(2 * connections, lambda replies: None)  # every flow is known to the helper
        time.sleep(SETTLE_S)
        steady_s = time.time()
        wanted = load.replies_now + (request.requests or REQUESTS)
        load.await_replies(wanted, lambda replies: request.say(f"{replies:,} of {wanted:,} replies"))
    finally:
        dump.terminate()
        dump.wait()
    verdict, _ = load.finish()
    return path, steady_s, verdict.clean, load.errors


def _figures(request: Request, outcome: Outcome, way: str, found: list[TrunkBatch], quiet: list[TrunkEntry]) -> None:
    entries = [entry for batch in found for entry in batch.entries]
    messages = [entry for entry in entries if entry.payload == MESSAGE_BYTES]
    outcome.facts[f"entries, {way}"] = dict(Counter(entry.kind for entry in entries))
    outcome.facts[f"header bytes without the check, quiet {way}"] = dict(Counter(entry.header for entry in quiet))
    if not messages or not quiet:
        outcome.faults.append(f"the capture has {way}, and some of connections of which nothing was sent again")
        return

    def add(metric: str, value: float, unit: str = "bytes", **more: Any) -> None:
        outcome.figures.append(figure("header", f"{way}: {metric}", value, unit, seed=request.seed, **more))

    for which, counted in (("quiet message", quiet), ("message", messages)):
        bare = np.array([entry.header for entry in counted])
        checked = bare + np.array([entry.check for entry in counted])
        for name, values in (("with its check", checked), ("without its check", bare)):
            add(f"{which} {name}, mean", float(values.mean()), baseline=TCP_BYTES, baseline_name="TCP segment")
            add(f"{which} {name}, p99", float(np.percentile(values, 99, method="inverted_cdf")))
        add(f"{which}s in short entries", sum(entry.kind == "short" for entry in counted) / len(counted), "share")
    add("quiet messages of all", len(quiet) / len(messages), "share")
    per_batch = sum(len(batch.entries) for batch in found) / len(found)
    everything = sum(batch.length + WIRE_BYTES for batch in found) - sum(entry.payload for entry in entries)
    payload = sum(entry.payload for entry in entries)
    add("entries in a batch, mean", per_batch, "entries")
    add("all bytes beside payload, for each 64 of payload", everything / payload * MESSAGE_BYTES)
