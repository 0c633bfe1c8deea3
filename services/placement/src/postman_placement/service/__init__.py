# SPDX-License-Identifier: Apache-2.0
"""Use-cases: load, decide, save, publish; one transaction each."""
