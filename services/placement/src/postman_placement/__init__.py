# SPDX-License-Identifier: Apache-2.0
"""Placement: sites, links, latencies and demand; where helpers run and who uses which, under epochs."""

__version__ = "0.1.0"
