# SPDX-License-Identifier: Apache-2.0
"""Settings: where values come from, and what is said of those that cannot be used."""

from __future__ import annotations

import os
from pathlib import Path
from typing import ClassVar

import pytest
from pydantic import Field

from postman_kit.settings import PostmanSettings, SettingsError


class GateSettings(PostmanSettings):
    own_prefix: ClassVar[str] = "gate_"

    gate_port: int = Field(default=4780, ge=1, le=65535)
    gate_ttl_s: float = 4.0


@pytest.fixture(autouse=True)
def _clean_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("POSTMAN_"):
            monkeypatch.delenv(name)


def write(text: str) -> None:
    Path("postman.toml").write_text(text)


def refusal() -> str:
    with pytest.raises(SettingsError) as caught:
        GateSettings.load()
    return str(caught.value)


def test_defaults_without_a_file() -> None:
    assert GateSettings.load().gate_port == 4780


def test_environment_over_file_over_default(monkeypatch: pytest.MonkeyPatch) -> None:
    write("gate_port = 1\ngate_ttl_s = 2.5\n")
    monkeypatch.setenv("POSTMAN_GATE_PORT", "2")
    settings = GateSettings.load()
    assert (settings.gate_port, settings.gate_ttl_s) == (2, 2.5)


def test_a_named_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "other.toml").write_text("gate_port = 7")
    monkeypatch.setenv("POSTMAN_CONFIG", "other.toml")
    assert GateSettings.load().gate_port == 7
    monkeypatch.setenv("POSTMAN_CONFIG", "missing.toml")
    assert "missing.toml" in refusal()


def test_keys_of_other_services_are_none_of_ours() -> None:
    write('barrier_height = 3\n[barrier]\ncolour = "red"\n')
    GateSettings.load()


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("gate_port = 'x'", ["postman.toml", "'gate_port'", "correct or remove"]),
        ("gate_port = 70000", ["postman.toml", "'gate_port'", "65535"]),
        ("gate_prt = 1", ["'gate_prt'", "Did you mean 'gate_port'"]),
        ("gate_colour = 1", ["'gate_colour'", "gate_port, gate_ttl_s"]),
        ("registry_urI = 'http://x'", ["Did you mean 'registry_url'"]),
        ("gate_port = ", ["postman.toml", "is not TOML"]),
        ("registry_url = 'ftp://x'", ["'registry_url'"]),
        ("registry_url = 'http://x:y'", ["'registry_url'", "http://HOST:PORT"]),
        ("registry_url = 'http://:80'", ["'registry_url'", "http://HOST:PORT"]),
        ("nats_url = 'nats://h:port'", ["'nats_url'", "nats://USER:PASSWORD@HOST:PORT"]),
        ("placement_url = 'https://x:0'", ["'placement_url'", "http://HOST:PORT"]),
        ("health_url = 'x'", ["'health_url'"]),
        ("nats_url = 'h:4222'", ["'nats_url'", "nats://USER:PASSWORD@HOST:PORT"]),
    ],
)
def test_a_wrong_file_is_named_with_key_and_repair(text: str, parts: list[str]) -> None:
    write(text)
    said = refusal()
    assert [part for part in parts if part not in said] == []


def test_a_wrong_variable_is_named_and_its_value_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    write("gate_port = 1")
    monkeypatch.setenv("POSTMAN_GATE_PORT", "s3cret")
    said = refusal()
    assert "POSTMAN_GATE_PORT" in said
    assert "s3cret" not in said


def test_secrets_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTMAN_DATABASE_URL", "postgresql://u:s3cret@h/d")
    assert "s3cret" not in repr(GateSettings.load())


def test_the_api_key_comes_from_a_variable_or_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match="POSTMAN_API_KEY_FILE"):
        GateSettings.load().client_api_key()
    monkeypatch.setenv("POSTMAN_API_KEY_FILE", str(tmp_path / "key"))
    with pytest.raises(SettingsError, match="cannot read"):
        GateSettings.load().client_api_key()
    (tmp_path / "key").write_text("from-file\n")
    assert GateSettings.load().client_api_key() == "from-file"
    for wrong in (b"", b"two words", b"\xff\xfe", b"\x01"):
        (tmp_path / "key").write_bytes(wrong)
        with pytest.raises(SettingsError, match=str(tmp_path / "key")):
            GateSettings.load().client_api_key()
    monkeypatch.setenv("POSTMAN_API_KEY", "from-variable")
    assert GateSettings.load().client_api_key() == "from-variable"


def test_urls_with_passwords_come_from_variables_or_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nats.url").write_text("nats://u:s3cret@h:4222\n")
    monkeypatch.setenv("POSTMAN_NATS_URL_FILE", str(tmp_path / "nats.url"))
    write(f"database_url_file = '{tmp_path / 'database.url'}'")
    assert "database.url" in refusal()
    (tmp_path / "database.url").write_text("postgresql://u:s3cret@h/d")
    settings = GateSettings.load()
    assert settings.nats_url.get_secret_value() == "nats://u:s3cret@h:4222"
    assert settings.required_database_url() == "postgresql://u:s3cret@h/d"
    monkeypatch.setenv("POSTMAN_NATS_URL", "nats://variable:4222")
    assert GateSettings.load().nats_url.get_secret_value() == "nats://variable:4222"


def test_a_wrong_url_in_a_file_is_told_by_the_files_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nats.url").write_text("s3cret")
    monkeypatch.setenv("POSTMAN_NATS_URL_FILE", str(tmp_path / "nats.url"))
    said = refusal()
    assert "the file that POSTMAN_NATS_URL_FILE names" in said
    assert "s3cret" not in said
    (tmp_path / "nats.url").write_bytes(b"\xff")
    assert str(tmp_path / "nats.url") in refusal()


def test_certificate_and_key_belong_together(monkeypatch: pytest.MonkeyPatch) -> None:
    assert GateSettings.load().tls_files() is None
    monkeypatch.setenv("POSTMAN_TLS_CERT_FILE", "cert.pem")
    with pytest.raises(SettingsError, match="POSTMAN_TLS_KEY_FILE"):
        GateSettings.load().tls_files()
    monkeypatch.setenv("POSTMAN_TLS_KEY_FILE", "key.pem")
    assert GateSettings.load().tls_files() == (Path("cert.pem"), Path("key.pem"))
