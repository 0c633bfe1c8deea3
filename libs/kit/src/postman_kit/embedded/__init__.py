# SPDX-License-Identifier: Apache-2.0
"""A real Postgres and a real NATS as child processes, from wheels: for a laptop, a CI machine and tests.

with EmbeddedPostgres(state / "postgres") as postgres, EmbeddedNats(state / "nats") as nats:
    use(postgres.url, nats.url)
"""

from postman_kit.embedded.child import EmbeddedError
from postman_kit.embedded.nats import EmbeddedNats
from postman_kit.embedded.postgres import EmbeddedPostgres

__all__ = ["EmbeddedError", "EmbeddedNats", "EmbeddedPostgres"]
