# SPDX-License-Identifier: Apache-2.0
"""`python -m postman_cli.traffic.check FILE`: exit status 0 if the ledger in the file is clean, fresh and growing."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from postman_cli.traffic.book import BookError, complaints, read_book


def main(arguments: list[str]) -> int:
    """Says why not, if not."""
    try:
        found = complaints(read_book(Path(arguments[0])), time.time())
    except BookError as error:
        found = [str(error)]
    print("; ".join(found) or "well")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
