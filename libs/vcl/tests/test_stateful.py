# SPDX-License-Identifier: Apache-2.0
"""The transport against a model of four lines: what was written is read, in order, once, by the right connection.

Hypothesis invents histories of a client and a server engine and two real relays (libs/vcl/sim/cases/puppet.h) on a
network where nothing arrives unless a rule lets it: it may be delivered, dropped, repeated, reordered and delayed, and
helpers die, return, stand still and are drained. After each history the network is healed, and everything must arrive
and every connection must end, in bounded virtual time (I1, I2, I4, I9 of docs/failure-model.md). The simulator draws
longer histories from a seed; this draws shorter ones, and shrinks what fails to a story of a few lines.

The suite plays the same histories every time. A longer search, with new ones:

    POSTMAN_STATEFUL_EXAMPLES=5000 .venv/bin/pytest libs/vcl/tests/test_stateful.py
"""

from __future__ import annotations

import ctypes
import os
import random
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

LIBRARY = Path(__file__).parents[3] / "build" / "libs" / "vcl" / "sim" / "cases" / "libpuppet.so"
if not LIBRARY.exists():
    pytest.fail("the puppet of the simulator is not built: ./postman build", pytrace=False)

CLIENT, SERVER = SIDES = (0, 1)
EXISTS, OPENED, CLOSED = 1, 2, 4  # puppet_state
OK, ERR_AGAIN, ERR_RESET = 0, 1, 3  # enum vcl_error
HINT_DRAIN, HINT_UP = 2, 3  # enum vcl_hint
HELPERS = 2
HELPER_ID_BASE, HOST_HELPER, HOST_CLIENT = 101, 1, 4  # hosts.h
HOSTS = (0, HOST_HELPER, HOST_HELPER + 1, HOST_CLIENT)
STREAMS_MAX = 4
PENDING_MAX = 1000  # the network loses the oldest ones beyond
LINK_US = 60  # a datagram is at its host after so long
HEALED_US_MAX = 5_000_000  # several times what moves and resends need once nothing is lost; I4 says "bounded"
# Of all waiting in one history: below the 60 s after which a connection without any path may end (T_hold), and the
# 10 s after which an attempt to open one may.
WAITED_US_MAX = 4_000_000


def load() -> ctypes.CDLL:
    library = ctypes.CDLL(str(LIBRARY))
    puppet, u32, u64, i64, text = ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint64, ctypes.c_int64, ctypes.c_char_p
    for name, result, *arguments in (
        ("new", puppet, u32),
        ("fault", text, puppet),
        ("free", ctypes.c_bool, puppet),
        ("open", i64, puppet),
        ("write", i64, puppet, u32, u32, text, ctypes.c_size_t),
        ("read", i64, puppet, u32, u32, text, ctypes.c_size_t),
        ("shutdown", i64, puppet, u32, u32),
        ("reset", i64, puppet, u32, u32),
        ("state", u32, puppet, u32, u32),
        ("error", ctypes.c_int, puppet, u32, u32),
        ("strays", u32, puppet),
        ("pending", u32, puppet),
        ("deliver", None, puppet, u32),
        ("repeat", None, puppet, u32),
        ("drop", None, puppet, u32),
        ("hold", None, puppet, ctypes.c_bool),
        ("now", u64, puppet),
        ("run", None, puppet, u64),
        ("helper_crash", None, puppet, u32),
        ("helper_restart", None, puppet, u32),
        ("pause", None, puppet, u32, u64),
        ("cut", None, puppet, u32, u32, u64),
        ("hint", None, puppet, u32, ctypes.c_int),
        ("calm", None, puppet),
        ("path", u32, puppet),
    ):
        function = getattr(library, f"puppet_{name}")
        function.restype, function.argtypes = result, arguments
    return library


LIB = load()


@dataclass
class End:
    """One end of a connection, as its application remembers it."""

    written: bytearray = field(default_factory=bytearray)
    read: int = 0
    finished: bool = False  # it shut its direction down
    at_end: bool = False  # it read the end of the other's


@dataclass
class Stream:
    number: int
    ends: tuple[End, End] = field(default_factory=lambda: (End(), End()))
    reset: bool = False  # by any end: from then on both may say so, and bytes may be missing at the tail

    def bytes_of(self, side: int, length: int) -> bytes:
        """Unlike the bytes of any other connection, direction or offset."""
        seed = f"{self.number} {side} {len(self.ends[side].written)}"
        return random.Random(seed).randbytes(length)


class Transport(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.world = LIB.puppet_new(HELPERS)
        self.streams: list[Stream] = []
        self.waited_us = 0
        self.buffer = ctypes.create_string_buffer(1 << 16)

    # --- what the application does ---------------------------------------------------------------------------------
    @initialize(warm=st.booleans())
    def begin(self, warm: bool) -> None:
        """Half of the histories start on a connection that works, the others while it opens."""
        self.open()
        if warm:
            self.flow(2000, True)

    @precondition(lambda self: len(self.streams) < STREAMS_MAX)
    @rule()
    def open(self) -> None:
        number = LIB.puppet_open(self.world)
        assert number == len(self.streams)
        self.streams.append(Stream(number))

    def usable(self, stream: Stream, side: int) -> bool:
        state = LIB.puppet_state(self.world, stream.number, side)
        return bool(state & OPENED and state & EXISTS) and not state & CLOSED

    def some(self, draw: int) -> Stream | None:
        return self.streams[draw % len(self.streams)] if self.streams else None

    @rule(draw=st.integers(0, 3), side=st.sampled_from(SIDES), length=st.sampled_from((1, 100, 3000, 20_000, 100_000)))
    def send(self, draw: int, side: int, length: int) -> None:
        stream = self.some(draw)
        if stream is None or stream.ends[side].finished or not self.usable(stream, side):
            return
        data = stream.bytes_of(side, length)
        taken = LIB.puppet_write(self.world, stream.number, side, data, len(data))
        if taken < 0:
            assert taken == -ERR_AGAIN or stream.reset, f"write says {taken}"
        else:
            stream.ends[side].written += data[:taken]

    @rule(draw=st.integers(0, 3), side=st.sampled_from(SIDES))
    def receive(self, draw: int, side: int) -> None:
        stream = self.some(draw)
        if stream is not None:
            self.read_all(stream, side)

    def read_all(self, stream: Stream, side: int) -> None:
        end, peer = stream.ends[side], stream.ends[1 - side]
        while LIB.puppet_state(self.world, stream.number, side) & EXISTS and not end.at_end:
            got = LIB.puppet_read(self.world, stream.number, side, self.buffer, len(self.buffer))
            if got < 0:
                assert got == -ERR_AGAIN or (got == -ERR_RESET and stream.reset), f"read says {got}"
                return
            if got == 0:
                assert peer.finished, "an end of stream that nobody sent"
                assert end.read == len(peer.written), "an end of stream before the last byte"
                end.at_end = True
                return
            assert self.buffer.raw[:got] == peer.written[end.read : end.read + got], f"wrong bytes at {end.read}"
            end.read += got

    @rule(draw=st.integers(0, 3), side=st.sampled_from(SIDES))
    def half_close(self, draw: int, side: int) -> None:
        stream = self.some(draw)
        if stream is not None:
            self.finish(stream, side)

    def finish(self, stream: Stream, side: int) -> None:
        if stream.ends[side].finished or not self.usable(stream, side):
            return
        said = LIB.puppet_shutdown(self.world, stream.number, side)
        assert said == OK or stream.reset, f"shutdown says {said}"
        stream.ends[side].finished = True

    @rule(draw=st.integers(0, 3), side=st.sampled_from(SIDES), sure=st.integers(0, 3))
    def reset(self, draw: int, side: int, sure: int) -> None:
        """One in four: a connection that is reset tells little afterwards."""
        stream = self.some(draw)
        if stream is None or sure != 3 or not self.usable(stream, side):
            return
        stream.reset = True
        assert LIB.puppet_reset(self.world, stream.number, side) == OK

    # --- what the network does ---------------------------------------------------------------------------------------
    def elapse(self, us: int) -> None:
        LIB.puppet_run(self.world, us)
        while LIB.puppet_pending(self.world) > PENDING_MAX:
            LIB.puppet_drop(self.world, 0)

    @rule(us=st.sampled_from((200, 1000, 5000, 20_000)), reads=st.booleans())
    def flow(self, us: int, reads: bool) -> None:
        """What waits and what follows pass, for a while; applications may read what came."""
        LIB.puppet_hold(self.world, False)
        self.deliver(LIB.puppet_pending(self.world))
        self.elapse(us)
        LIB.puppet_hold(self.world, True)
        for stream in self.streams if reads else ():
            for side in SIDES:
                self.read_all(stream, side)

    @rule(count=st.integers(1, 30))
    def deliver(self, count: int) -> None:
        for _ in range(min(count, LIB.puppet_pending(self.world))):
            LIB.puppet_deliver(self.world, 0)
        self.elapse(LINK_US)

    @rule(index=st.integers(1, 30))
    def deliver_out_of_order(self, index: int) -> None:
        LIB.puppet_deliver(self.world, index)
        self.elapse(LINK_US)

    @rule(index=st.integers(0, 30), count=st.integers(1, 8))
    def drop(self, index: int, count: int) -> None:
        for _ in range(count):
            LIB.puppet_drop(self.world, index)

    @rule(index=st.integers(0, 30))
    def duplicate(self, index: int) -> None:
        LIB.puppet_repeat(self.world, index)
        self.elapse(LINK_US)

    @precondition(lambda self: self.waited_us < WAITED_US_MAX)
    @rule(us=st.sampled_from((100, 1000, 10_000, 50_000, 200_000)))
    def wait(self, us: int) -> None:
        """Nothing arrives: timers fire, and what waits is delayed."""
        self.waited_us += us
        for _ in range(0, us, 10_000):
            self.elapse(min(us, 10_000))

    @rule(a=st.sampled_from(HOSTS), b=st.sampled_from(HOSTS), us=st.sampled_from((1000, 30_000, 300_000)))
    def cut(self, a: int, b: int, us: int) -> None:
        LIB.puppet_cut(self.world, a, b, us)

    # --- what happens to processes -----------------------------------------------------------------------------------
    def helper(self, draw: int) -> int:
        """2: the one that the session is on."""
        return draw if draw < HELPERS else max(LIB.puppet_path(self.world) - HELPER_ID_BASE, 0)

    @rule(draw=st.integers(0, 2))
    def kill(self, draw: int) -> None:
        LIB.puppet_helper_crash(self.world, self.helper(draw))

    @rule(draw=st.integers(0, 1))
    def revive(self, draw: int) -> None:
        LIB.puppet_helper_restart(self.world, draw)

    @rule(host=st.sampled_from(HOSTS), us=st.sampled_from((1000, 20_000, 200_000)))
    def pause(self, host: int, us: int) -> None:
        LIB.puppet_pause(self.world, host, us)

    @rule(draw=st.integers(0, 2))
    def planned_move(self, draw: int) -> None:
        LIB.puppet_hint(self.world, HELPER_ID_BASE + self.helper(draw), HINT_DRAIN)

    @rule(draw=st.integers(0, 1))
    def end_of_drain(self, draw: int) -> None:
        LIB.puppet_hint(self.world, HELPER_ID_BASE + draw, HINT_UP)

    # --- what must hold ----------------------------------------------------------------------------------------------
    @invariant()
    def no_rule_is_broken(self) -> None:
        """What the simulator's own checkers see: of trunks, credit and contracts."""
        fault = LIB.puppet_fault(self.world)
        assert fault is None, fault.decode()

    @invariant()
    def no_error_without_a_cause(self) -> None:
        for stream in self.streams:
            for side in SIDES:
                state = LIB.puppet_state(self.world, stream.number, side)
                if not state & CLOSED or stream.reset:
                    continue
                error = LIB.puppet_error(self.world, stream.number, side)
                assert error == OK, f"stream {stream.number}, side {side}: closed with {error}"
                assert all(end.finished for end in stream.ends), "closed, and an end was not finished"

    def teardown(self) -> None:
        try:
            self.heal_and_finish()
        finally:
            world, self.world = self.world, None
            sound = LIB.puppet_free(world)
        assert sound, "see the line of the puppet above"

    def heal_and_finish(self) -> None:
        LIB.puppet_calm(self.world)
        slice_us, until_us = 100, LIB.puppet_now(self.world) + HEALED_US_MAX
        while True:
            unfinished = [stream for stream in self.streams if not self.is_over(stream)]
            if not unfinished:
                break
            assert LIB.puppet_now(self.world) < until_us, f"not over: {self.story()}"
            self.elapse(slice_us)
            slice_us = min(2 * slice_us, 10_000)
            self.no_rule_is_broken()
            self.no_error_without_a_cause()
        given_up = sum(stream.reset for stream in self.streams)  # perhaps before the client knew it to be open
        assert LIB.puppet_strays(self.world) <= given_up, "the server accepted a connection twice"

    def is_over(self, stream: Stream) -> bool:
        """Its applications read, and finish what they did not before."""
        for side in SIDES:
            self.read_all(stream, side)
            self.finish(stream, side)
        states = [LIB.puppet_state(self.world, stream.number, side) for side in SIDES]
        if stream.reset:  # before the server knew it, there is one end only
            return all(state & CLOSED or not state & EXISTS for state in states)
        if not all(state & CLOSED for state in states):
            return False
        for side, end in enumerate(stream.ends):
            assert end.at_end, f"closed, and side {side} never read the end"
            assert end.read == len(stream.ends[1 - side].written), f"closed, and side {side} misses bytes"
        return True

    def story(self) -> str:
        return "; ".join(
            f"stream {s.number} reset {s.reset} states {[LIB.puppet_state(self.world, s.number, i) for i in SIDES]}"
            f" written {[len(e.written) for e in s.ends]} read {[e.read for e in s.ends]}"
            for s in self.streams
        )


EXAMPLES = os.environ.get("POSTMAN_STATEFUL_EXAMPLES")
TestTransport = Transport.TestCase
TestTransport.settings = settings(
    max_examples=int(EXAMPLES or 400),
    stateful_step_count=40,
    derandomize=EXAMPLES is None,
    database=None,
    deadline=None,
    print_blob=EXAMPLES is not None,
    suppress_health_check=list(HealthCheck),
)
# Shrinking a failure may take Hypothesis up to five minutes; the timeout would end it without its story.
TestTransport = pytest.mark.timeout(0 if EXAMPLES else 600)(TestTransport)
