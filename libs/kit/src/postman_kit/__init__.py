# SPDX-License-Identifier: Apache-2.0
"""Plumbing that Postman's services share. Nothing here knows what a helper or a server is."""
