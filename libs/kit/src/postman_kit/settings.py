# SPDX-License-Identifier: Apache-2.0
"""Settings: `POSTMAN_*` environment variables over the file `postman.toml` over the defaults.

A key of the file is the variable's name in lower case without `POSTMAN_`. The file is `POSTMAN_CONFIG`, else
`postman.toml` of the working directory if there is one. One file serves all services, so a key may belong to another
service: only keys with this service's own prefix, or very like one of its names, are refused as misspelt.

The URLs with passwords in them may be in files: `POSTMAN_NATS_URL_FILE` says where, and counts if `POSTMAN_NATS_URL` is
not set; likewise the database's URL and the API key.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from pathlib import Path
from typing import Any, ClassVar, Final, Self
from urllib.parse import parse_qs, urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

ENV_PREFIX: Final = "POSTMAN_"
CONFIG_VARIABLE: Final = "POSTMAN_CONFIG"
CONFIG_NAME: Final = "postman.toml"
_LIKENESS_MIN: Final = 0.9  # difflib ratio: one wrong letter in ten
_FROM_FILES: Final = ("nats_url", "database_url")


class SettingsError(Exception):
    """A setting that cannot be used: where it is, what is wrong with it, and what to do."""


class PostmanSettings(BaseSettings):
    """What every process knows; services derive from it and add fields that begin with `own_prefix`."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, extra="ignore", frozen=True)

    own_prefix: ClassVar[str] = ""

    registry_url: str = Field(default="http://127.0.0.1:4780", pattern=r"^https?://[^\s]+$")
    placement_url: str = Field(default="http://127.0.0.1:4781", pattern=r"^https?://[^\s]+$")
    health_url: str = Field(default="http://127.0.0.1:4782", pattern=r"^https?://[^\s]+$")
    nats_url: SecretStr = SecretStr("nats://127.0.0.1:4222")
    nats_url_file: Path | None = None
    database_url: SecretStr = SecretStr("")
    database_url_file: Path | None = None
    api_key: SecretStr = SecretStr("")
    api_key_file: Path | None = None
    tls_cert_file: Path | None = None
    """The certificate chain (PEM) with which a service serves HTTPS."""
    tls_key_file: Path | None = None
    state_dir: Path = Path(".postman")

    @model_validator(mode="before")
    @classmethod
    def _read_secret_files(cls, values: dict[str, Any]) -> dict[str, Any]:
        """A secret whose variable is not set comes from its file."""
        found = {
            name: _secret_of(Path(values[f"{name}_file"]), name.upper())
            for name in _FROM_FILES
            if values.get(f"{name}_file") and not values.get(name)
        }
        return {**values, **found}

    @field_validator("registry_url", "placement_url", "health_url")
    @classmethod
    def _service_has_place(cls, value: str) -> str:
        _check_place(value, "http://HOST:PORT")
        return value

    @field_validator("nats_url")
    @classmethod
    def _nats_has_place(cls, value: SecretStr) -> SecretStr:
        if not value.get_secret_value().startswith(("nats://", "tls://")):
            raise ValueError("must be nats://USER:PASSWORD@HOST:PORT")
        _check_place(value.get_secret_value(), "nats://USER:PASSWORD@HOST:PORT")
        return value

    @classmethod
    def load(cls) -> Self:
        """Read environment and file. SettingsError names the variable or the file and key, and the repair."""
        path = _config_path()
        values = _read_file(path) if path else {}
        if path:
            _refuse_misspelt(cls, path, values)
        known = {name: value for name, value in values.items() if name in cls.model_fields}
        try:
            return cls(**known)
        except ValidationError as error:
            raise SettingsError(_explain(error, path, known)) from None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Environment first: the file's values come as arguments (see `load`) and give way to it."""
        return env_settings, init_settings

    def required_database_url(self) -> str:
        """The database's URL. SettingsError if there is none."""
        url = self.database_url.get_secret_value()
        if not _is_database_url(url):
            raise SettingsError(
                "POSTMAN_DATABASE_URL (or the file of POSTMAN_DATABASE_URL_FILE, or database_url in postman.toml) must "
                "be postgresql://USER:PASSWORD@HOST:PORT/DATABASE[?ssl=require]. 'postman up' starts one and sets it"
            )
        return url

    def client_api_key(self) -> str:
        """The key that a client of the REST presents: `api_key`, else the content of `api_key_file`."""
        if self.api_key.get_secret_value():
            return _checked_key(self.api_key.get_secret_value(), f"{ENV_PREFIX}API_KEY")
        if self.api_key_file is None:
            raise SettingsError(
                f"no API key is set. Set {ENV_PREFIX}API_KEY, or {ENV_PREFIX}API_KEY_FILE to a file with the key"
            )
        return _checked_key(_secret_of(self.api_key_file, "API_KEY"), str(self.api_key_file))

    def tls_files(self) -> tuple[Path, Path] | None:
        """Certificate and key of a service that serves HTTPS; None for HTTP. SettingsError if one is missing."""
        if self.tls_cert_file is None and self.tls_key_file is None:
            return None
        if self.tls_cert_file is None or self.tls_key_file is None:
            raise SettingsError(
                f"{ENV_PREFIX}TLS_CERT_FILE and {ENV_PREFIX}TLS_KEY_FILE belong together. Set both, or none"
            )
        return self.tls_cert_file, self.tls_key_file


def _secret_of(path: Path, variable: str) -> str:
    """The content of a secret's file, without the line's end."""
    try:
        return path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"cannot read {path}: {error}. Correct {ENV_PREFIX}{variable}_FILE, or set {ENV_PREFIX}{variable}"
        ) from None


def _is_database_url(url: str) -> bool:
    """The driver takes no parameter of libpq's but `ssl` (its `sslmode`): others would fail at each connection."""
    try:
        parts = urlsplit(url)
        return (
            parts.scheme in ("postgresql", "postgres", "postgresql+asyncpg")
            and bool(parts.hostname)
            and parts.port != 0
            and set(parse_qs(parts.query, keep_blank_values=True)) <= {"ssl"}
        )
    except ValueError:
        return False


def _checked_key(key: str, place: str) -> str:
    """A key that can stand in a header of HTTP. The error does not repeat it."""
    key = key.strip()
    if not key or not all("!" <= character <= "~" for character in key):
        raise SettingsError(f"{place}: an API key has one or more ASCII characters without spaces. Correct it")
    return key


def _check_place(url: str, form: str) -> None:
    try:
        parts = urlsplit(url)
        if parts.hostname and parts.port != 0:
            return
    except ValueError:  # its text may repeat a password
        pass
    raise ValueError(f"must be {form}")


def _config_path() -> Path | None:
    named = os.environ.get(CONFIG_VARIABLE)
    if named:
        return Path(named)
    default = Path(CONFIG_NAME)
    return default if default.is_file() else None


def _read_file(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise SettingsError(
            f"{path}: cannot be read: {error.strerror}. Correct {CONFIG_VARIABLE} or the file's permissions"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: is not TOML: {error}. Correct that line") from None


def _refuse_misspelt(cls: type[PostmanSettings], path: Path, values: dict[str, Any]) -> None:
    names = list(cls.model_fields)
    for key in values:
        if key in cls.model_fields:
            continue
        like = difflib.get_close_matches(key, names, n=1, cutoff=_LIKENESS_MIN)
        if like:
            raise SettingsError(f"{path}: unknown key '{key}'. Did you mean '{like[0]}'?")
        if cls.own_prefix and key.startswith(cls.own_prefix):
            own = ", ".join(name for name in names if name.startswith(cls.own_prefix))
            raise SettingsError(f"{path}: unknown key '{key}'. Remove it, or use one of: {own}")


def _explain(error: ValidationError, path: Path | None, from_file: dict[str, Any]) -> str:
    """One line per wrong setting. Values are not repeated: they may be secrets."""
    lines = []
    for item in error.errors(include_input=False, include_url=False):
        name = ".".join(str(part) for part in item["loc"]) or "?"
        variable = ENV_PREFIX + name.upper()
        if variable not in os.environ and name not in from_file and _has_file(name, from_file):
            place, repair = f"the file that {variable}_FILE names", "correct its content"
        elif variable in os.environ or name not in from_file:
            place, repair = f"environment variable {variable}", f"correct or unset {variable}"
        else:
            place, repair = f"{path}: key '{name}'", "correct or remove that key"
        lines.append(f"{place}: {item['msg']}; {repair}")
    return "\n".join(lines)


def _has_file(name: str, from_file: dict[str, Any]) -> bool:
    return name in _FROM_FILES and (f"{ENV_PREFIX}{name.upper()}_FILE" in os.environ or f"{name}_file" in from_file)
