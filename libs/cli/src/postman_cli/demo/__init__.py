# SPDX-License-Identifier: Apache-2.0
"""The demo: many small requests through a DPDK helper that is killed halfway, with a ledger kept by the endpoints."""
