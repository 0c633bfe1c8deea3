# SPDX-License-Identifier: Apache-2.0
"""The three OpenAPI documents, attacked: schemathesis makes well-formed and malformed requests for every operation.

With an admin's key nothing may be a server's error. Without one nothing is answered but 401. A viewer's key changes
nothing: what it may not do is 403, and everything that can be listed is as it was before.
"""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode, checks

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

SERVICES = ("registry", "placement", "health")
LIVE = "/v1/events/live"  # never ends by itself
LISTS = {
    "registry": ("/v1/helpers", "/v1/servers"),
    "placement": ("/v1/topology", "/v1/demands", "/v1/measurements", "/v1/placements", "/v1/assignments"),
    "health": ("/v1/verdicts",),
}
VOLATILE = {"lease_expires_at", "stats"}
EXAMPLES = settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def plane(own_control_plane: Any) -> Any:
    """A control plane of this module's own: what is sent to it leaves traces."""
    own_control_plane.start()
    return own_control_plane


def url_of(plane: Any, service: str) -> str:
    return str(getattr(plane, f"{service}_url"))


def attack(case: Any, plane: Any) -> None:
    """The same request as an admin, as nobody and as a viewer."""
    is_open = not case.path.startswith("/v1/")
    answers = {}
    for role in ("", "viewer", "admin"):
        headers = {"Authorization": f"Bearer {plane.key(role)}"} if role else {}
        answer = case.call(headers=headers, timeout=20)
        answers[role] = answer.status_code
        case.validate_response(answer, checks=[checks.not_a_server_error], headers=headers)
    if is_open:
        return
    # Some requests are so malformed that the HTTP server itself refuses them; some replace the key by another word.
    assert answers[""] in (401, 400), (case.method, case.path, answers)
    if case.method.upper() not in ("GET", "HEAD", "OPTIONS"):
        # What cannot be read is refused before anybody asks what the key may do.
        assert answers["viewer"] in (403, 400, 401, 404, 405, 413, 422), (case.method, case.path, answers)


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
@pytest.mark.parametrize("service", SERVICES)
def test_no_request_is_a_servers_error(plane: Any, service: str, mode: GenerationMode) -> None:
    schema = schemathesis.openapi.from_url(f"{url_of(plane, service)}/openapi.json").exclude(path=LIVE)
    attacked = 0
    for found in schema.get_all_operations():
        operation = found.ok()

        @EXAMPLES
        @given(case=operation.as_strategy(generation_mode=mode))
        def attempt(case: Any) -> None:
            attack(case, plane)

        try:
            attempt()
        except Unsatisfiable:  # a call without any parameter cannot be called wrongly
            assert mode is GenerationMode.NEGATIVE
        attacked += 1
    assert attacked >= 5


@pytest.mark.parametrize("service", SERVICES)
def test_every_call_wants_a_key(plane: Any, service: str) -> None:
    """Whatever the document lists: nothing below /v1 is open."""
    with httpx.Client(base_url=url_of(plane, service), trust_env=False, timeout=20) as client:
        document = client.get("/openapi.json").json()
        operations = [(path, method) for path, methods in document["paths"].items() for method in methods]
        assert any(path.startswith("/v1/") for path, _ in operations)
        for path, method in operations:
            if not path.startswith("/v1/"):
                continue
            assert client.request(method, filled(path), json={}).status_code == 401, (method, path)


@pytest.mark.parametrize("service", SERVICES)
def test_a_viewer_changes_nothing(plane: Any, service: str) -> None:
    """Every writing call of the document, with a viewer's key: 403, and all lists are as before."""
    before = state_of(plane, service)
    headers = {"Authorization": f"Bearer {plane.key('viewer')}"}
    with httpx.Client(base_url=url_of(plane, service), headers=headers, trust_env=False, timeout=20) as client:
        for path, methods in client.get("/openapi.json").json()["paths"].items():
            for method in set(methods) - {"get"}:
                answer = client.request(method, filled(path), json={})
                assert answer.status_code == 403, (method, path, answer.text)
    assert state_of(plane, service) == before


def filled(path: str) -> str:
    """A path with an id in each place."""
    path = path.replace("{placement_id}", str(UUID(int=0)))
    return "/".join("1" if part.startswith("{") else part for part in path.split("/"))


def state_of(plane: Any, service: str) -> str:
    headers = {"Authorization": f"Bearer {plane.key('viewer')}"}
    with httpx.Client(base_url=url_of(plane, service), headers=headers, trust_env=False, timeout=20) as client:
        answers = {path: client.get(path).raise_for_status().json() for path in LISTS[service]}
    return json.dumps(without(answers), sort_keys=True)


def without(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without(item) for key, item in value.items() if key not in VOLATILE}
    return [without(item) for item in value] if isinstance(value, list) else value
