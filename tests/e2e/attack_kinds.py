# SPDX-License-Identifier: Apache-2.0
"""What is attempted in test_attacker.py, but floods."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Attempt:
    name: str
    attacker: str
    makes: str  # what attacker.py makes
    target: str  # "server", "helper" or "client"
    rules: str


ATTEMPTS = (
    Attempt("Data with a guessed connection id", "off path", "data, guessed id; spoofed", "server", "W5, W7"),
    Attempt("Data with a guessed connection id", "off path", "data, guessed id; spoofed", "helper", "W5, W9"),
    Attempt("RESUME of a known session, guessed MAC", "on path", "forged RESUME; spoofed", "server", "W6, S3"),
    Attempt("RESUME of a known session, guessed MAC", "on path", "forged RESUME", "helper", "W6, S3"),
    Attempt(
        "Data of a known connection, guessed numbers and check", "on path", "data, known id; spoofed", "server", "W7"
    ),
    Attempt("Data of a known connection, guessed numbers and check", "on path", "data, known id", "client", "W7"),
    Attempt(
        "OPEN, RESUME, PROBE copied, from another address", "on path", "copied control; spoofed", "server", "S2, S3, S8"
    ),
    Attempt(
        "OPEN, RESUME, PROBE copied, from another address", "on path", "copied control; spoofed", "helper", "S2, S3, S8"
    ),
    Attempt("Data copied, from another address", "on path", "copied data; spoofed", "server", "S6, C2"),
    Attempt("Everything copied, from its own address", "on path", "copies", "helper", "C2, S3"),
    Attempt("Everything copied, from its own address", "on path", "copies", "client", "C2"),
    Attempt("Batches copied, from their own address", "on path (trunk)", "copies; trunk", "server", "T2"),
    Attempt("Batches copied, from another address", "on path (trunk)", "copies; trunk; spoofed", "server", "T2, T3"),
    Attempt(
        "Batches with another number, or one bit altered", "on path (trunk)", "altered batches; trunk", "server", "T1"
    ),
    Attempt(
        "Frames with one bit altered, from another address", "on path", "altered frames; spoofed", "server", "W6, W7"
    ),
)
# What claims to come from the server: an OPEN_ACK among them says nothing of what the server opened.
FORGED_ANSWERS = (
    Attempt("Answers of the server with guessed MACs and tokens", "on path", "forged answers", "client", "W6, C9"),
    Attempt("BUSY and PONG (they have no MAC)", "on path", "forged hints", "client", "O3, S11"),
)
