# SPDX-License-Identifier: Apache-2.0
"""Health: verdicts on helpers with their evidence, the pushes that follow, and the history of events."""

__version__ = "0.1.0"
