# SPDX-License-Identifier: Apache-2.0
"""The agent as a guest in an application's process: no registry, a dead one, forks, exits."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from vcl.agent import Agent, AgentConfig, AgentError
from vcl.agent_facts import _inbox_prefix

MINE = "127.0.0.1"


@pytest.fixture
def dead_url() -> str:
    """A URL that refuses connections."""
    with socket.socket() as probe:
        probe.bind((MINE, 0))
        return f"http://{MINE}:{probe.getsockname()[1]}"


@pytest.fixture
def silent_url() -> Iterator[str]:
    """A URL that accepts connections and never answers."""
    with socket.create_server((MINE, 0)) as listener:
        yield f"http://{MINE}:{listener.getsockname()[1]}"


def test_without_a_registry_the_agent_is_disabled_and_says_so() -> None:
    agent = Agent(AgentConfig.from_environment({}))
    assert not agent.enabled
    assert agent.resolve("h", 80) is None
    assert agent.last_reason == "no registry configured"
    assert agent.renew_token(1) is None
    agent.subscribe(print)()
    with pytest.raises(AgentError, match="no registry configured"):
        agent.register_server("s", "h", 80, "198.18.0.20", 80)
    assert "vcl-agent" not in {thread.name for thread in threading.enumerate()}
    agent.close()


@pytest.mark.parametrize(
    ("environment", "problem"),
    [
        ({"POSTMAN_REGISTRY_URL": "ftp://x"}, "not an http URL"),
        ({"POSTMAN_REGISTRY_URL": "http://"}, "not an http URL"),
        ({"POSTMAN_REGISTRY_URL": "http://h:notaport"}, "not an http URL"),
        ({"POSTMAN_REGISTRY_URL": "http://h", "POSTMAN_API_KEY_FILE": "/nonexistent/key"}, "cannot be read"),
        ({"POSTMAN_REGISTRY_URL": "http://h", "POSTMAN_NATS_URL_FILE": "/nonexistent/url"}, "cannot be read"),
        ({"POSTMAN_REGISTRY_URL": "http://h", "POSTMAN_API_KEY": "schlüssel"}, "not ASCII"),
    ],
)
def test_a_wrong_setting_is_a_reason(environment: dict[str, str], problem: str) -> None:
    agent = Agent(AgentConfig.from_environment(environment))
    assert agent.resolve("h", 80) is None
    assert problem in agent.last_reason


def test_secrets_may_be_in_files(tmp_path: Path) -> None:
    key, url = tmp_path / "key", tmp_path / "url"
    key.write_text("secret\n")
    url.write_text("nats://agent:hidden@h:4222\n")
    environment = {"POSTMAN_REGISTRY_URL": "http://h", "POSTMAN_API_KEY_FILE": str(key)}
    config = AgentConfig.from_environment(environment | {"POSTMAN_NATS_URL_FILE": str(url)})
    assert (config.api_key, config.nats_url) == ("secret", "nats://agent:hidden@h:4222")
    assert "secret" not in repr(config)
    assert "hidden" not in repr(config)


@pytest.mark.parametrize(
    ("url", "prefix"),
    [
        ("nats://agent:x@h:4222", "_INBOX_agent"),
        ("nats://somebody:x@h:4222", "_INBOX"),
        ("nats://h:4222", "_INBOX"),
        ("nats://[", "_INBOX"),
    ],
)
def test_answers_come_where_the_nats_user_may_listen(url: str, prefix: str) -> None:
    assert _inbox_prefix(url) == prefix


@pytest.mark.parametrize("machine", ["plain", "x" * 64, "_under", "naïve host", "---", ""])
def test_every_machine_has_a_name_that_the_registry_takes(machine: str) -> None:
    from postman_contracts.fields import Name
    from vcl.agent_core import _agent_name

    name = TypeAdapter(Name).validate_python(_agent_name(machine, 4194304))
    assert name.endswith("-4194304")


def test_a_dead_registry_is_a_reason_and_is_asked_once_a_second(dead_url: str) -> None:
    agent = Agent(AgentConfig(dead_url))
    try:
        for port in range(1, 20):
            assert agent.resolve("h", port) is None
            assert "registry unreachable" in agent.last_reason
        assert agent.counters()["resolves"] == 19
        assert agent.counters()["registry_unreachable"] < 19
        assert agent.renew_token(1) is None
        with pytest.raises(AgentError, match="registry unreachable"):
            agent.register_server("s", "h", 80, "198.18.0.20", 80)
    finally:
        agent.close()


def test_a_silent_registry_costs_the_callers_timeout_at_most(silent_url: str) -> None:
    agent = Agent(AgentConfig(silent_url))
    try:
        assert agent.resolve("h", 80, timeout_s=0.2) is None
        assert "no answer within 0.2 s" in agent.last_reason
    finally:
        agent.close()


def test_nonsense_to_register_is_refused_before_anybody_is_asked(dead_url: str) -> None:
    agent = Agent(AgentConfig(dead_url))
    with pytest.raises(AgentError, match="udp_port"):
        agent.register_server("s", "h", 80, "198.18.0.20", 70000)
    agent.close()


def test_a_closed_agent_says_so_and_its_thread_is_gone(dead_url: str) -> None:
    agent = Agent(AgentConfig(dead_url))
    agent.resolve("h", 80)
    agent.close()
    agent.close()
    assert agent.resolve("h", 80) is None
    assert agent.last_reason == "the agent is closed"
    assert "vcl-agent" not in {thread.name for thread in threading.enumerate()}


def test_reasons_belong_to_the_thread_that_asked(dead_url: str) -> None:
    agent = Agent(AgentConfig(dead_url))
    try:
        asking = threading.Thread(target=agent.resolve, args=("h", 80))
        asking.start()
        asking.join()
        assert agent.last_reason == ""
    finally:
        agent.close()


def test_a_forked_child_starts_afresh(dead_url: str) -> None:
    agent = Agent(AgentConfig(dead_url))
    try:
        agent.resolve("h", 80)
        child = os.fork()
        if child == 0:
            ok = False
            try:
                first = agent.counters()["resolves"] == 0
                ok = first and agent.resolve("h", 80) is None and "registry unreachable" in agent.last_reason
                agent.close()
            finally:
                os._exit(0 if ok else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert agent.resolve("h", 81) is None
        assert "registry unreachable" in agent.last_reason
    finally:
        agent.close()


@pytest.mark.parametrize("ending", ["pass", "raise SystemExit(0)", "agent.close()"])
def test_an_interpreter_exits_cleanly_and_quietly(dead_url: str, silent_url: str, ending: str) -> None:
    script = textwrap.dedent(f"""
        import logging, threading
        from vcl.agent import Agent
        logging.getLogger("asyncio").setLevel("ERROR")  # without "took 0.1 seconds" of a busy machine
        agent = Agent.shared()
        assert agent is Agent.shared()
        agent.resolve("h", 80, timeout_s=0.1)
        agent.subscribe(print)
        threading.Thread(target=agent.resolve, args=("i", 80, 60.0), daemon=True).start()
        {ending}
    """)
    environment = os.environ | {
        "POSTMAN_REGISTRY_URL": silent_url,
        "POSTMAN_NATS_URL": dead_url.replace("http", "nats"),
        "PYTHONDEVMODE": "1",
    }
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
