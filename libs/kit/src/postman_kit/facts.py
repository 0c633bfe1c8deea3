# SPDX-License-Identifier: Apache-2.0
"""The stream that keeps every fact, as all services make it."""

from __future__ import annotations

from typing import Final

from postman_contracts import subjects
from postman_kit.bus import Stream

FACTS: Final = Stream(name=subjects.FACTS_STREAM, subjects=(subjects.FACTS_ALL,))
