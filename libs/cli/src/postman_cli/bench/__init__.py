# SPDX-License-Identifier: Apache-2.0
"""What Postman costs and gains, measured: each bench prints one JSON object per figure, with its baseline."""
