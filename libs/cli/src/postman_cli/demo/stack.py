# SPDX-License-Identifier: Apache-2.0
"""A whole Postman in a lab: control plane, helpers, and the programs that talk through them. Real parts only.

Used by the demo and by the end-to-end tests. Everything it starts dies with it; logs stay in its work folder.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import psutil

from ..control_plane import Ready
from ..lab.namespaces import LabError
from ..lab.network import LabNetwork
from ..lab.topology import DATA_DEVICE, DATA_PREFIX_LEN, Host

WORKER_PROGRAM = "postman-helper-worker"
_START_S = 60
_STOP_S = 15

_ELSEWHERE = ("nice", "-n", "10")
"""For what a network has machines of its own: here it would take the processors from helpers, clients and servers just
when it has something to tell them."""

# The lab has no way out, and so none in: requests are made by a program inside.
_ASK = """
import json, sys, urllib.error, urllib.request
said = json.load(sys.stdin)
data = None if said["body"] is None else json.dumps(said["body"]).encode()
headers = {"Authorization": "Bearer " + said["key"], "Content-Type": "application/json"}
request = urllib.request.Request(said["url"], data, headers, method=said["method"])
try:
    print(urllib.request.urlopen(request, timeout=20).read().decode() or "{}")
except urllib.error.HTTPError as error:
    sys.exit(f"{error.code} {error.read().decode()}")
"""


class StackError(RuntimeError):
    """A part did not start or died; the text names it and ends with its log's last lines."""


@dataclass
class Program:
    """One started process with its log and, where it speaks JSON lines, its words."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    lines: list[dict[str, Any]] = field(default_factory=list)
    _reader: threading.Thread | None = None

    def order(self, word: str, **values: object) -> None:
        """One line for a program that takes orders: `word key=value ...`."""
        assert self.process.stdin is not None
        line = " ".join([word, *(f"{key}={value}" for key, value in values.items())]) + "\n"
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(line.encode())
            self.process.stdin.flush()

    def read_lines(self) -> None:
        """Collects the JSON lines of its standard output in the background."""
        assert self.process.stdout is not None
        self._reader = threading.Thread(target=self._read, args=(self.process.stdout,), daemon=True)
        self._reader.start()

    def _read(self, stream: IO[bytes]) -> None:
        for raw in stream:
            with contextlib.suppress(ValueError):
                words = json.loads(raw)
                if isinstance(words, dict):
                    self.lines.append(words)

    def wait_for(
        self, found: Callable[[dict[str, Any]], bool], what: str, timeout_s: float = _START_S, after: int = 0
    ) -> dict[str, Any]:
        """The first JSON line after the first `after` ones for which `found` holds; StackError when the program ends or
        time runs out first."""
        deadline = time.monotonic() + timeout_s
        while True:
            ended = self.process.poll() is not None
            if ended and self._reader is not None:
                self._reader.join(timeout=1)
            for line in self.lines[after:]:
                if found(line):
                    return line
            if ended:
                raise StackError(f"{self.name} ended ({self.process.returncode}) before {what}:\n{self.log_tail()}")
            if time.monotonic() > deadline:
                raise StackError(f"{self.name}: no sign of {what} within {timeout_s:.0f} s:\n{self.log_tail()}")
            time.sleep(0.01)

    def log_tail(self, lines: int = 15) -> str:
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    def stop(self, timeout_s: float = _STOP_S) -> int:
        """SIGTERM, then SIGKILL; its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self.process.kill()
        code = self.process.wait()
        if self._reader is not None:
            self._reader.join(timeout=1)
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()
        return code


class Stack:
    """Control plane in host `ctl`, a supervisor with its worker in each helper host. A context manager."""

    def __init__(self, lab: LabNetwork, work_dir: Path) -> None:
        self.lab = lab
        self.work_dir = work_dir
        self.programs: list[Program] = []
        self.helpers: dict[str, Program] = {}
        self.control: Program | None = None
        self.ready: dict[str, Any] = {}
        self._environment: dict[str, str] = {}

    def __enter__(self) -> Stack:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()

    # --- starting --------------------------------------------------------------------------------------------------

    def start(self, host: str, name: str, module: str, arguments: Sequence[str] = (), **env: str) -> Program:
        """Runs `python -m module` in a host, with the environment that finds the control plane."""
        return self._start(host, name, [sys.executable, "-m", module, *arguments], env, subprocess.DEVNULL)

    def start_with_orders(self, host: str, name: str, module: str, arguments: Sequence[str], **env: str) -> Program:
        """The same for a program that is told what to do: see Program.order()."""
        return self._start(host, name, [sys.executable, "-m", module, *arguments], env, subprocess.PIPE)

    def _start(self, host: str, name: str, argv: Sequence[str], env: Mapping[str, str], stdin: int) -> Program:
        self.work_dir.mkdir(parents=True, exist_ok=True)
        log = self.work_dir / f"{name}.log"
        with log.open("wb") as err:
            process = self.lab[host].start(
                argv,
                env={**self._environment, **env},
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=err,
                cwd=self.work_dir,
            )
        program = Program(name, process, log)
        program.read_lines()
        self.programs.append(program)
        return program

    def start_control(self) -> None:
        """The control plane in host `ctl`; every later program is told where they are."""
        host = self.lab.topology.with_role("control")[0]
        state = self.work_dir / "control"
        words = ["up", "--host", host.mgmt_address, "--state-dir", str(state), "--json"]
        argv = [*_ELSEWHERE, sys.executable, "-m", "postman_cli", *words]
        self.control = self._start(host.name, "control", argv, {}, subprocess.DEVNULL)
        self.ready = self.control.wait_for(lambda line: "registry_url" in line, "a ready control plane")
        self._environment = self.environment("agent")

    def environment(self, kind: str) -> dict[str, str]:
        """What a program of this kind needs to take part: `helper`, or a role."""
        return Ready(**self.ready).environment(kind)

    def start_helper(self, host: Host, **env: str) -> Program:
        """A supervisor and its worker on the host's data device; returns when its worker serves."""
        program = self.start(
            host.name,
            f"helper-{host.name}",
            "postman_helper",
            POSTMAN_HELPER_NAME=host.name,
            POSTMAN_HELPER_SITE=host.name,
            POSTMAN_HELPER_DATA_ADDRESS=f"{host.data_address}/{DATA_PREFIX_LEN}",
            POSTMAN_HELPER_DEVICE=f"net_af_packet0,iface={DATA_DEVICE}",
            POSTMAN_STATE_DIR=str(self.work_dir),
            **self.environment("helper"),
            **env,
        )
        self.helpers[host.name] = program
        return program

    def restart_helper(self, host_name: str) -> None:
        """Ends a helper in order, as its operator would for an upgrade, and starts it again; does not wait for that."""
        program = self.helpers.pop(host_name)
        program.stop(timeout_s=60)
        self.programs.remove(program)
        self.start_helper(self.lab.topology.host(host_name))

    def wait_helpers(self, timeout_s: float = _START_S) -> dict[int, str]:
        """Waits until every helper is up at the registry; {helper id: host name}."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            for program in self.helpers.values():
                if program.process.poll() is not None:
                    raise StackError(f"{program.name} ended ({program.process.returncode}):\n{program.log_tail()}")
            up = {h["helper_id"]: h["name"] for h in self.registry("/v1/helpers")["items"] if h["state"] == "up"}
            if set(up.values()) >= set(self.helpers):
                return up
            time.sleep(0.05)
        logs = "\n".join(f"{p.name}:\n{p.log_tail(8)}" for p in self.helpers.values())
        raise StackError(f"helpers are not up within {timeout_s:.0f} s:\n{logs}")

    # --- asking ----------------------------------------------------------------------------------------------------

    def registry(self, path: str) -> dict[str, Any]:
        """GET of the registry's REST, from its own host."""
        return self.ask("registry", "GET", path)

    def ask(self, service: str, method: str, path: str, body: Any = None) -> dict[str, Any]:
        """One request to a service with an operator's key, from the control host; StackError for a refusal."""
        key = Path(self.ready["api_key_files"]["operator"]).read_text().strip()
        url = self.ready[f"{service}_url"] + path
        words = json.dumps({"key": key, "method": method, "url": url, "body": body})
        argv = self.lab["ctl"].enter([*_ELSEWHERE, sys.executable, "-c", _ASK])
        done = subprocess.run(argv, input=words, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise StackError(f"{method} {url}: {done.stderr.strip().splitlines()[-1:]}")
        answer = json.loads(done.stdout)
        assert isinstance(answer, dict)
        return answer

    def worker_pid(self, host: str) -> int:
        """The pid of a helper's DPDK worker: the child of its supervisor."""
        for child in psutil.Process(self.helpers[host].process.pid).children(recursive=True):
            if WORKER_PROGRAM in " ".join(child.cmdline()):
                return int(child.pid)
        raise StackError(f"helper {host} has no worker process")

    def worker_stats(self, host: str) -> dict[str, Any]:
        """The worker's counters over its control socket."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.settimeout(5)
            sock.connect(str(self.work_dir / f"helper-{host}" / "control.sock"))
            sock.sendall(b"stats\n")
            answer = json.loads(sock.makefile("rb").readline())
        assert isinstance(answer, dict)
        return answer

    def kill_worker(self, host: str) -> int:
        """SIGKILL to a helper's worker; the monotonic time of it in nanoseconds."""
        pid = self.worker_pid(host)
        killed_ns = time.monotonic_ns()
        os.kill(pid, signal.SIGKILL)
        return killed_ns

    # --- ending ----------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Ends everything, the youngest first."""
        for program in reversed(self.programs):
            program.stop()
        self.programs.clear()
        self.helpers.clear()


def work_dir_for(name: str) -> Path:
    """A folder for one run's state and logs inside the checkout's own state folder."""
    base = Path(os.environ.get("POSTMAN_STATE_DIR", ".postman")).absolute()
    folder = base / name
    # sun_path of unix(7) holds 108 bytes; the longest socket below is helper-XX/control.sock
    if len(str(folder)) > 80:
        raise LabError(f"the path of the state folder is too long for Unix sockets: {folder}; set POSTMAN_STATE_DIR")
    return folder
