# SPDX-License-Identifier: Apache-2.0
"""A program that writes to the control plane for as long as it lives, and knows what was acknowledged.

It prints one JSON line for each acknowledged write; on SIGTERM it waits until everything answers again, reads it all
back and prints `{"verdict": {...}}`: what was lost, and which events are missing or twice. Run in the control host.
"""

from __future__ import annotations

import json
import random
import signal
import sys
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

PAIR = ("h1", "h2")
CATCH_UP_S = 60.0
PLACEMENTS_READ_BACK = 100  # the newest: placement keeps 200 (POSTMAN_PLACEMENT_KEPT_MAX)
PAUSE_S = 0.05


class Writer:
    """All that was acknowledged, and the calls that made it so."""

    def __init__(self, urls: dict[str, str], key: str) -> None:
        headers = {"Authorization": f"Bearer {key}"}
        self.clients = {
            name: httpx.Client(base_url=url, headers=headers, trust_env=False, timeout=5.0)
            for name, url in urls.items()
        }
        self.measured_at: datetime | None = None
        self.placements: list[str] = []
        self.epochs: list[int] = []
        self.servers: dict[tuple[int, int], bool] = {}
        self.failures = 0
        self.refused_with = 0
        self.ending = False

    def ask(self, service: str, method: str, path: str, **more: Any) -> dict[str, Any] | None:
        """The answer, or None when there was none or it was an error: then nothing was acknowledged."""
        try:
            answer = self.clients[service].request(method, path, **more)
        except httpx.HTTPError:
            self.failures += 1
            self.refused_with = 0
            return None
        if answer.is_error:
            self.refused_with = answer.status_code
            self.failures += 1
            if answer.status_code not in (409, 503):
                say({"refused": [service, method, path, answer.status_code, answer.text[:300]]})
            return None
        body = answer.json() if answer.content else {}
        assert isinstance(body, dict)
        return body

    def insist(self, service: str, method: str, path: str, **more: Any) -> dict[str, Any]:
        """Until it is answered."""
        deadline = time.monotonic() + CATCH_UP_S
        while (found := self.ask(service, method, path, **more)) is None:
            if time.monotonic() > deadline:
                raise SystemExit(f"{service} {path} does not answer within {CATCH_UP_S} s")
            time.sleep(0.2)
        return found

    # --- writes --------------------------------------------------------------------------------------

    def measure(self) -> None:
        at = datetime.now(UTC)
        item = {"a": PAIR[0], "b": PAIR[1], "rtt_us": random.uniform(100, 900), "at": at.isoformat()}
        if self.ask("placement", "POST", "/v1/measurements", json={"items": [item]}) is not None:
            self.measured_at = at
            say({"acknowledged": "measurement"})

    def place(self) -> None:
        found = self.ask("placement", "POST", "/v1/placements", json={})
        if found is None:
            return
        self.placements.append(found["placement_id"])
        say({"acknowledged": "placement"})
        applied = self.ask("placement", "POST", f"/v1/placements/{found['placement_id']}/apply")
        if applied is not None:
            self.epochs.append(applied["epoch"])
            say({"acknowledged": "epoch"})

    def register(self) -> None:
        number = random.randrange(1, 60_000)
        body = {
            "service": "chaos",
            "host": "chaos.example",
            "tcp_port": 7,
            "data_address": "198.18.0.250",
            "udp_port": number,
        }
        headers = {"Idempotency-Key": uuid.uuid4().hex}
        found = self.ask("registry", "POST", "/v1/servers", json=body, headers=headers)
        if found is None:
            return
        known = (found["server_id"], found["incarnation"])
        self.servers[known] = False
        say({"acknowledged": "server"})
        gone = self.ask("registry", "DELETE", f"/v1/servers/{known[0]}", params={"incarnation": known[1]})
        if gone is not None:
            self.servers[known] = True
            say({"acknowledged": "server gone"})

    def run(self) -> None:
        while not self.ending:
            random.choice((self.measure, self.measure, self.register, self.place))()
            time.sleep(PAUSE_S)

    # --- reading back ----------------------------------------------------------------------------------

    def verdict(self) -> dict[str, Any]:
        kept = self.placements[-PLACEMENTS_READ_BACK:]
        lost = [f"placement {known}" for known in kept if not self._is_there(known)]
        now = self.insist("placement", "GET", "/v1/assignments")["epoch"]
        if self.epochs and (now is None or now < max(self.epochs)):
            lost.append(f"epoch {max(self.epochs)}: in force is {now}")
        measured = self.insist("placement", "GET", "/v1/measurements")["items"]
        newest = max((datetime.fromisoformat(item["at"]) for item in measured), default=None)
        if self.measured_at is not None and (newest is None or newest < self.measured_at):
            lost.append(f"measurement of {self.measured_at}: newest is {newest}")
        missing, twice = self._await_events()
        return {
            "lost": lost,
            "events_missing": missing,
            "events_twice": twice,
            "acknowledged": {
                "placements": len(self.placements),
                "epochs": len(self.epochs),
                "servers": len(self.servers),
            },
            "unanswered": self.failures,
        }

    def _is_there(self, placement_id: str) -> bool:
        """Only placement's own word that it knows no such one counts as lost; an outage is waited out."""
        deadline = time.monotonic() + CATCH_UP_S
        while time.monotonic() < deadline:
            if self.ask("placement", "GET", f"/v1/placements/{placement_id}") is not None:
                return True
            if self.refused_with == httpx.codes.NOT_FOUND:
                return False
            time.sleep(0.2)
        raise SystemExit(f"placement does not answer within {CATCH_UP_S} s")

    def _await_events(self) -> tuple[list[str], int]:
        """What must have become an event and has not within the time to catch up; and how many are there twice."""
        wanted = {f"assignment.changed {epoch}" for epoch in self.epochs}
        for (server_id, _), is_gone in self.servers.items():
            wanted.add(f"server.up {server_id}")
            if is_gone:
                wanted.add(f"server.gone {server_id}")
        deadline = time.monotonic() + CATCH_UP_S
        while True:
            events = self._all_events()
            found = {self._name(event) for event in events}
            ids = [event["event_id"] for event in events]
            missing = sorted(wanted - found)
            if not missing or time.monotonic() > deadline:
                return missing, len(ids) - len(set(ids))
            time.sleep(0.5)

    def _all_events(self) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = []
        after = 0
        while True:
            page = self.insist("health", "GET", "/v1/events", params={"after": after, "limit": 500})
            items += page["items"]
            if page["next"] is None:
                return items
            after = page["next"]

    @staticmethod
    def _name(event: dict[str, Any]) -> str:
        body = event["body"]
        return f"{event['kind']} {body.get('epoch', body.get('server_id', body.get('helper_id')))}"


def say(words: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(words) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Arguments: the facts of `postman up` as JSON."""
    ready = json.loads(sys.argv[1])
    key = Path(ready["api_key_files"]["admin"]).read_text().strip()
    writer = Writer({name: ready[f"{name}_url"] for name in ("registry", "placement", "health")}, key)

    def end(number: int, frame: object) -> None:
        writer.ending = True

    signal.signal(signal.SIGTERM, end)
    say({"ready": True})
    writer.run()
    say({"verdict": writer.verdict()})


if __name__ == "__main__":
    main()
