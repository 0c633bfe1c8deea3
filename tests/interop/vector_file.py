# SPDX-License-Identifier: Apache-2.0
"""The text format of libs/wire/vectors (described in its README.md)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

VECTORS = Path(__file__).resolve().parents[2] / "libs" / "wire" / "vectors"
_HEX_BYTES_PER_LINE = 48


@dataclass
class Vector:
    """A named case: its fields in order; a name may come more than once."""

    name: str
    kind: str
    fields: list[tuple[str, str]] = field(default_factory=list)

    def all(self, key: str) -> list[str]:
        return [value for name, value in self.fields if name == key]

    def has(self, key: str) -> bool:
        return any(name == key for name, _ in self.fields)

    def integer(self, key: str) -> int:
        (value,) = self.all(key)
        return int(value, 0)

    def octets(self, key: str) -> bytes:
        return bytes.fromhex("".join(self.all(key)))

    def put(self, key: str, value: int | bytes | str) -> None:
        if isinstance(value, bytes):
            for at in range(0, len(value), _HEX_BYTES_PER_LINE):
                self.fields.append((key, value[at : at + _HEX_BYTES_PER_LINE].hex()))
        else:
            self.fields.append((key, f"{value:#x}" if isinstance(value, int) else value))


def read_vectors(path: Path) -> Iterator[Vector]:
    current: Vector | None = None
    for line in path.read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        key, _, value = line.partition(" ")
        if key == "vector":
            if current:
                yield current
            name, kind = value.split()
            current = Vector(name, kind)
        elif current:
            current.fields.append((key, value))
    if current:
        yield current


def write_vectors(path: Path, title: str, vectors: Iterable[Vector]) -> None:
    lines = ["# SPDX-License-Identifier: Apache-2.0", f"# {title} Written by tests/interop/make_wire_vectors.py."]
    for v in vectors:
        lines += ["", f"vector {v.name} {v.kind}"]
        lines += [f"{key} {value}" for key, value in v.fields]
    path.write_text("\n".join(lines) + "\n")
