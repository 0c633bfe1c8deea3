# SPDX-License-Identifier: Apache-2.0
"""The postman command line."""

__version__ = "0.1.0"
