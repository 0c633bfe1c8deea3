# SPDX-License-Identifier: Apache-2.0
"""A process that speaks a worker's side of the border (config file, stdout, control socket) and moves no packets.

What it did is in FAKE_WORKER_DIR/events.jsonl; what it shall do, tests say with files in that folder:
`start` ("exit" or "never": it does not become ready), `mute` (no answers), `busy` (data flows), `refuse` (no server is
taken), `stubborn` (ignores SIGTERM), `orphan` (a child of it holds its pipes open).
"""

from __future__ import annotations

import json
import os
import signal
import socketserver
import subprocess
import sys
import threading
import time
from pathlib import Path

DIR = Path(os.environ["FAKE_WORKER_DIR"])
LOCK = threading.Lock()


def record(event: str, **details: object) -> None:
    with LOCK, (DIR / "events.jsonl").open("a") as file:
        file.write(json.dumps({"event": event, "pid": os.getpid(), **details}) + "\n")


class Session(socketserver.StreamRequestHandler):
    data_entries = 0

    def handle(self) -> None:
        for line in self.rfile:
            if (DIR / "mute").exists():
                continue
            self.wfile.write(json.dumps(self.answer(line.decode().split())).encode() + b"\n")

    def answer(self, words: list[str]) -> dict[str, object]:
        if words == ["ping"]:
            return {"ok": True}
        if words == ["stats"]:
            if (DIR / "busy").exists():
                Session.data_entries += 1
            counters = {"trunk_data_entries_out": Session.data_entries, "trunk_entries_in": Session.data_entries}
            return {"ok": True, **counters, "drops": {"malformed": 7}}
        if words[0] == "server" and (DIR / "refuse").exists():
            return {"ok": False, "error": "no space"}
        if words[0] in ("server", "drain"):
            record(words[0], words=words[1:])
            return {"ok": True}
        return {"ok": False, "error": f"unknown request {words[0]}"}


class Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True


def on_sigterm(*_: object) -> None:
    record("sigterm")
    if not (DIR / "stubborn").exists():
        os._exit(0)


def main() -> int:
    config_path = Path(sys.argv[sys.argv.index("--config") + 1])
    config = dict(line.split("=", 1) for line in config_path.read_text().splitlines())
    record("start", config=config, mode=oct(config_path.stat().st_mode & 0o777))
    start = (DIR / "start").read_text() if (DIR / "start").exists() else ""
    if start == "exit":
        sys.stderr.write("EAL: no such device\n")
        return 3
    signal.signal(signal.SIGTERM, on_sigterm)
    if start == "never":
        time.sleep(600)
    if (DIR / "orphan").exists():
        record("orphan", orphan=subprocess.Popen(["sleep", "600"]).pid)
    Path(config["control_socket"]).unlink(missing_ok=True)
    with Server(config["control_socket"], Session) as server:
        sys.stdout.write("EAL: some line that is not JSON\n" + json.dumps({"event": "ready"}) + "\n")
        sys.stdout.flush()
        server.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
