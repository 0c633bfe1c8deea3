# SPDX-License-Identifier: Apache-2.0
"""What a worker is told when it starts: the key=value file of services/helper/worker/config.h. Pure."""

from __future__ import annotations

from postman_contracts.rest import HelperGrant
from postman_helper.settings import HelperSettings


def render(settings: HelperSettings, grant: HelperGrant) -> str:
    """The file's text. It holds `cid_key`: see worker_process.write_config."""
    values: dict[str, str | int] = {
        "helper_id": grant.helper_id,
        "incarnation": grant.incarnation,
        "cid_key": grant.cid_key.hex(),
        "device": settings.device,
        "data_address": str(settings.helper_data_address),
        "gateway": str(settings.helper_gateway or ""),
        "client_port": settings.helper_client_port,
        "trunk_port": settings.helper_trunk_port,
        "hugepages": int(settings.helper_hugepages),
        "memory_mb": settings.helper_memory_mb,
        "hold_us_max": settings.helper_hold_us_max,
        "idle": settings.helper_idle,
        "cpu": "any" if settings.helper_cpu is None else settings.helper_cpu,
        "control_socket": str(settings.control_socket()),
    }
    return "".join(f"{name}={value}\n" for name, value in values.items())
