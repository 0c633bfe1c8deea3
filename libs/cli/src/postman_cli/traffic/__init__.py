# SPDX-License-Identifier: Apache-2.0
"""Traffic that goes on: numbered requests over VCL, each reply checked, and a ledger that anybody may look at."""
