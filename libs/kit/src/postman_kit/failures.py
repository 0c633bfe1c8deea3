# SPDX-License-Identifier: Apache-2.0
"""Which of many failures in a row gets a line of the log."""

from __future__ import annotations


def is_reported(failures: int) -> bool:
    """Whether failure number `failures` in a row gets a line of the log: 1, 2, 4, 8, ... An outage is no flood."""
    return failures & (failures - 1) == 0
