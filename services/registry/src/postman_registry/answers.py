# SPDX-License-Identifier: Apache-2.0
"""Domain objects as REST answers. Pure. Secrets leave by the grants only."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from postman_contracts import rest
from postman_contracts.fields import HelperReportedState
from postman_contracts.tokens import reset_key, service_id_of, trunk_keys
from postman_registry.domain import Helper, Server
from postman_registry.keys import SigningKey
from postman_registry.service.helpers import HelperView
from postman_registry.service.resolve import Resolved, TokenGranted
from postman_registry.service.servers import ServerGranted
from postman_registry.store_servers import TrunkEnd


def helper_answer(helper: Helper) -> rest.Helper:
    """What everybody may know of a helper."""
    spec = helper.spec
    return rest.Helper(
        helper_id=helper.helper_id,
        name=spec.name,
        site=spec.site,
        incarnation=helper.incarnation,
        state=helper.status.value,
        desired_state=_desired_state(helper),
        data_address=spec.data_address,
        client_port=spec.client_port,
        trunk_port=spec.trunk_port,
        workers=spec.workers,
        version=spec.version,
        lease_expires_at=helper.lease_expires_at,
        stats=helper.stats,
    )


def _desired_state(helper: Helper) -> HelperReportedState:
    return "draining" if helper.is_draining_ordered else "up"


def server_answer(server: Server) -> rest.Server:
    """What everybody may know of a server."""
    spec = server.spec
    return rest.Server(
        server_id=server.server_id,
        service=spec.service,
        service_id=service_id_of(spec.service),
        incarnation=server.incarnation,
        state=server.status.value,
        host=spec.host,
        tcp_port=spec.tcp_port,
        data_address=spec.data_address,
        udp_port=spec.udp_port,
        shards=spec.shards,
        site=spec.site,
        lease_expires_at=server.lease_expires_at,
    )


def trunk_servers(ends: Sequence[TrunkEnd], helper: Helper) -> list[rest.TrunkServer]:
    """Every shard of every server, with the keys of this helper's incarnation."""
    answers = []
    for end in ends:
        keys = trunk_keys(end.trunk_secret, helper.helper_id, helper.incarnation)
        answers += [
            rest.TrunkServer(
                server_id=end.server.server_id,
                shard=shard,
                data_address=end.server.spec.data_address,
                udp_port=end.server.spec.udp_port + shard,
                trunk_key_to_server=keys.to_server,
                trunk_key_to_helper=keys.to_helper,
            )
            for shard in range(end.server.spec.shards)
        ]
    return answers


def helper_grant(view: HelperView, cid_key: bytes, lease_ttl: timedelta) -> rest.HelperGrant:
    """What a helper gets when it registers."""
    return rest.HelperGrant(
        helper_id=view.helper.helper_id,
        incarnation=view.helper.incarnation,
        lease_ttl_s=lease_ttl.total_seconds(),
        cid_key=cid_key,
        servers=trunk_servers(view.trunk_ends or [], view.helper),
        servers_version=view.servers_version,
        desired_state=_desired_state(view.helper),
    )


def helper_lease(view: HelperView, lease_ttl: timedelta) -> rest.HelperLease:
    """What a helper hears when it renews."""
    return rest.HelperLease(
        lease_ttl_s=lease_ttl.total_seconds(),
        servers=None if view.trunk_ends is None else trunk_servers(view.trunk_ends, view.helper),
        servers_version=view.servers_version,
        desired_state=_desired_state(view.helper),
        assignment_epoch=view.assignment_epoch,
    )


def server_keys(keys: Sequence[SigningKey]) -> list[rest.ServerKey]:
    """The keys that a server must know."""
    return [rest.ServerKey(key_id=key.key_id, key=key.key) for key in keys]


def server_grant(granted: ServerGranted, cid_key: bytes, lease_ttl: timedelta) -> rest.ServerGrant:
    """What a server gets when it registers."""
    return rest.ServerGrant(
        server_id=granted.server.server_id,
        service_id=service_id_of(granted.server.spec.service),
        incarnation=granted.server.incarnation,
        lease_ttl_s=lease_ttl.total_seconds(),
        cid_key=cid_key,
        trunk_secret=granted.trunk_secret,
        keys=server_keys(granted.keys),
        predecessors=[
            rest.ServerPredecessor(server_id=ended.server.server_id, reset_key=reset_key(ended.trunk_secret))
            for ended in granted.predecessors
        ],
    )


def token_grant(granted: TokenGranted) -> rest.TokenGrant:
    """A token for a client."""
    return rest.TokenGrant(token=granted.token, token_key=granted.token_key, token_expires_at=granted.expires_at)


def resolution(resolved: Resolved) -> rest.Resolution:
    """The answer to resolve."""
    server = resolved.server
    return rest.Resolution(
        token=resolved.granted.token,
        token_key=resolved.granted.token_key,
        token_expires_at=resolved.granted.expires_at,
        server_id=server.server_id,
        shard=resolved.shard,
        service=server.spec.service,
        data_address=server.spec.data_address,
        udp_port=server.spec.udp_port + resolved.shard,
        helpers=[
            rest.HelperChoice(
                helper_id=offered.helper.helper_id,
                data_address=offered.helper.spec.data_address,
                client_port=offered.helper.spec.client_port,
                rank=offered.rank,
            )
            for offered in resolved.helpers
        ],
        assignment_epoch=resolved.assignment_epoch,
    )
