# SPDX-License-Identifier: Apache-2.0
"""bench header: what a helper's trunk carries beside the application's bytes, from a capture of a real run.

tcpdump listens at the switch port of the only helper while 64-byte requests and replies pass; trunk_capture.py decodes
every batch. For each entry with exactly one 64-byte message: its bytes beside the payload, with the check and without
its 4 bytes. That is what a message adds; its share of the batch's own 40 bytes and of Ethernet, IP and UDP (42) is
given apart, because it depends on how many messages meet in a batch. For scale: the same message in a TCP segment of
its own has 54 (no options)."""

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
from .trunk_capture import CaptureError, TrunkBatch, batches

CONNECTIONS, REQUESTS = 1000, 200_000
THINK_US_PER_CONNECTION = 40
MESSAGE_BYTES = 64
TRUNK_PORT = 4702
WIRE_BYTES = 42
TCP_BYTES = 54
BATCHES_MAX = 50_000


def run(request: Request) -> Outcome:
    """One capture."""
    with whole_stack(request, "header", helpers=1) as stack:
        return measure(request, stack)


def measure(request: Request, stack: Stack) -> Outcome:
    """With a stack that has one helper."""
    path, verdict_clean, errors = _capture(request, stack)
    outcome = Outcome()
    if not verdict_clean or errors:
        outcome.faults.append(f"the ledger is clean: {errors[:3]}")
    try:
        found = list(batches(path, TRUNK_PORT))
    except CaptureError as error:
        outcome.faults.append(f"the capture decodes to its last byte: {error}")
        return outcome
    for way, from_helper in (("requests", True), ("replies", False)):
        _figures(request, outcome, way, [batch for batch in found if (batch.source_port == TRUNK_PORT) == from_helper])
    return outcome


def _capture(request: Request, stack: Stack) -> tuple[Path, bool, list[str]]:
    helper = next(iter(stack.helpers))
    path = stack.work_dir / "trunk.pcap"
    connections = request.connections or CONNECTIONS
    load = Load(stack)
    load.start(connections, VCL_PATHS="helpers")
    load.begin("warm", "closed", think_us=THINK_US_PER_CONNECTION * connections)
    load.await_replies(2 * connections, lambda replies: None)  # every flow is known to the helper
    command = ["tcpdump", "-i", f"d-{helper}", "-B", "16384", "-w", str(path), "-c", str(BATCHES_MAX)]
    dump = stack.lab.switch.start([*command, f"udp and port {TRUNK_PORT}"], stderr=subprocess.DEVNULL)
    try:
        time.sleep(0.5)  # tcpdump says nothing once it listens; a late start only makes the capture shorter
        wanted = load.replies_now + (request.requests or REQUESTS)
        load.await_replies(wanted, lambda replies: request.say(f"{replies:,} of {wanted:,} replies"))
    finally:
        dump.terminate()
        dump.wait()
    verdict, _ = load.finish()
    return path, verdict.clean, load.errors


def _figures(request: Request, outcome: Outcome, way: str, found: list[TrunkBatch]) -> None:
    entries = [entry for batch in found for entry in batch.entries]
    messages = [entry for entry in entries if entry.payload == MESSAGE_BYTES]
    outcome.facts[f"entries, {way}"] = dict(Counter(entry.kind for entry in entries))
    if not messages:
        outcome.faults.append(f"the capture has {way}")
        return

    def add(metric: str, value: float, unit: str = "bytes", **more: Any) -> None:
        outcome.figures.append(figure("header", f"{way}: {metric}", value, unit, seed=request.seed, **more))

    checked = np.array([entry.header + entry.check for entry in messages])
    bare = np.array([entry.header for entry in messages])
    for name, values in (("with its check", checked), ("without its check", bare)):
        add(f"header of a message {name}, mean", float(values.mean()), baseline=TCP_BYTES, baseline_name="TCP segment")
        add(f"header of a message {name}, p50", float(np.percentile(values, 50, method="inverted_cdf")))
        add(f"header of a message {name}, p99", float(np.percentile(values, 99, method="inverted_cdf")))
    share = sum(entry.kind == "short" for entry in messages) / len(messages)
    per_batch = sum(len(batch.entries) for batch in found) / len(found)
    everything = sum(batch.length + WIRE_BYTES for batch in found) - sum(entry.payload for entry in entries)
    payload = sum(entry.payload for entry in entries)
    add("messages in short entries", share, "share")
    add("entries in a batch, mean", per_batch, "entries")
    add("all bytes beside payload, for each 64 of payload", everything / payload * MESSAGE_BYTES)
