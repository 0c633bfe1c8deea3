# SPDX-License-Identifier: Apache-2.0
"""Supervisor of the DPDK helper worker: its life, its lease and its heartbeats. Never on the data path."""

__version__ = "0.1.0"
