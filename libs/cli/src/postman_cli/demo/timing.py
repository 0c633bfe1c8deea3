# SPDX-License-Identifier: Apache-2.0
"""Pure arithmetic on the demo's time stamps: phases, percentiles, and what a helper's death cost each connection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Times = Mapping[str, Mapping[str, Sequence[int]]]  # connection -> {"sent_ns": [...], "replied_ns": [...]}

# A silence counts as the death's when it begins no later than this after it: by then whatever the dead helper
# had already passed on has arrived.
_ONSET_NS_MAX = 20_000_000


def percentile(ordered: Sequence[float], share: float) -> float | None:
    """Nearest-rank percentile of an ordered sequence; None of an empty one."""
    if not ordered:
        return None
    return ordered[min(len(ordered) - 1, max(0, -(-int(share * 1000) * len(ordered) // 1000) - 1))]


@dataclass
class Phase:
    name: str
    seconds: float
    sent: int
    delivered: int
    requests_per_s: float
    p50_us: float | None
    p99_us: float | None


def phase(name: str, times: Times, begin_ns: int, end_ns: int) -> Phase:
    """Requests sent and replies delivered in [begin, end), with the latency of the replies that came in it."""
    sent = delivered = 0
    latencies_us: list[float] = []
    for connection in times.values():
        sent += sum(begin_ns <= at < end_ns for at in connection["sent_ns"])
        for sent_ns, replied_ns in zip(connection["sent_ns"], connection["replied_ns"], strict=False):
            if begin_ns <= replied_ns < end_ns:
                delivered += 1
                latencies_us.append((replied_ns - sent_ns) / 1000)
    latencies_us.sort()
    seconds = max(end_ns - begin_ns, 1) / 1e9
    return Phase(
        name,
        seconds,
        sent,
        delivered,
        delivered / seconds,
        percentile(latencies_us, 0.5),
        percentile(latencies_us, 0.99),
    )


def resume_times_ms(times: Times, killed_ns: int) -> list[float]:
    """For each connection: from the kill to the first reply after the longest silence that the kill began; ordered.

    A connection that had all its replies before the kill has none.
    """
    result = []
    for connection in times.values():
        replies = connection["replied_ns"]
        gaps = [
            (after - before, after)
            for before, after in zip([killed_ns, *replies], replies, strict=False)
            if after > killed_ns and before <= killed_ns + _ONSET_NS_MAX
        ]
        if gaps:
            result.append((max(gaps)[1] - killed_ns) / 1e6)
    return sorted(result)
