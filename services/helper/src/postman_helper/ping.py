# SPDX-License-Identifier: Apache-2.0
"""`python -m postman_helper.ping SOCKET`: exit status 0 if the worker behind that control socket answers.

For health checks of containers, so it needs nothing but the standard library and a few milliseconds.
"""

from __future__ import annotations

import json
import socket
import sys
from typing import Final

TIMEOUT_S: Final = 2.0
ANSWER_BYTES_MAX: Final = 65536


def ping(path: str) -> str:
    """What is wrong, or nothing."""
    try:
        with socket.socket(socket.AF_UNIX) as control:
            control.settimeout(TIMEOUT_S)
            control.connect(path)
            control.sendall(b"ping\n")
            with control.makefile("rb") as answers:
                answer = json.loads(answers.readline(ANSWER_BYTES_MAX))
    except (OSError, ValueError) as error:
        return f"no worker answers at {path}: {error}"
    if not isinstance(answer, dict) or answer.get("ok") is not True:
        return f"the worker at {path} does not answer a ping well"
    return ""


def main(arguments: list[str]) -> int:
    """The command. Returns the exit status."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m postman_helper.ping SOCKET\n")
        return 2
    wrong = ping(arguments[0])
    sys.stdout.write(f"{wrong or 'well'}\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
