# SPDX-License-Identifier: Apache-2.0
"""The decoder of captured trunks counts every byte of a batch, and refuses what the layout does not allow."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from postman_cli.bench.trunk_capture import CaptureError, TrunkEntry, batches, entries

MESSAGE = bytes(range(64))
CHECK = b"\1\2\3\4"
CID = bytes([0, 0, 0, 0, 0, 0, 3, 5])
CONNECTION = 0x305


def batch(*parts: bytes, pad: int = 0, count: int | None = None) -> bytes:
    head = bytes([0x3F, 0]) + (len(parts) if count is None else count).to_bytes(2, "big") + bytes(28)
    return head + b"".join(parts) + bytes(pad) + bytes(8)


def long_entry(frame: bytes) -> bytes:
    return b"\x44" + len(frame).to_bytes(2, "big") + bytes(6) + frame


SHORT = bytes([0x80, 9, 0x11]) + bytes(4) + bytes([64]) + MESSAGE + CHECK
SHORT_WIDE = bytes([0x88, 9, 9, 0x11]) + bytes(4) + bytes([64]) + MESSAGE + CHECK
SHORT_ACK = bytes([0xA0, 9, 0x11]) + bytes(4) + CHECK
SHORT_SEALED = bytes([0x90, 9, 0x11]) + bytes(4) + bytes([64]) + MESSAGE + bytes(20)
FRAME = bytes([0x20, 0x80]) + bytes(2) + CID + bytes(12) + MESSAGE + CHECK
FRAME_SACK = bytes([0x20, 0xA8]) + bytes(2) + CID + bytes(12) + b"\2" + bytes(12) + MESSAGE + CHECK
FRAME_SHORT = bytes([0x20, 0x82]) + bytes(2) + CID + bytes(4) + MESSAGE + CHECK
OPEN = bytes([0x22]) + bytes(135)
BIND4 = b"\xc1" + bytes(3) + bytes([9, 1]) + b"\4" + bytes(6) + CID
NACK = b"\xc5" + bytes(6)


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (SHORT, TrunkEntry("short", 64, 4, 8, index=9)),  # the promise: 12 bytes with the check, 8 without
        (SHORT_WIDE, TrunkEntry("short", 64, 4, 9, index=0x909)),
        (SHORT_ACK, TrunkEntry("short", 0, 4, 7, index=9)),
        (SHORT_SEALED, TrunkEntry("short", 64, 20, 8, index=9)),
        (long_entry(FRAME), TrunkEntry("long", 64, 4, 9 + 24, CONNECTION)),
        (long_entry(FRAME_SACK), TrunkEntry("long", 64, 4, 9 + 24 + 13, CONNECTION, resent=True)),
        (long_entry(FRAME_SHORT), TrunkEntry("long", 64, 4, 9 + 16, CONNECTION)),
        (long_entry(OPEN), TrunkEntry("control", 0, 0, 9 + 136)),
        (BIND4, TrunkEntry("control", 0, 0, 21, CONNECTION, 9)),
        (NACK, TrunkEntry("control", 0, 0, 7)),
    ],
)
def test_each_kind_of_entry(part: bytes, expected: TrunkEntry) -> None:
    assert list(entries(batch(SHORT, part, SHORT, pad=5)))[1] == expected
    assert expected.header + expected.check + expected.payload == len(part)


@pytest.mark.parametrize(
    "wrong",
    [
        batch(SHORT[:-1]),  # runs into the tag
        batch(SHORT, count=2),
        batch(SHORT, b"\0\0\1"),  # padding that is not zero
        batch(b"\xc9" + bytes(20)),
        batch(long_entry(FRAME[:20])),
    ],
)
def test_what_the_layout_does_not_allow_is_no_count(wrong: bytes) -> None:
    with pytest.raises(CaptureError):
        list(entries(wrong))


def test_a_capture_file(tmp_path: Path) -> None:
    payload = batch(SHORT)
    frames = []
    for source, target in ((4702, 9), (9, 4702), (5, 6)):
        udp = struct.pack(">HHHH", source, target, 8 + len(payload), 0) + payload
        frames.append(bytes(12) + b"\x08\x00" + bytes([0x45]) + bytes(8) + bytes([17]) + bytes(10) + udp)
    path = tmp_path / "pcap"
    head = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
    path.write_bytes(head + b"".join(struct.pack("<IIII", 7, 500_000, len(f), len(f)) + f for f in frames))
    found = list(batches(path, 4702))
    assert [(b.source_port, b.length, b.at_s) for b in found] == [(4702, len(payload), 7.5), (9, len(payload), 7.5)]
    path.write_bytes(b"something else")
    with pytest.raises(CaptureError):
        list(batches(path, 4702))
