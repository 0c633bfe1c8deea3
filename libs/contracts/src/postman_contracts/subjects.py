# SPDX-License-Identifier: Apache-2.0
"""All NATS subject names, and the names of the JetStream stream that keeps the facts."""

from __future__ import annotations

from typing import Final, Literal

PREFIX: Final = "postman.v1"

FACTS_STREAM: Final = "POSTMAN_FACTS"
"""JetStream stream that holds every fact."""

FACTS_ALL: Final = f"{PREFIX}.fact.>"
"""Every fact: what the stream keeps, and what clients' agents listen to."""

HELPER_FACTS_ALL: Final = f"{PREFIX}.fact.helper.*"
SERVER_FACTS_ALL: Final = f"{PREFIX}.fact.server.*"
VERDICT_FACTS_ALL: Final = f"{PREFIX}.fact.verdict.*"
ASSIGNMENT_FACTS_ALL: Final = f"{PREFIX}.fact.assignment.*"
HELPER_HEARTBEATS_ALL: Final = f"{PREFIX}.heartbeat.helper.*"
HELPER_REPORTS_ALL: Final = f"{PREFIX}.report.helper.*"
HELPER_VERDICTS_ALL: Final = f"{PREFIX}.verdict.helper.*"

HelperFactKind = Literal["up", "down", "draining", "gone"]
ServerFactKind = Literal["up", "down", "gone"]
VerdictFactKind = Literal["suspect", "down", "up"]
AssignmentFactKind = Literal["changed"]


def helper_heartbeat(helper_id: int) -> str:
    """Core subject on which the supervisor of this helper says that it lives."""
    return f"{PREFIX}.heartbeat.helper.{helper_id}"


def helper_order(helper_id: int) -> str:
    """Core subject on which the supervisor of this helper hears orders."""
    return f"{PREFIX}.order.helper.{helper_id}"


def helper_report(helper_id: int) -> str:
    """Core subject on which the supervisor of this helper says what it saw happen to its worker."""
    return f"{PREFIX}.report.helper.{helper_id}"


def helper_verdict(helper_id: int) -> str:
    """Core subject on which health says at once what it holds of this helper, and again while it is not up."""
    return f"{PREFIX}.verdict.helper.{helper_id}"


def helper_fact(kind: HelperFactKind) -> str:
    """Subject of a fact about helpers."""
    return f"{PREFIX}.fact.helper.{kind}"


def server_fact(kind: ServerFactKind) -> str:
    """Subject of a fact about servers."""
    return f"{PREFIX}.fact.server.{kind}"


def verdict_fact(kind: VerdictFactKind) -> str:
    """Subject of a verdict as a fact: the history of what `helper_verdict` said."""
    return f"{PREFIX}.fact.verdict.{kind}"


def assignment_fact(kind: AssignmentFactKind) -> str:
    """Subject of a fact about who uses which helper."""
    return f"{PREFIX}.fact.assignment.{kind}"


def fact_kind(subject: str) -> tuple[str, str] | None:
    """Split a fact's subject into (what it is about, what happened), or None if it is no fact of this version.

    >>> fact_kind("postman.v1.fact.helper.down")
    ('helper', 'down')
    """
    parts = subject.split(".")
    if len(parts) != 5 or parts[:3] != ["postman", "v1", "fact"]:
        return None
    return parts[3], parts[4]
