# SPDX-License-Identifier: Apache-2.0
"""A service's HTTP side: the FastAPI application with what all services have, and the process that serves it."""

from __future__ import annotations

import asyncio
import errno
import signal
import socket
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Final

import structlog
import uvicorn
from fastapi import FastAPI
from fastapi.responses import JSONResponse

from postman_kit.auth import KeyRing, KeyWall
from postman_kit.errors import BODY_BYTES_MAX, RETRY_AFTER_S, BodyLimit, install_problem_answers

GRACE_S: Final = 5
"""How long running requests may take to end after the order to stop."""

_CHECK_TIMEOUT_S: Final = 2.0
_BACKLOG: Final = 512

ReadyCheck = Callable[[], Awaitable[None]]
"""Raises if the service cannot work now; the text of what it raises is not shown."""

_log = structlog.get_logger(__name__)


class ServeError(Exception):
    """The service cannot listen: why, and what to do."""


def create_app(
    title: str,
    version: str,
    *,
    key_ring: KeyRing,
    ready_checks: Mapping[str, ReadyCheck],
    lifespan: Callable[[FastAPI], AbstractAsyncContextManager[None]],
    body_bytes_max: int = BODY_BYTES_MAX,
) -> FastAPI:
    """An application with problem documents, a body limit, `/healthz` (lives) and `/readyz` (can work)."""
    app = FastAPI(title=title, version=version, lifespan=lifespan, docs_url="/docs", redoc_url=None)
    app.state.key_ring = key_ring
    app.state.on_stop = list[Callable[[], None]]()  # called before running requests are waited for
    install_problem_answers(app)
    app.add_middleware(BodyLimit, bytes_max=body_bytes_max)
    app.add_middleware(KeyWall, key_ring=key_ring)  # the last one added comes first

    @app.get("/healthz", tags=["health"])
    async def healthz() -> dict[str, str]:
        """The process lives."""
        return {"status": "alive"}

    @app.get("/readyz", tags=["health"])
    async def readyz() -> JSONResponse:
        """Whether requests can be served now, and what is away if not."""
        results = {name: await _passes(name, check) for name, check in ready_checks.items()}
        ready = all(results.values())
        document = {"status": "ready" if ready else "not ready", "checks": results}
        headers = {} if ready else {"Retry-After": str(RETRY_AFTER_S)}
        return JSONResponse(document, status_code=200 if ready else 503, headers=headers)

    return app


async def _passes(name: str, check: ReadyCheck) -> bool:
    try:
        async with asyncio.timeout(_CHECK_TIMEOUT_S):
            await check()
    except Exception as error:
        _log.debug("not ready", check=name, error=repr(error))
        return False
    return True


def listen(host: str, port: int) -> socket.socket:
    """A listening TCP socket. ServeError with a plain text if the address cannot be had; port 0 takes a free one."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named because asyncio turns Nagle's algorithm off only where it is: else answers wait 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise ServeError(
                f"port {port} on {host} is in use. Stop what listens there (see 'ss -ltnp'), or choose another port"
            ) from None
        raise ServeError(f"cannot listen on {host} port {port}: {error.strerror}. Choose another address") from None
    return listener


def serve(app: FastAPI, listener: socket.socket, tls: tuple[Path, Path] | None = None) -> None:
    """Serve until SIGTERM or SIGINT, then end running requests and return. HTTPS if `tls` has certificate and key."""
    host, port = listener.getsockname()[:2]
    certificate, key = tls or (None, None)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=GRACE_S,
        timeout_keep_alive=30,
        server_header=False,
        ssl_certfile=certificate,
        ssl_keyfile=key,
    )
    try:
        config.load()
    except OSError as error:  # ssl.SSLError is one
        raise ServeError(
            f"cannot serve HTTPS with {certificate} and {key}: {error}. Correct POSTMAN_TLS_CERT_FILE and "
            "POSTMAN_TLS_KEY_FILE"
        ) from None
    _log.info("listening", host=host, port=port, tls=tls is not None)
    # uvicorn raises the signal again once it has stopped in order, for the handler that was there before.
    signal.signal(signal.SIGTERM, lambda *_: None)
    _Server(config, app.state.on_stop).run(sockets=[listener])


class _Server(uvicorn.Server):
    """Tells the application first when it shall stop: answers without an end must end themselves."""

    def __init__(self, config: uvicorn.Config, on_stop: list[Callable[[], None]]) -> None:
        super().__init__(config)
        self._on_stop = on_stop

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """In the event loop, before it waits for running requests."""
        for stop in self._on_stop:
            stop()
        await super().shutdown(sockets)
