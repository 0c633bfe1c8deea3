# SPDX-License-Identifier: Apache-2.0
"""From what is stored and what runs to the snapshot that the solver gets, with what is left out and why. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from postman_contracts import rest_placement as rest
from postman_contracts.problems import FieldError
from postman_placement import domain, refusals
from postman_placement.domain import listed
from postman_placement.fleet import Fleet, FleetHelper

HELPERS_MAX: Final = 800
"""Most helpers of one placement: each message of an epoch names them all, and has room for an assignment besides."""

NOTE_CHARACTERS_MAX: Final = 200


@dataclass(frozen=True, slots=True)
class StoredInputs:
    """Topology, demands and measurements as they were at one moment."""

    topology_version: int
    demands_version: int
    sites: Sequence[rest.Site]
    links: Sequence[rest.Link]
    measurements: Sequence[rest.Measurement]
    demands: Sequence[rest.Demand]


@dataclass(frozen=True, slots=True)
class Usable:
    """The helpers that may be used at known sites, and why others may not."""

    helpers: tuple[domain.Helper, ...]
    notes: tuple[str, ...] = field(default=())

    @property
    def site_of(self) -> dict[int, str]:
        """Of each helper: its site."""
        return {helper.helper_id: helper.site for helper in self.helpers}


def usable_helpers(fleet: Fleet, sites: Sequence[rest.Site]) -> Usable:
    """The helpers that run at a site of the topology."""
    known = {site.name: _site(site) for site in sites}
    placed = [(helper, known[helper.site]) for helper in fleet.helpers if helper.site in known]
    notes = [note[:NOTE_CHARACTERS_MAX] for note in _left_out(fleet, known, placed)]
    helpers = tuple(domain.helper_at(site, helper.helper_id, helper.name) for helper, site in placed[:HELPERS_MAX])
    return Usable(helpers, (*fleet.notes, *notes))


def _left_out(
    fleet: Fleet, known: dict[str, domain.Site], placed: list[tuple[FleetHelper, domain.Site]]
) -> Iterator[str]:
    no_site = [helper.name for helper in fleet.helpers if helper.site is None]
    if no_site:
        yield f"not used, since they do not say their site (POSTMAN_HELPER_SITE): {listed(no_site)}"
    unknown = [
        f"{helper.name} at {helper.site}" for helper in fleet.helpers if helper.site and helper.site not in known
    ]
    if unknown:
        yield f"not used, since the topology does not have their site: {listed(unknown)}"
    if len(placed) > HELPERS_MAX:
        yield f"only the {HELPERS_MAX} helpers with the lowest ids are used, of {len(placed)}"


def useless_exclusions(excluded: Sequence[int], usable: Usable) -> tuple[str, ...]:
    """A note on ids that exclude nobody: they may be misspelt."""
    useless = [str(helper_id) for helper_id in sorted(set(excluded) - usable.site_of.keys())]
    said = f"excluded_helpers without effect, since they could not be used anyway: {listed(useless)}"
    return (said[:NOTE_CHARACTERS_MAX],) if useless else ()


def snapshot_of(inputs: StoredInputs, fleet: Fleet, usable: Usable) -> domain.Snapshot:
    """What the solver gets. A problem that says what is missing, and where to give it, if anything is."""
    if not inputs.sites:
        raise refusals.nothing_to_place("The topology has no sites. Give them with PUT /v1/topology.")
    if not inputs.demands:
        raise refusals.nothing_to_place("There are no demands. Give them with PUT /v1/demands.")
    if not usable.helpers:
        why = "; ".join(("no helper can be used", *usable.notes))
        raise refusals.nothing_to_place(
            f"{why}. Start helpers whose POSTMAN_HELPER_SITE is a site of the topology, or add their sites to it."
        )
    known = {site.name for site in inputs.sites}
    return domain.Snapshot(
        sites=tuple(_site(site) for site in inputs.sites),
        links=tuple(domain.Link(link.a, link.b, link.rtt_us) for link in inputs.links),
        measurements=tuple(domain.Measurement(one.a, one.b, one.rtt_us, one.at) for one in inputs.measurements),
        demands=_demands(inputs.demands, fleet, known),
        helpers=usable.helpers,
    )


def _site(site: rest.Site) -> domain.Site:
    return domain.Site(site.name, site.domain, site.helper_capacity_pps, site.helper_cost, site.helper_delay_us)


def _demands(demands: Sequence[rest.Demand], fleet: Fleet, known: set[str]) -> tuple[domain.Demand, ...]:
    """With the sites of their servers."""
    errors: list[FieldError] = []
    found = []
    for index, demand in enumerate(demands):
        sites = (demand.server_site,) if demand.server_site else fleet.service_sites.get(demand.service, ())
        server_sites = tuple(site for site in sites if site in known)
        if demand.site not in known:
            message = (
                f"demand {demand.group} to {demand.service} is at site {demand.site}, which is not in the topology"
            )
            errors.append(FieldError(field=f"demands.{index}.site", message=message))
        elif not server_sites:
            where = f"at {listed(list(sites))}, not in the topology" if sites else "at no site that the registry knows"
            message = (
                f"the servers of {demand.service} (for {demand.group}) are {where}; set the demand's server_site, or "
                "POSTMAN_SITE where the server runs"
            )
            errors.append(FieldError(field=f"demands.{index}.server_site", message=message))
        else:
            found.append(
                domain.Demand(
                    group=demand.group,
                    service=demand.service,
                    site=demand.site,
                    server_sites=server_sites,
                    rate_pps=demand.rate_pps,
                    weight=demand.weight,
                    latency_us_max=demand.latency_us_max,
                )
            )
    if errors:
        raise refusals.unknown_sites(errors)
    return tuple(found)


def changes(was: dict[int, str], now: dict[int, str]) -> list[str]:
    """What became of the set of usable helpers, in words."""
    said = []
    for what, ids in (
        ("not usable any more", sorted(was.keys() - now.keys())),
        ("usable since", sorted(now.keys() - was.keys())),
        ("at another site", sorted(one for one in was.keys() & now.keys() if was[one] != now[one])),
    ):
        if ids:
            said.append(f"{'helper' if len(ids) == 1 else 'helpers'} {listed([str(one) for one in ids])} {what}")
    return said
