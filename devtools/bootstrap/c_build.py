# SPDX-License-Identifier: Apache-2.0
"""Builds the C parts into build/ and places the Cython extension beside the Python sources that import it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from bootstrap.checkout import Checkout, digest, is_stamped, write_stamp
from bootstrap.progress import CommandFailed, SetupError, Step

# asserts stay on in release builds: a broken invariant must stop a node, not corrupt a stream
OPTIONS = ("-Dbuildtype=release", "-Ddebug=true", "-Db_ndebug=false", "-Dtests=enabled", "-Dworker=enabled")


def build(checkout: Checkout) -> None:
    """Configures when needed, then asks ninja, which knows best what has changed."""
    log = checkout.logs / "build.log"
    env = os.environ | {"PATH": f"{checkout.venv / 'bin'}:{os.environ.get('PATH', '')}", "LC_ALL": "C.UTF-8"}
    with Step("building the C parts into build/", log) as step:
        try:
            _configure(checkout, step, env)
            step.run([checkout.venv / "bin" / "ninja", "-C", checkout.build], cwd=checkout.root, env=env)
        except CommandFailed as error:
            raise SetupError(
                f"the C parts could not be built ({error})",
                "if the sources are unchanged, rm -r build .venv and run the same command again",
                log,
            ) from error
        place_extension(checkout)


def _configure(checkout: Checkout, step: Step, env: dict[str, str]) -> None:
    stamp = checkout.build / "postman-stamp"
    venv_stamp = (checkout.venv / "postman-made").read_bytes()  # another Python needs another extension
    value = digest(*OPTIONS, venv_stamp, checkout.lock.read_bytes())  # the lock: another meson or Cython
    if is_stamped(stamp, value) and (checkout.build / "build.ninja").exists():
        return
    shutil.rmtree(checkout.build, ignore_errors=True)
    step.run([checkout.venv / "bin" / "meson", "setup", *OPTIONS, checkout.build], cwd=checkout.root, env=env)
    write_stamp(stamp, value)


def place_extension(checkout: Checkout) -> None:
    """Copies built extension modules into the package, by rename, so that a running import never sees half a file."""
    package = checkout.root / "libs" / "vcl" / "src" / "vcl"
    suffix = _extension_suffix(checkout)
    for built in (checkout.build / "libs" / "vcl").rglob(f"*{suffix}"):
        target = package / built.name
        if target.exists() and _same(built, target):
            continue
        fresh = target.with_name(f".{target.name}.{os.getpid()}")
        shutil.copy2(built, fresh)
        fresh.replace(target)


def _same(one: Path, other: Path) -> bool:
    a, b = one.stat(), other.stat()
    return (a.st_size, a.st_mtime_ns) == (b.st_size, b.st_mtime_ns)


def _extension_suffix(checkout: Checkout) -> str:
    known = checkout.build / "extension-suffix"
    if not known.exists():
        program = "import sysconfig; print(sysconfig.get_config_var('EXT_SUFFIX'), end='')"
        known.write_text(subprocess.check_output([checkout.python, "-I", "-c", program], text=True))
    return known.read_text()
