# SPDX-License-Identifier: Apache-2.0
"""Parts that end are started again, and given up if each start fails, however long a start takes."""

from __future__ import annotations

import time

import pytest

from postman_cli.revival import EARLY_ENDS_MAX, EARLY_S, Revival
from postman_kit.embedded import EmbeddedError


@pytest.mark.parametrize("start_s", [0.0, EARLY_S * 2])
def test_a_part_that_ends_at_each_start_is_given_up(monkeypatch: pytest.MonkeyPatch, start_s: float) -> None:
    now_s = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now_s)

    def start() -> None:
        nonlocal now_s
        now_s += start_s
        raise EmbeddedError("no space")

    part = Revival("nats", lambda: "nats ended", start)
    now_s += EARLY_S * 2  # it has worked for a while
    for _ in range(EARLY_ENDS_MAX):
        assert "no space" in part.look()
    with pytest.raises(EmbeddedError, match=f"{EARLY_ENDS_MAX} times in a row"):
        part.look()
