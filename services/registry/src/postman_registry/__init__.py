# SPDX-License-Identifier: Apache-2.0
"""The registry: who exists (helpers, servers, leases, keys), and the answer to "where is this server?"."""

__version__ = "0.1.0"
