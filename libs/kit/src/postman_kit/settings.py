# SPDX-License-Identifier: Apache-2.0
"""Settings: `POSTMAN_*` environment variables over the file `postman.toml` over the defaults.

A key of the file is the variable's name in lower case without `POSTMAN_`. The file is `POSTMAN_CONFIG`, else
`postman.toml` of the working directory if there is one. One file serves all services, so a key may belong to another
service: only keys with this service's own prefix, or very like one of its names, are refused as misspelt.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from pathlib import Path
from typing import Any, ClassVar, Final, Self
from urllib.parse import parse_qs, urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

ENV_PREFIX: Final = "POSTMAN_"
CONFIG_VARIABLE: Final = "POSTMAN_CONFIG"
CONFIG_NAME: Final = "postman.toml"
_LIKENESS_MIN: Final = 0.9  # difflib ratio: one wrong letter in ten


class SettingsError(Exception):
    """A setting that cannot be used: where it is, what is wrong with it, and what to do."""


class PostmanSettings(BaseSettings):
    """What every process knows; services derive from it and add fields that begin with `own_prefix`."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, extra="ignore", frozen=True)

    own_prefix: ClassVar[str] = ""

    registry_url: str = Field(default="http://127.0.0.1:4780", pattern=r"^https?://[^\s]+$")
    nats_url: SecretStr = SecretStr("nats://127.0.0.1:4222")
    database_url: SecretStr = SecretStr("")
    api_key: SecretStr = SecretStr("")
    api_key_file: Path | None = None
    state_dir: Path = Path(".postman")

    @field_validator("registry_url")
    @classmethod
    def _registry_has_place(cls, value: str) -> str:
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
                "POSTMAN_DATABASE_URL (or database_url in postman.toml) must be "
                "postgresql://USER:PASSWORD@HOST:PORT/DATABASE[?ssl=require]. 'postman up' starts one and sets it"
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
        try:
            content = self.api_key_file.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(
                f"cannot read the API key from {self.api_key_file}: {error}. Correct {ENV_PREFIX}API_KEY_FILE, or set "
                f"{ENV_PREFIX}API_KEY"
            ) from None
        return _checked_key(content, str(self.api_key_file))


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
        if variable in os.environ or name not in from_file:
            place, repair = f"environment variable {variable}", f"correct or unset {variable}"
        else:
            place, repair = f"{path}: key '{name}'", "correct or remove that key"
        lines.append(f"{place}: {item['msg']}; {repair}")
    return "\n".join(lines)
