# SPDX-License-Identifier: Apache-2.0
"""Test networks: hosts are network namespaces that live exactly as long as the lab's own process."""
