# SPDX-License-Identifier: Apache-2.0
"""The sessions of this process: one for each server, shared by all its connections there, and what keeps them well:
token renewal, new paths, and the control plane's facts about helpers as hints."""

from __future__ import annotations

import errno
import logging
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vcl import exits
from vcl._core import ClientDriver, Session
from vcl.agent_resume_trace import ResumeTracer
from vcl.path_refresh import ANY_NEWER, PathRefresher
from vcl.paths import Peer, path_mode, peer_of
from vcl.stream import Stream

if TYPE_CHECKING:
    from vcl.agent import Agent
    from vcl.agent_types import Fact, Resolution

log = logging.getLogger("vcl")

UNUSED_S = 60.0
"""A session without connections is kept this long."""
PATHS_INTERVAL_S = 0.5
"""A session that finds no path asks the registry again at most so often."""

_HINTS = {
    "helper_suspect": "down",  # which makes the engine ask the helper itself (docs/protocol.md S11), no more
    "helper_down": "down",
    "helper_gone": "down",
    "helper_draining": "drain",
    "helper_up": "up",
}


@dataclass(slots=True)
class _Live:
    """One session and where it came from."""

    session: Session
    host: str
    port: int
    peer: Peer
    service: str = ""  # its name in the registry
    used_s: float = field(default_factory=time.monotonic)
    asked_s: float = 0.0


class Sessions:
    """See the head of this file. Without an agent, sessions are only what the caller attaches."""

    def __init__(self, agent: Agent | None = None, driver: ClientDriver | None = None) -> None:
        self.driver = ClientDriver() if driver is None else driver
        self._agent = agent
        self._mode = path_mode()
        self._lock = threading.Lock()
        self._live: dict[tuple[int, int], _Live] = {}
        self._dead: list[_Live] = []
        self._refresher = PathRefresher(self._refresh)
        self._resumes = ResumeTracer()
        self._thread: threading.Thread | None = None
        exits.add(self)
        if agent is not None:
            self._thread = threading.Thread(target=self._watch, name="vcl-sessions", daemon=True)
            self._thread.start()
            self._unsubscribe = agent.subscribe(self._on_fact, self._refresh_all)

    # --- connecting -----------------------------------------------------------------------------------

    def connect(
        self, resolution: Resolution, host: str, port: int, timeout_s: float | None, *, encrypt: bool = False
    ) -> Stream:
        """A connection to the server that the resolution names, or OSError (see vcl.errors). `encrypt`: end to end."""
        peer = peer_of(resolution, self._mode)
        return self.connect_peer(peer, host, port, timeout_s, resolution.service, encrypt=encrypt)

    def connect_peer(
        self,
        peer: Peer,
        host: str,
        port: int,
        timeout_s: float | None,
        service: str = "",
        *,
        encrypt: bool = False,
    ) -> Stream:
        """As connect(), from keys and paths at hand."""
        if not peer.paths:
            raise OSError(errno.ENETUNREACH, "VCL_PATHS allows no path to this server")
        live = self._session(peer, host, port, service)
        stream: Stream = live.session.connect(Stream, encrypt)
        first = live.peer.paths[0]
        stream.begin(peername=(peer.paths[-1].address, port), session=live.session, route=(first.address, first.port))
        try:
            stream.wait_connected(timeout_s)
        except BaseException:
            stream.close()
            raise
        return stream

    def attach(self, resolution: Resolution, host: str, port: int) -> Session:
        """The session with the server that the resolution names, kept well from now on, without a connection yet."""
        return self._session(peer_of(resolution, self._mode), host, port, resolution.service).session

    def _session(self, peer: Peer, host: str, port: int, service: str) -> _Live:
        key = (peer.server_id, peer.shard)
        with self._lock:
            live = self._live.get(key)
            if live is not None and live.session.info()["state"] == "dead":
                self._dead.append(self._live.pop(key))  # its connections keep it until they are closed
                live = None
            if live is None:
                self._forget_unused()
                live = self._live[key] = _Live(self.driver.session(peer), host, port, peer, service)
            elif live.peer != peer:
                self._update(live, peer)
            live.used_s = time.monotonic()
            return live

    def _update(self, live: _Live, peer: Peer) -> None:
        if live.peer.token != peer.token:
            live.session.renew(peer.token, peer.token_key)
        if live.peer.paths != peer.paths:
            live.session.set_paths(peer.paths)
        live.peer = peer

    def _forget_unused(self) -> None:
        for live in [live for live in self._dead if live.session.info()["connections"] == 0]:
            live.session.detach()
            self._dead.remove(live)
        before_s = time.monotonic() - UNUSED_S
        for key, live in list(self._live.items()):
            if live.used_s < before_s and live.session.info()["connections"] == 0:
                live.session.detach()
                del self._live[key]

    # --- keeping them well ----------------------------------------------------------------------------

    def _watch(self) -> None:
        seen = 0
        while self.driver.wait_notice(seen):
            for notice in self.driver.notices(seen):
                seen = notice["seq"]
                self._resumes.on_notice(notice)
                try:
                    self._react(notice["type"], notice["server_id"])
                except OSError as error:
                    log.debug("%s of server %d: %s", notice["type"], notice["server_id"], error)

    def _react(self, kind: str, server_id: int) -> None:
        with self._lock:
            concerned = [live for live in self._live.values() if live.peer.server_id == server_id]
        for live in concerned:
            if kind == "token_wanted":
                self._renew(live)
            elif kind == "paths_wanted" and time.monotonic() - live.asked_s >= PATHS_INTERVAL_S:
                self._ask_paths(live)

    def _renew(self, live: _Live) -> None:
        assert self._agent is not None
        renewed = self._agent.renew_token(live.peer.server_id)
        if renewed is not None:
            live.session.renew(*renewed)

    def renew_token(self, server_id: int) -> bool:
        """Renews the token of a server's session now; whether that worked."""
        with self._lock:
            concerned = [live for live in self._live.values() if live.peer.server_id == server_id]
        if self._agent is None or not concerned:
            return False
        renewed = self._agent.renew_token(server_id)
        if renewed is None:
            return False
        for live in concerned:
            live.session.renew(*renewed)
        return True

    def _ask_paths(self, live: _Live, *, past_cache: bool = False) -> int:
        """Gives the session the registry's present candidates; the epoch of the assignments that they follow."""
        assert self._agent is not None
        live.asked_s = time.monotonic()
        resolution = self._agent.resolve(live.host, live.port, past_cache=past_cache)
        if resolution is None or resolution.server_id != live.peer.server_id:
            return 0  # another incarnation: these connections cannot go there
        peer = peer_of(resolution, self._mode)
        if peer.paths and peer.paths != live.peer.paths:
            with self._lock:
                self._update(live, peer)
        return resolution.assignment_epoch

    def _on_fact(self, fact: Fact) -> None:
        """On the agent's thread: must not wait for the agent."""
        self._resumes.on_fact(fact)
        with self._lock:
            sessions = dict(self._live)
        if fact.kind == "helper_up":
            self._refresher.request(sessions)
        if fact.kind == "assignment_changed":
            concerned = [key for key, live in sessions.items() if live.service in fact.services]
            self._refresher.request(concerned, fact.epoch)
        hint = _HINTS.get(fact.kind)
        if hint is None or fact.helper_id is None:
            return
        for live in sessions.values():
            try:
                live.session.advise(fact.helper_id, hint)
            except OSError as error:
                log.debug("hint %s for helper %d: %s", hint, fact.helper_id, error)

    def _refresh_all(self) -> None:
        with self._lock:
            sessions = list(self._live)
        self._refresher.request(sessions, ANY_NEWER)

    def _refresh(self, key: tuple[int, int]) -> int:
        with self._lock:
            live = self._live.get(key)
        return 0 if live is None else self._ask_paths(live, past_cache=True)

    # --- life -----------------------------------------------------------------------------------------

    def begin_close(self, linger_s: float) -> None:
        """Ends all connections; finish_close() waits for it."""
        if self._agent is not None:
            self._unsubscribe()
        self._refresher.close()
        self.driver.close(linger_s)

    def finish_close(self, timeout_s: float) -> None:
        """Waits for the end that begin_close() began."""
        self.driver.join(timeout_s)
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout_s)
        self._resumes.close()
