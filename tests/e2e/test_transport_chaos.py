# SPDX-License-Identifier: Apache-2.0
"""A minute of `postman bench chaos`: helpers killed, stopped, cut off and restarted and links that lose and delay,
under load; both ends' histories are judged when all has ended. The long run: ./postman bench chaos"""

from __future__ import annotations

import pytest

from postman_cli.bench import chaos
from postman_cli.bench.site import Request
from postman_cli.demo.stack import Stack

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.timeout(400)]

KILLS, PAUSES = 6, 4


def test_nothing_is_lost_duplicated_reordered_or_altered_whatever_dies(stack: Stack) -> None:
    asked = Request(print, seed=7, connections=100, requests=100_000, kills=KILLS, pauses=PAUSES)
    outcome = chaos.torment(asked, stack)
    assert outcome.faults == []
    done = outcome.facts["faults"]
    assert (done["kill"], done["pause"], done["cut"], done["loss"], done["delay"]) == (KILLS, PAUSES, 2, 2, 2)
    assert done["restart"] == 1
    ledger = outcome.facts["ledger"]
    assert ledger["clean"]
    assert ledger["sent"] == ledger["delivered"] >= 2 * 100_000
    found = {figure.metric: figure for figure in outcome.figures}
    assert found["moves of the session"].value
    assert found["kill to resume, p50"].value  # some of the kills hit the helper in use, and all connections went on
