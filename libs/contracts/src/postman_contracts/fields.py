# SPDX-License-Identifier: Apache-2.0
"""Field types that REST bodies and messages share, each with its limits.

Secrets are bytes in Python and base64 in JSON; times are aware datetimes and ISO 8601 in UTC.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import math
from datetime import UTC, datetime
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field, PlainSerializer, WithJsonSchema

STATS_MAX: Final = 128
"""Most entries of one `stats` object: every counter of a worker fits with room to spare."""

STAT_LOAD: Final = "load"
"""The one entry of `stats` that the registry reads: busy share of the helper's busiest core, 0 to 1."""


def _address(value: str) -> str:
    """Normalise a unicast address without a scope, so that equal addresses are equal strings."""
    if "%" in value:
        raise ValueError("an address must not name an interface (no '%')")
    address = ipaddress.ip_address(value)
    if address.is_unspecified or address.is_multicast:
        raise ValueError("must be the address of one interface, not unspecified or multicast")
    return str(address)


def _host(value: str) -> str:
    """Normalise what clients call a server by: without the final dot of DNS, in lower case, an address as text."""
    name = value.lower().removesuffix(".")
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        pass
    if not name:
        raise ValueError("must be a name or an address")
    return name


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError("must be finite")
    return value


def _utc(value: datetime) -> datetime:
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ValueError("must be in the years 1 to 9999 in UTC, too") from None


def _secret(length_bytes: int) -> tuple[BeforeValidator, PlainSerializer, WithJsonSchema]:
    """Bytes of one exact length, written as base64 in JSON; the bytes never appear in an error text."""

    def parse(value: object) -> bytes:
        if isinstance(value, str):
            try:
                value = base64.b64decode(value, validate=True)
            except (binascii.Error, ValueError):
                raise ValueError("must be base64") from None
        if not isinstance(value, bytes) or len(value) != length_bytes:
            raise ValueError(f"must be {length_bytes} bytes in base64")
        return value

    text_length = 4 * math.ceil(length_bytes / 3)
    schema = {"type": "string", "format": "base64", "minLength": text_length, "maxLength": text_length}
    return (
        BeforeValidator(parse),
        PlainSerializer(lambda value: base64.b64encode(value).decode("ascii"), return_type=str, when_used="json"),
        WithJsonSchema(schema),
    )


IpAddress = Annotated[str, Field(max_length=45, examples=["198.18.0.10"]), AfterValidator(_address)]
Port = Annotated[int, Field(ge=1, le=65535)]
Name = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]*$")]
HostName = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[A-Za-z0-9:._-]+$"), AfterValidator(_host)]
"""The name (or address, as text) by which clients call a server; neither case nor a final dot matters."""

HelperId = Annotated[int, Field(ge=1, le=65535)]
"""0 is the direct path and never a helper."""

ServerId = Annotated[int, Field(ge=1, le=65535)]
ServiceId = Annotated[int, Field(ge=1, lt=1 << 53)]
Shard = Annotated[int, Field(ge=0, le=255)]
Incarnation = Annotated[int, Field(ge=1, lt=1 << 32)]
KeyId = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(gt=0, le=86400, allow_inf_nan=False)]
Time = Annotated[AwareDatetime, AfterValidator(_utc)]
Text = Annotated[str, Field(max_length=200)]

StatName = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.]+$")]
StatValue = Annotated[int, Field(ge=-(1 << 63), lt=1 << 64)] | Annotated[float, AfterValidator(_finite)]
Stats = Annotated[dict[StatName, StatValue], Field(max_length=STATS_MAX)]

Key16 = Annotated[bytes, *_secret(16)]
Key32 = Annotated[bytes, *_secret(32)]
TokenBytes = Annotated[bytes, *_secret(64)]

HelperReportedState = Literal["up", "draining"]
HelperState = Literal["starting", "up", "draining", "down", "gone"]
ServerState = Literal["up", "down", "gone"]
VerdictName = Literal["up", "suspect", "down"]
AssignmentRole = Literal["primary", "backup", "standby"]
"""What a helper is for in an epoch: some group's first choice; only a backup; not used."""


def _prefix(value: str) -> str:
    """Normalise an address prefix, so that equal prefixes are equal strings."""
    try:
        return str(ipaddress.ip_network(value))
    except ValueError as error:
        raise ValueError(f"must be an address prefix such as 198.18.0.0/24: {error}") from None


Prefix = Annotated[str, Field(max_length=49, examples=["198.18.0.0/24"]), AfterValidator(_prefix)]
Epoch = Annotated[int, Field(ge=1, lt=1 << 53)]
Microseconds = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
PacketsPerSecond = Annotated[float, Field(gt=0, le=1e12, allow_inf_nan=False)]
