# SPDX-License-Identifier: Apache-2.0
"""Makes .venv with the locked packages. The project's own packages are put on its path by one .pth file."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from bootstrap.checkout import Checkout, digest, is_stamped, write_stamp
from bootstrap.progress import CommandFailed, SetupError, Step

# Sources are used in place: no editable installs, so nothing to rebuild when a pyproject.toml changes.
SOURCE_FOLDERS = (
    "libs/contracts/src",
    "libs/kit/src",
    "libs/vcl/src",
    "libs/cli/src",
    "services/registry/src",
    "services/helper/src",
    "services/placement/src",
    "services/health/src",
)


def prepare(checkout: Checkout) -> None:
    """Makes or brings up to date the virtual environment; returns at once when it is current."""
    made, filled = checkout.venv / "postman-made", checkout.venv / "postman-stamp"
    # a virtual environment holds absolute paths and the interpreter's: it is no good in a copied checkout
    made_for = digest(sys.version, sys.base_prefix, str(checkout.root))
    filled_with = digest(made_for, checkout.lock.read_bytes(), *SOURCE_FOLDERS)
    if is_stamped(filled, filled_with):
        return
    log = checkout.logs / "python.log"
    with Step("installing the locked Python packages into .venv", log) as step:
        step.announce()
        try:
            if not is_stamped(made, made_for):
                shutil.rmtree(checkout.venv, ignore_errors=True)
                step.run([sys.executable, "-m", "venv", checkout.venv], cwd=checkout.root)
                write_stamp(made, made_for)
            step.run(_pip_install(checkout), cwd=checkout.root)
        except CommandFailed as error:
            raise SetupError(
                f"the Python packages could not be installed ({error})",
                "check that pip reaches its package index (pip config list), then run the same command again",
                log,
            ) from error
        _write_source_paths(checkout)
    write_stamp(filled, filled_with)


def _pip_install(checkout: Checkout) -> list[str | Path]:
    pip: list[str | Path] = [checkout.python, "-m", "pip", "--disable-pip-version-check", "--no-input"]
    return [*pip, "install", "--no-warn-script-location", "--require-hashes", "-r", checkout.lock]


def _write_source_paths(checkout: Checkout) -> None:
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    lines = "".join(f"{checkout.root / folder}\n" for folder in SOURCE_FOLDERS)
    (checkout.venv / "lib" / version / "site-packages" / "postman.pth").write_text(lines)
