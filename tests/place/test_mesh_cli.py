# SPDX-License-Identifier: Apache-2.0
"""`postman place`, `events` and `drain` as programs, with a real control plane and helpers that REST registered."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

CLI = (sys.executable, "-m", "postman_cli")
ENDS_S = 60

MESH = """
[[sites]]
name = "edge"
domain = "rack-1"

[[sites]]
name = "core"
domain = "rack-2"

[[links]]
a = "edge"
b = "core"
rtt_us = 500

[[demands]]
group = "demo"
service = "traffic"
site = "edge"
server_site = "core"
rate_pps = 1000
"""


class Mesh:
    """The control plane, two helpers, and the commands."""

    def __init__(self, plane: Any, folder: Path) -> None:
        self.plane = plane
        self.folder = folder
        agent = plane.client("agent")
        self.leases: dict[int, dict[str, Any]] = {}
        for name, site, address in (("2", "edge", "198.18.0.11"), ("h-core", "core", "198.18.0.12")):
            body = {"name": name, "site": site, "data_address": address, "workers": 1, "version": "1"}
            answer = agent.post("/v1/helpers", json=body).raise_for_status().json()
            self.leases[answer["helper_id"]] = {"incarnation": answer["incarnation"], "state": "up"}
        self.agent = agent

    def renew(self) -> None:
        """What the helpers' supervisors would do; they obey the order to drain at once."""
        for helper_id, lease in self.leases.items():
            answer = self.agent.put(f"/v1/helpers/{helper_id}/lease", json=lease).raise_for_status().json()
            lease["state"] = "draining" if answer["desired_state"] == "draining" else "up"

    def start(self, *words: str) -> subprocess.Popen[str]:
        """A command of an operator."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("POSTMAN_", "COLUMNS"))}
        env = clean | self.plane.environment("operator") | {"POSTMAN_STATE_DIR": str(self.folder)}
        return subprocess.Popen([*CLI, *words], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def run(self, *words: str) -> tuple[int, str, str]:
        """Exit status, output and errors; the helpers live meanwhile."""
        process = self.start(*words)
        while True:
            self.renew()
            try:
                output, errors = process.communicate(timeout=0.3)
            except subprocess.TimeoutExpired:
                continue
            assert "Traceback" not in errors
            return process.returncode, output, errors

    def json(self, *words: str) -> Any:
        """The one document that a command prints which ends well."""
        status, output, errors = self.run(*words, "--json")
        assert status == 0, errors
        return json.loads(output)

    def refused(self, *words: str) -> str:
        """What a command says that fails."""
        status, output, errors = self.run(*words)
        assert (status, output) == (1, "")
        return errors


@pytest.fixture(scope="module")
def mesh(own_control_plane: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    own_control_plane.start()
    made = Mesh(own_control_plane, tmp_path_factory.mktemp("state"))
    yield made
    made.agent.close()


def test_a_placement_from_a_file_to_being_in_force(mesh: Mesh, tmp_path: Path) -> None:
    file = tmp_path / "mesh.toml"
    file.write_text(MESH)
    assert "no placement was applied yet" in mesh.run("place", "show")[1]
    assert "postman place solve" in mesh.refused("place", "explain")
    assert mesh.json("place", "set", str(file)) == {"topology": 1, "demands": 1}
    found = mesh.json("place", "solve", "--headroom", "0.1")
    [decision] = found["assignments"]
    assert found["is_optimal"]
    assert {decision["primary"]["site"], decision["backup"]["site"]} == {"edge", "core"}
    applied = mesh.json("place", "apply", found["placement_id"])
    assert (applied["state"], applied["epoch"]) == ("applied", 1)
    status, output, _ = mesh.run("place", "explain", "--group", "demo")
    assert status == 0
    assert f"primary: helper {decision['primary']['helper_id']}" in output
    [shown] = mesh.json("place", "show")["items"]
    assert (shown["primary"], shown["backup"]) == tuple(decision[role]["helper_id"] for role in ("primary", "backup"))
    assert [item["state"] for item in mesh.json("place", "list")] == ["applied"]
    assert "has no group none" in mesh.refused("place", "explain", "--group", "none")


def test_what_a_file_leaves_out_stays(mesh: Mesh, tmp_path: Path) -> None:
    sites, links = [{"name": "edge"}, {"name": "core"}], [{"a": "edge", "b": "core", "rtt_us": 500}]
    with mesh.plane.client("operator", "placement") as operator:
        operator.put("/v1/topology", json={"sites": sites, "links": links}).raise_for_status()
    file = tmp_path / "sites.json"
    file.write_text(json.dumps({"sites": [*sites, {"name": "new"}]}))
    mesh.json("place", "set", str(file))
    known = json.loads(mesh.run("place", "get")[1])
    assert [link["rtt_us"] for link in known["links"]] == [500]
    assert {site["name"] for site in known["sites"]} == {"edge", "core", "new"}


def test_a_file_that_cannot_be_sent_is_named(mesh: Mesh, tmp_path: Path) -> None:
    file = tmp_path / "nan.toml"
    file.write_text("demands = [{rate_pps = nan}]")
    assert "nan.toml" in mesh.refused("place", "set", str(file))


def test_a_drained_helper_comes_back(mesh: Mesh) -> None:
    by_name = {"2": min(mesh.leases), "h-core": max(mesh.leases)}
    assert by_name == {"2": 1, "h-core": 2}, "the one that is called 2 must not be taken for the helper 2"
    drained = mesh.json("drain", "2")
    assert (drained["name"], drained["state"]) == ("h-core", "draining")
    assert mesh.json("drain", "--undo", "h-core")["state"] == "up"
    assert "Known are: 1 (2), 2 (h-core)" in mesh.refused("drain", "none")


def test_events_by_filter(mesh: Mesh, wait_until: Callable[..., Any]) -> None:
    wait_until(lambda: len(mesh.json("events", "--kind", "helper.up")) >= 2)
    events = mesh.json("events", "--helper", "2")
    assert events[0]["kind"] == "helper.up"
    assert {event["body"]["helper_id"] for event in events} == {2}
    assert "kind" in mesh.refused("events", "--kind", "[x]")
    assert mesh.run("events", "--limit", "501")[0] == 2


def test_events_are_followed_from_where_they_were_while_health_is_away(
    mesh: Mesh, wait_until: Callable[..., Any]
) -> None:
    """Also if none has come yet that passes the filters."""
    ports: list[set[int]] = [set()]

    def is_listening() -> bool:
        """It has asked what there was, each with a connection that ended at once, and holds one that stays."""
        connections = psutil.Process(process.pid).net_connections("tcp")
        ports.append({one.laddr.port for one in connections if one.status == psutil.CONN_ESTABLISHED})
        return len(ports) > 3 and bool(set.intersection(*ports[-3:]))

    process = mesh.start("events", "--follow", "--json", "--kind", "server.up")
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        wait_until(is_listening)
        mesh.plane.stop_service("health")
        assert "trying again" in process.stderr.readline()
        body = {"service": "s", "host": "s.lab", "tcp_port": 7, "udp_port": 7, "data_address": "198.18.0.9"}
        mesh.agent.post("/v1/servers", json=body).raise_for_status()
        mesh.plane.start()
        assert json.loads(process.stdout.readline())["kind"] == "server.up"
    finally:
        process.kill()
        process.communicate()
