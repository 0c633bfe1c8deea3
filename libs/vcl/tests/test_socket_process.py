# SPDX-License-Identifier: Apache-2.0
"""Connections and processes: forks, the end of a program, its idleness."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

from vcl.errors import ForkedError


def test_a_child_may_not_use_its_parents_connections(vcl_world: Any) -> None:
    client, server = vcl_world.pair()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            client.send(b"from the child")
            verdict = b"sent"
        except ForkedError:
            verdict = b"forked"
        except BaseException as error:
            verdict = repr(error).encode()
        client.close()
        os.write(writing, verdict)
        os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    assert os.read(reading, 1000) == b"forked"
    os.close(reading)
    client.sendall(b"from the parent")
    assert server.recv(100) == b"from the parent"
    client.close()
    server.close()


PROGRAM = """
import sys, threading
sys.path.insert(0, {tests!r})
from conftest import VclWorld
world = VclWorld()
client, server = world.pair()
{body}
"""


def run_program(body: str, timeout_s: float = 20) -> subprocess.CompletedProcess[str]:
    program = PROGRAM.format(tests=str(Path(__file__).parent), body=textwrap.dedent(body))
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=timeout_s)


def test_a_program_with_open_connections_ends() -> None:
    done = run_program("client.sendall(b'unread'); print('end')")
    assert (done.returncode, done.stdout, done.stderr) == (0, "end\n", "")


def test_a_program_ends_with_a_connection_that_outlived_its_listener() -> None:
    """The last one ends the endpoint in a thread of its own, which an ending interpreter cannot start."""
    done = run_program("client.close(); world.listener.close(); print('end')")
    assert (done.returncode, done.stdout, done.stderr) == (0, "end\n", "")


def test_a_program_ends_while_a_daemon_thread_waits() -> None:
    done = run_program(
        """
        client.settimeout(None)
        started = threading.Event()
        def read():
            started.set()
            try:
                client.recv(1)
            except OSError:
                pass
        threading.Thread(target=read, daemon=True).start()
        started.wait()
        print('end')
        """
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "end\n", "")


def test_the_last_bytes_of_a_program_arrive() -> None:
    """What exits.py does at the end, with a reader that sees what arrives."""
    done = run_program(
        """
        import os
        payload = os.urandom(200_000)
        got = []
        def read():
            while block := server.recv(65536):
                got.append(block)
        reader = threading.Thread(target=read)
        reader.start()
        client.sendall(payload)
        world.sessions.begin_close(2.0)
        world.sessions.finish_close(5.0)
        reader.join(10)
        print(b''.join(got) == payload)
        """
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "True\n", "")


def test_an_idle_process_uses_no_processor() -> None:
    done = run_program(
        """
        import resource, time
        others = [world.pair() for _ in range(20)]
        for c, s in others:
            c.sendall(b'x'); s.recv(1)
        deadline = time.monotonic() + 15
        def used():
            usage = resource.getrusage(resource.RUSAGE_SELF)
            return usage.ru_utime + usage.ru_stime
        while True:  # acknowledgements and their timers settle first
            before = used()
            time.sleep(1)
            spent = used() - before
            if spent < 0.005 or time.monotonic() > deadline:
                break
        print('idle' if spent < 0.005 else f'{spent} s of one')
        """
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "idle\n", "")
