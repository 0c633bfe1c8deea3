# SPDX-License-Identifier: Apache-2.0
"""What a 64-byte message costs on a helper's trunk, counted in a capture of a real run (docs/protocol.md W10, T6)."""

from __future__ import annotations

import pytest

from postman_cli.bench import header
from postman_cli.bench.site import Request
from postman_cli.demo.stack import Stack

pytestmark = [pytest.mark.root, pytest.mark.timeout(240)]

CHECKED_BYTES_MAX, BARE_BYTES_MAX = 12, 8


def test_a_message_has_at_most_12_header_bytes_and_8_without_its_check(stack: Stack) -> None:
    stack.helpers.pop("h2").stop(timeout_s=60)  # which of two the client uses would be the registry's choice
    outcome = header.measure(Request(print, connections=64, requests=20_000), stack)
    assert outcome.faults == [], outcome.facts
    found = {figure.metric: figure.value or 0 for figure in outcome.figures}
    for way in ("requests", "replies"):
        assert found[f"{way}: quiet message with its check, mean"] <= CHECKED_BYTES_MAX, outcome.facts
        assert found[f"{way}: quiet message without its check, mean"] <= BARE_BYTES_MAX, outcome.facts
