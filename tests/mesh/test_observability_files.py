# SPDX-License-Identifier: Apache-2.0
"""The files of the profile `observability` fit together. Its images are not run here: see docs/observability.md."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

CHECKOUT = Path(__file__).resolve().parents[2]
FOLDER = CHECKOUT / "deploy" / "observability"
STORES = {"collector", "jaeger", "prometheus", "loki", "grafana"}
EXPORTING = {"registry", "placement", "health", "helper-1", "helper-2", "server", "client"}


def read(name: str) -> Any:
    return yaml.safe_load((FOLDER / name).read_text())


def dashboards() -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(FOLDER.glob("grafana/dashboards/*.json"))]


def test_the_collector_hands_each_signal_to_a_store_that_exists() -> None:
    config = read("collector.yaml")
    services = set(read("compose.yaml")["services"])
    pipelines = config["service"]["pipelines"]
    assert set(pipelines) == {"traces", "metrics", "logs"}
    for pipeline in pipelines.values():
        for part in ("receivers", "processors", "exporters"):
            assert set(pipeline[part]) <= set(config[part])
        assert pipeline["processors"][0] == "memory_limiter"
    used = {name for pipeline in pipelines.values() for name in pipeline["exporters"]}
    assert used == set(config["exporters"])
    hosts = {exporter["endpoint"].split("/")[2].split(":")[0] for exporter in config["exporters"].values()}
    assert hosts <= services


def test_prometheus_takes_otlp_and_has_the_labels_of_the_dashboards() -> None:
    assert "--web.enable-otlp-receiver" in read("compose.yaml")["services"]["prometheus"]["command"]
    otlp = read("prometheus.yaml")["otlp"]
    assert otlp["translation_strategy"] == "UnderscoreEscapingWithSuffixes"
    assert {"service.name", "service.instance.id"} <= set(otlp["promote_resource_attributes"])


def test_dashboards_know_their_sources_and_do_not_overlap() -> None:
    sources = {source["uid"]: source["type"] for source in read("grafana/datasources/stores.yaml")["datasources"]}
    assert set(sources.values()) == {"prometheus", "jaeger", "loki"}
    for board in dashboards():
        panels = board["panels"]
        assert len({panel["id"] for panel in panels}) == len(panels)
        taken: set[tuple[int, int]] = set()
        for panel in panels:
            if panel["type"] != "row":
                assert sources[panel["datasource"]["uid"]] == panel["datasource"]["type"]
            place = panel["gridPos"]
            cells = {
                (x, y)
                for x in range(place["x"], place["x"] + place["w"])
                for y in range(place["y"], place["y"] + place["h"])
            }
            assert place["x"] + place["w"] <= 24
            assert not cells & taken, panel["title"]
            taken |= cells


def test_mounted_files_exist() -> None:
    for service in read("compose.yaml")["services"].values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert not source.startswith(".") or (FOLDER / source).exists(), source


def compose_config(*options: str) -> dict[str, Any]:
    if (
        shutil.which("docker") is None
        or subprocess.run(["docker", "compose", "version"], capture_output=True).returncode
    ):
        pytest.skip("docker compose is not installed")
    command = ["docker", "compose", *options, "config", "--format", "json"]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout)["services"])


def test_compose_starts_the_stores_only_when_asked() -> None:
    assert not STORES & set(compose_config())
    services = compose_config("--env-file", str(FOLDER / "on.env"))
    assert set(services) >= STORES | EXPORTING
    for name in EXPORTING:
        assert services[name]["environment"]["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://collector:4318"
        assert "default" in services[name]["networks"]
    for name in STORES:
        assert "default" in services[name]["networks"]
        assert all(port["host_ip"] == "127.0.0.1" for port in services[name].get("ports", []))


def test_off_is_off_in_compose() -> None:
    for name, service in compose_config().items():
        assert not (service.get("environment") or {}).get("OTEL_EXPORTER_OTLP_ENDPOINT"), name
