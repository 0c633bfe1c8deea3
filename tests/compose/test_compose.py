# SPDX-License-Identifier: Apache-2.0
"""`docker compose up`, and what an operator does then: look, place, lose a helper, restart the stores, stop.

The tests share one installation and one client that never stops sending; each leaves everything healthy.
"""

from __future__ import annotations

import json
from pathlib import Path
from statistics import mean
from typing import Any

import pytest
from compose_project import HELPER_ADDRESSES, LONG_RUNNING, Project, run, wait_for
from scapy.layers.inet import IP, UDP
from scapy.utils import PcapReader

pytestmark = [pytest.mark.compose, pytest.mark.timeout(600)]

START_S_MAX = 90
CLIENT_PORT, TRUNK_PORT = 4701, 4702
MESSAGE_BYTES = 64
FAR_US = 20_000.0


def place(project: Project, wanted: str) -> dict[str, Any]:
    """Tells placement that the other helper's site is slow, has it solved, and applies that; the placement."""
    sites = {"edge-1": "rack-1", "edge-2": "rack-2", "core": "rack-3"}
    slow = {"helper-1": "edge-2", "helper-2": "edge-1"}[wanted]
    topology = {
        "sites": [
            {"name": name, "domain": domain, "helper_delay_us": FAR_US if name == slow else 10.0}
            for name, domain in sites.items()
        ],
        "links": [
            {"a": "edge-1", "b": "edge-2", "rtt_us": 200},
            {"a": "edge-1", "b": "core", "rtt_us": 400},
            {"a": "edge-2", "b": "core", "rtt_us": 400},
        ],
    }
    demands = {"items": [{"group": "demo", "service": "traffic", "site": "edge-1", "rate_pps": 1000}]}
    project.call("placement", "PUT", "/v1/topology", topology)
    project.call("placement", "PUT", "/v1/demands", demands)
    made = project.call("placement", "POST", "/v1/placements", {})
    explained = project.call("placement", "GET", f"/v1/placements/{made['placement_id']}")
    assert explained["state"] == "proposed"
    applied: dict[str, Any] = project.call("placement", "POST", f"/v1/placements/{made['placement_id']}/apply")
    assert applied["assignments"] == explained["assignments"]
    return applied


def wait_used(project: Project, helper: str, timeout_s: float = 60) -> None:
    """Until the client's connections go by this helper."""
    wait_for(lambda: project.helper_in_use() == helper, timeout_s, lambda: f"{project.ledger()}, not by {helper}")


def other(helper: str) -> str:
    """The other one of the two."""
    return next(name for name in HELPER_ADDRESSES if name != helper)


def lengths(path: Path, source: str, target: str, *, source_port: int = 0, target_port: int = 0) -> list[int]:
    """Bytes of the UDP payloads of one direction."""
    with PcapReader(str(path)) as packets:
        return [
            packet[UDP].len - 8
            for packet in packets
            if UDP in packet
            and (packet[IP].src, packet[IP].dst) == (source, target)
            and source_port in (0, packet[UDP].sport)
            and target_port in (0, packet[UDP].dport)
        ]


def test_all_is_healthy_in_time_and_the_ledger_grows(project: Project) -> None:
    assert project.seconds_to_healthy() <= START_S_MAX
    ledger = project.wait_growing()
    assert ledger["clean"], ledger
    project.wait_on_helper()
    assert project.ledger("server")["clean"]


def test_containers_may_do_no_more_than_they_must(project: Project) -> None:
    found = project.containers()
    for service in LONG_RUNNING:
        host = found[service]["HostConfig"]
        assert host["ReadonlyRootfs"], service
        assert host["CapDrop"] == ["ALL"], service
        assert "no-new-privileges:true" in host["SecurityOpt"], service
        assert not host["Privileged"], service
        assert host["RestartPolicy"]["Name"] == "unless-stopped", service
        is_root = found[service]["Config"]["User"].split(":")[0] in ("", "0", "root")
        assert is_root == (service in ("postgres", "helper-1", "helper-2")), service
        for bindings in (host["PortBindings"] or {}).values():
            assert [binding["HostIp"] for binding in bindings] == ["127.0.0.1"], service
    for helper in HELPER_ADDRESSES:
        allowed = {name.removeprefix("CAP_") for name in found[helper]["HostConfig"]["CapAdd"]}
        assert allowed <= {"NET_ADMIN", "NET_RAW", "IPC_LOCK"}


def test_secrets_are_in_no_image_and_only_where_they_are_read(project: Project) -> None:
    keys = project.compose(
        "exec", "-T", "registry", "sh", "-c", "cat /run/postman/keys/* /run/postman/secrets/*"
    ).split()
    assert len(keys) == 6  # four API keys, two URLs with passwords
    told = project.compose("config") + run(["docker", "inspect", *_images(project)]).stdout
    told += json.dumps(list(project.containers().values()))
    assert not [key for key in keys if key in told]
    for service, files in {
        "client": ["api.key", "nats.url"],
        "helper-1": ["api.key", "nats.url"],
        "health": ["database.url", "nats.url"],
    }.items():
        listed = project.compose(
            "exec", "-T", service, "sh", "-c", "cd /run/postman/secrets; ls; ls -d ../keys || true"
        )
        assert [name for name in listed.split() if name != "../keys"] == files
        assert ("../keys" in listed) == (service == "health")


def _images(project: Project) -> list[str]:
    return sorted({container["Image"] for container in project.containers().values()})


def test_a_placement_moves_the_traffic(project: Project) -> None:
    first = project.wait_on_helper()
    for wanted in (other(first), first):
        placement = place(project, wanted)
        assignment = placement["assignments"][0]
        names = {helper["helper_id"]: helper["name"] for helper in placement["helpers"]}
        assert names[assignment["primary"]["helper_id"]] == wanted
        assert names[assignment["backup"]["helper_id"]] == other(wanted)
        wait_used(project, wanted)
        before = project.worker_frames(wanted)
        wait_for(lambda at=before, name=wanted: project.worker_frames(name) > at + 100, 30, lambda: "no frames there")
    assert project.wait_growing()["clean"]


def test_a_killed_helper_is_not_noticed_by_the_client(project: Project) -> None:
    killed = project.wait_on_helper()
    project.compose("kill", killed)
    wait_used(project, other(killed))
    ledger = project.wait_growing()
    assert ledger["clean"], ledger
    assert ledger["connects"] == ledger["connections"], "a connection was made anew"
    project.compose("start", killed)
    project.wait_healthy(90)
    wait_used(project, killed, 120)  # it is the group's primary, and it has proved itself again
    assert project.wait_growing()["clean"]


def test_restarted_stores_lose_nothing(project: Project) -> None:
    epoch = project.call("placement", "GET", "/v1/assignments")["epoch"]
    events = project.call("health", "GET", "/v1/events?limit=500")["items"]
    project.compose("restart", "postgres", "nats")
    project.wait_healthy(90)
    assert project.call("placement", "GET", "/v1/assignments")["epoch"] == epoch
    assert project.call("health", "GET", "/v1/events?limit=500")["items"][: len(events)] == events
    assert project.wait_growing()["clean"]
    used = project.wait_on_helper()
    assert place(project, other(used))["epoch"] > epoch
    wait_used(project, other(used))
    assert project.wait_growing()["clean"]


def test_datagrams_to_the_server_carry_several_messages(project: Project, tmp_path: Path) -> None:
    client = project.containers()["client"]["NetworkSettings"]["Networks"][f"{project.name}_data"]["IPAddress"]
    server = f"{project.data_net}.100"
    project.wait_on_helper()
    path = tmp_path / "data.pcap"
    project.capture(path, packets=5000)
    small, trunk = [], []
    for number in HELPER_ADDRESSES.values():
        helper = f"{project.data_net}.{number}"
        small += [n for n in lengths(path, client, helper, target_port=CLIENT_PORT) if n >= MESSAGE_BYTES]
        batches = lengths(path, helper, server, source_port=TRUNK_PORT)
        trunk += [n for n in batches if n >= MESSAGE_BYTES]  # without those with acknowledgements alone
    assert len(small) > 100
    # One message each, but where a connection had several to send at once, as after a pause of the machine.
    assert min(small) < 2 * MESSAGE_BYTES
    assert mean(trunk) > mean(small)
    assert max(trunk) > 4 * MESSAGE_BYTES
    assert len(trunk) < len(small)


def test_stopping_waits_for_what_is_outstanding(project: Project) -> None:
    project.compose("stop", "client")
    state = project.containers()["client"]["State"]
    assert state["ExitCode"] == 0, project.compose("logs", "--tail", "40", "client")
    said = project.compose("logs", "--no-log-prefix", "--no-color", "client")
    final = json.loads(said[said.index("{\n") :])
    assert final["final"]
    assert final["clean"]
    assert final["sent"] == final["received"]
    assert final["outstanding"] == 0
    project.compose("start", "client")
    project.wait_healthy(90)
