# SPDX-License-Identifier: Apache-2.0
"""Real servers for these tests."""

from postman_kit.embedded.pytest_fixtures import database_url, nats_server, postgres_server

__all__ = ["database_url", "nats_server", "postgres_server"]
