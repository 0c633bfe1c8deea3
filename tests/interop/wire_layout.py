# SPDX-License-Identifier: Apache-2.0
"""What all layouts of the wire model share: fields as (name, offset, size), big-endian."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

VERSION = 1

Value = int | bytes | list[dict[str, int]]
Fields = dict[str, Value]


class WireError(ValueError):
    """Bytes that are not what the layout says."""


def put_fields(buf: bytearray, layout: Sequence[tuple[str, int, int]], fields: Mapping[str, Value]) -> None:
    for name, offset, size in layout:
        value = fields[name]
        raw = value.to_bytes(size, "big") if isinstance(value, int) else bytes(value)  # type: ignore[arg-type]
        if len(raw) != size:
            raise WireError(f"{name} has {len(raw)} bytes, not {size}")
        buf[offset : offset + size] = raw


def get_fields(buf: bytes, layout: Sequence[tuple[str, int, int]]) -> Fields:
    out: Fields = {}
    for name, offset, size in layout:
        raw = buf[offset : offset + size]
        out[name] = int.from_bytes(raw, "big") if size <= 8 else raw
    return out


def check_reserved(buf: bytes, layout: Sequence[tuple[str, int, int]], start: int, end: int) -> None:
    covered = {i for _, offset, size in layout for i in range(offset, offset + size)}
    for i in range(start, end):
        if i not in covered and buf[i] != 0:
            raise WireError(f"reserved byte {i} is {buf[i]:#x}")


def first_byte(type_: int) -> int:
    return VERSION << 5 | type_
