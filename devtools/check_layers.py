#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks the borders that docs/architecture.md draws; prints each breach as `file:line: reason`.

1. Sans-IO C (wire, the engine, the relay) includes only headers of the language and calls only memory and string
   functions and libsodium's primitives: no clock, no system call, no randomness. Checked in sources and in symbols.
2. `domain.py` is pure: no I/O imports and no reading of clocks.
3. SQL is in store*.py, rows.py and tables.py, NATS in bus.py.
4. Packages import only what is below them.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WIRE = ROOT / "libs" / "wire"
WORKER = ROOT / "services" / "helper" / "worker"

PURE_HEADERS = frozenset(
    {
        *("assert.h", "errno.h", "inttypes.h", "limits.h", "stdarg.h", "stdbool.h", "stddef.h", "stdint.h"),
        *("stdlib.h", "string.h", "sodium.h"),
        *(
            "arm_acle.h",
            "immintrin.h",
            "nmmintrin.h",
            "wmmintrin.h",
            "asm/hwcap.h",
            "sys/auxv.h",
        ),  # which instructions this processor has
    }
)
PURE_SYMBOLS = re.compile(
    r"(__)?(mem(cpy|move|set|cmp|chr)|str(len|nlen|cmp|ncmp|chr))(_chk)?|qsort|v?snprintf|__v?snprintf_chk"
    r"|malloc|calloc|realloc|free|aligned_alloc|posix_memalign|abort|__assert_fail|__stack_chk_fail"
    r"|crypto_\w+|sodium_(init|memzero|memcmp)|__cpu_(model|indicator_init)|getauxval|_GLOBAL_OFFSET_TABLE_|__errno_location"
)
PURE_ARCHIVES = ("libs/wire/libpmw.a", "libs/vcl/core/libvcl_core.a", "services/helper/worker/librelay.a")

IMPURE_MODULES = frozenset(
    {
        *("asyncio", "logging", "os", "pathlib", "random", "secrets", "signal", "socket", "subprocess"),
        *("threading", "time", "urllib"),
        *("alembic", "asyncpg", "fastapi", "httpx", "nats", "postman_kit", "sqlalchemy", "starlette", "structlog"),
        "uvicorn",
    }
)
CLOCK_CALLS = frozenset({"now", "utcnow", "today", "monotonic", "perf_counter"})

SQL_FILES = re.compile(r"(store(_\w+)?|tables|rows)\.py")
SQL_EXCEPTIONS = re.compile(r"/alembic/|postman_kit/(db|db_trace|outbox|migrate)\.py$")
NATS_FILES = frozenset({"bus.py"})
NATS_EXCEPTIONS = re.compile(r"vcl/agent_facts\.py$|postman_kit/(embedded/|bus_durable\.py$)")

MAY_IMPORT = {
    "postman_contracts": set[str](),
    "postman_kit": {"postman_contracts"},
    "vcl": {"postman_contracts"},
    "postman_registry": {"postman_contracts", "postman_kit"},
    "postman_helper": {"postman_contracts", "postman_kit"},
    "postman_placement": {"postman_contracts", "postman_kit"},
    "postman_health": {"postman_contracts", "postman_kit"},
}


def main() -> int:
    """Prints all breaches; 1 when there are any."""
    breaches = [*c_includes(), *_c_symbols(), *python_imports()]
    for breach in breaches:
        print(breach)
    print(f"check_layers: {len(breaches)} breaches")
    return 1 if breaches else 0


def _sources_of(folder: Path, variable: str) -> list[Path]:
    """The files that a meson.build lists under this name, and their headers."""
    listed = re.search(rf"{variable} = files\((.*?)\)", (folder / "meson.build").read_text(), re.DOTALL)
    assert listed, f"{folder}/meson.build has no {variable}"
    stems = [folder / stem for stem in re.findall(r"'([^']+)\.c'", listed[1])]
    return [path for stem in stems for path in (stem.with_suffix(".c"), stem.with_suffix(".h")) if path.exists()]


def _pure_c_files() -> list[Path]:
    files = [*_sources_of(WIRE, "pmw_sources"), *_sources_of(WORKER, "relay_sources")]
    files += [*WIRE.glob("include/postman/*.h"), ROOT / "libs/vcl/include/vcl/engine.h"]
    files += [
        path for path in (ROOT / "libs/vcl/core").glob("*.[ch]") if not re.search(r"_test\.[ch]$|^test", path.name)
    ]
    return sorted(files)


def c_includes() -> Iterator[str]:
    for path in _pure_c_files():
        for number, line in enumerate(path.read_text().splitlines(), 1):
            found = re.match(r"\s*#\s*include\s*([<\"])([^>\"]+)[>\"]", line)
            if not found:
                continue
            mark, header = found.groups()
            if mark == "<" and not header.startswith(("postman/", "vcl/")) and header not in PURE_HEADERS:
                yield _at(path, number, f"sans-IO code includes <{header}>")
            if header.startswith("vcl/") and (path.is_relative_to(WIRE) or path.is_relative_to(WORKER)):
                yield _at(path, number, f"wire and the worker are not above the engine, and include {header}")


def _c_symbols() -> Iterator[str]:
    build = ROOT / "build"
    archives = [build / name for name in PURE_ARCHIVES]
    for archive in archives:
        if not archive.exists():
            yield f"{archive.relative_to(ROOT)}: not built; ./postman build makes it"
            return
    defined = {name for archive in archives for name in _symbols(archive, "--defined-only")}
    for archive in archives:
        for name in sorted(set(_symbols(archive, "--undefined-only")) - defined):
            if not PURE_SYMBOLS.fullmatch(name):
                yield f"{archive.relative_to(ROOT)}: sans-IO code calls {name}"


def _symbols(archive: Path, which: str) -> list[str]:
    listing = subprocess.run(["nm", which, archive], capture_output=True, text=True, check=True).stdout
    return [line.split()[-1] for line in listing.splitlines() if re.match(r"^[0-9a-f ]{16,} \w \S+$", line)]


def python_imports() -> Iterator[str]:
    for folder in ("libs", "services"):
        for path in sorted((ROOT / folder).glob("*/src/**/*.py")):
            tree = ast.parse(path.read_text(), path)
            for node in ast.walk(tree):
                for module in _imported(node):
                    reason = _import_breach(path, module)
                    if reason:
                        yield _at(path, getattr(node, "lineno", 0), reason)
                if path.name == "domain.py" and _reads_clock(node):
                    yield _at(path, getattr(node, "lineno", 0), "domain.py reads a clock; `now` is an argument")


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name.partition(".")[0] for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
        return [node.module.partition(".")[0]]
    return []


def _import_breach(path: Path, module: str) -> str:
    name, place = path.name, path.as_posix()
    if name == "domain.py" and module in IMPURE_MODULES:
        return f"domain.py imports {module}"
    if module == "sqlalchemy" and not SQL_FILES.fullmatch(name) and not SQL_EXCEPTIONS.search(place):
        return "SQL outside store.py and tables.py"
    if module == "nats" and name not in NATS_FILES and not NATS_EXCEPTIONS.search(place):
        return "NATS outside bus.py"
    package = path.relative_to(ROOT).parts[3]
    if package in MAY_IMPORT and module in (MAY_IMPORT.keys() | {"postman_cli"}) - MAY_IMPORT[package] - {package}:
        return f"{package} imports {module}, which is not below it"
    return ""


def _reads_clock(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CLOCK_CALLS


def _at(path: Path, number: int, reason: str) -> str:
    return f"{path.relative_to(ROOT)}:{number}: {reason}"


if __name__ == "__main__":
    sys.exit(main())
