# SPDX-License-Identifier: Apache-2.0
"""Health's use-cases."""
