# SPDX-License-Identifier: Apache-2.0
"""What bodies must keep beyond the types of their fields: names once, sites known, times not of the future. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

from postman_contracts import rest_placement as rest
from postman_contracts.problems import FieldError
from postman_contracts.tokens import SKEW_S
from postman_placement import refusals

CLOCK_SKEW: Final = timedelta(seconds=SKEW_S)
"""How far a measurement may be ahead of our clock: as far as clocks of one installation may differ (rule K4)."""


def check_topology(topology: rest.Topology) -> None:
    """A problem unless each site and each pair is given once, links have two ends, and their sites are given."""
    errors: list[FieldError] = []
    names: dict[str, int] = {}
    for index, site in enumerate(topology.sites):
        if site.name in names:
            errors.append(_error(f"sites.{index}.name", f"site {site.name} is also sites.{names[site.name]}"))
        names.setdefault(site.name, index)
    pairs: dict[tuple[str, str], int] = {}
    for index, link in enumerate(topology.links):
        pair = ordered(link.a, link.b)
        if link.a == link.b:
            errors.append(_error(f"links.{index}.b", f"the link has site {link.a} at both ends"))
        elif pair in pairs:
            message = f"sites {link.a} and {link.b} are also links.{pairs[pair]}; a link counts in both directions"
            errors.append(_error(f"links.{index}", message))
        pairs.setdefault(pair, index)
    if errors:
        raise refusals.invalid(errors)
    unknown = [
        _error(f"links.{index}.{end}", f"site {name} is not among the sites")
        for index, link in enumerate(topology.links)
        for end, name in (("a", link.a), ("b", link.b))
        if name not in names
    ]
    if unknown:
        raise refusals.unknown_sites(unknown)


def check_measurements(items: Sequence[rest.Measurement], *, now: datetime) -> None:
    """A problem unless all are between two sites and none is of the future."""
    errors = []
    for index, item in enumerate(items):
        if item.a == item.b:
            errors.append(_error(f"items.{index}.b", f"the measurement has site {item.a} at both ends"))
        if item.at > now + CLOCK_SKEW:
            message = f"{item.at.isoformat()} is in the future (it is {now.isoformat()}); correct the sender's clock"
            errors.append(_error(f"items.{index}.at", message))
    if errors:
        raise refusals.invalid(errors)


def check_measured_sites(items: Sequence[rest.Measurement], known: Collection[str]) -> None:
    """A problem unless all sites are known."""
    _require_known(
        (
            (f"items.{index}.{end}", name)
            for index, item in enumerate(items)
            for end, name in (("a", item.a), ("b", item.b))
        ),
        known,
    )


def newest_of_pairs(items: Sequence[rest.Measurement]) -> list[rest.Measurement]:
    """Of each pair the newest, with a < b; of two at the same instant the longer one."""
    newest: dict[tuple[str, str], rest.Measurement] = {}
    for item in sorted(items, key=lambda one: (one.at, one.rtt_us)):
        pair = a, b = ordered(item.a, item.b)
        newest[pair] = item.model_copy(update={"a": a, "b": b})
    return list(newest.values())


def ordered(a: str, b: str) -> tuple[str, str]:
    """The pair, whichever end was named first."""
    return (a, b) if a <= b else (b, a)


def check_demands(items: Sequence[rest.Demand]) -> None:
    """A problem unless each group asks once for a service, is at one site, and no two claim the same clients."""
    errors: list[FieldError] = []
    asked: dict[tuple[str, str], int] = {}
    sites: dict[str, tuple[str, int]] = {}
    claimed: dict[tuple[str, str], tuple[str, int]] = {}
    for index, item in enumerate(items):
        first = asked.setdefault((item.group, item.service), index)
        if first != index:
            message = f"group {item.group} and service {item.service} are also items.{first}"
            errors.append(_error(f"items.{index}", message))
            continue
        site, first = sites.setdefault(item.group, (item.site, index))
        if site != item.site:
            message = f"group {item.group} is at {site} in items.{first}; a group is at one site"
            errors.append(_error(f"items.{index}.site", message))
        for prefix in item.prefixes:
            group, first = claimed.setdefault((item.service, prefix), (item.group, index))
            if group != item.group:
                message = f"{prefix} belongs to group {group} for the same service in items.{first}"
                errors.append(_error(f"items.{index}.prefixes", message))
    if errors:
        raise refusals.invalid(errors)


def check_demanded_sites(items: Sequence[rest.Demand], known: Collection[str]) -> None:
    """A problem unless all sites are known."""
    named = [(f"items.{index}.site", item.site) for index, item in enumerate(items)]
    named += [(f"items.{index}.server_site", item.server_site) for index, item in enumerate(items) if item.server_site]
    _require_known(named, known)


def _require_known(named: Iterable[tuple[str, str]], known: Collection[str]) -> None:
    unknown = [_error(field, f"there is no site {name}") for field, name in named if name not in known]
    if unknown:
        raise refusals.unknown_sites(unknown)


def _error(field: str, message: str) -> FieldError:
    return FieldError(field=field, message=message)
