# SPDX-License-Identifier: Apache-2.0
# Part of _core.pyx: drivers, sessions, notices, counters.

_HINTS = {"down": VCL_HINT_DOWN, "drain": VCL_HINT_DRAIN, "up": VCL_HINT_UP}
_NOTICES = {
    VCL_EV_TOKEN_WANTED: "token_wanted",
    VCL_EV_PATH_SUSPECT: "path_suspect",
    VCL_EV_PATH_MOVED: "path_moved",
    VCL_EV_PATHS_WANTED: "paths_wanted",
}
_STATES = ("down", "active", "resuming", "stalled", "dead")  # enum vcl_path_state
_LIMITS = frozenset((
    "sessions_max", "conns_max", "backlog_max", "sndbuf_bytes", "rcvbuf_bytes", "hold_us", "idle_us", "open_timeout_us",
))


cdef class _Driver:
    """One engine, its UDP socket and its thread. Use ClientDriver or ServerDriver."""

    cdef vcl_driver *d
    cdef object __weakref__
    cdef readonly int udp_port
    cdef readonly int sndbuf_bytes
    cdef readonly int rcvbuf_bytes

    cdef int start(self, vcl_driver_config *config, int udp_fd, dict limits) except -1:
        unknown = set(limits) - _LIMITS - {"hold_us_max", "gso", "gro"}
        if unknown:
            raise TypeError(f"unknown limits: {', '.join(sorted(unknown))}")
        engine = &config.engine
        engine.sessions_max = limits.get("sessions_max", engine.sessions_max)
        engine.conns_max = limits.get("conns_max", engine.conns_max)
        engine.backlog_max = limits.get("backlog_max", engine.backlog_max)
        engine.sndbuf_bytes = limits.get("sndbuf_bytes", engine.sndbuf_bytes)
        engine.rcvbuf_bytes = limits.get("rcvbuf_bytes", engine.rcvbuf_bytes)
        if "sndbuf_bytes" in limits:  # a size that was set is fixed, as with SO_SNDBUF
            engine.sndbuf_bytes_max = engine.sndbuf_bytes
        if "rcvbuf_bytes" in limits:
            engine.rcvbuf_bytes_max = engine.rcvbuf_bytes
        engine.hold_us = limits.get("hold_us", engine.hold_us)
        engine.idle_us = limits.get("idle_us", engine.idle_us)
        engine.open_timeout_us = limits.get("open_timeout_us", engine.open_timeout_us)
        config.hold_us_max = limits.get("hold_us_max", config.hold_us_max)
        config.gso = limits.get("gso", True)
        config.gro = limits.get("gro", True)
        config.udp_fd = udp_fd
        self.udp_port = udp_port(udp_fd)
        self.sndbuf_bytes = engine.sndbuf_bytes
        self.rcvbuf_bytes = engine.rcvbuf_bytes
        cdef int rc
        with nogil:
            rc = vcl_driver_open(&self.d, config)
        if rc < 0:
            raise _error_of(-rc)
        return 0

    def __dealloc__(self):
        if self.d != NULL:
            vcl_driver_free(self.d)

    cdef object error(self, int code):
        return _error_of(code, forked=code == EBADF and not vcl_driver_is_ours(self.d))

    @property
    def forked(self):
        """True in a child process: the driver is the parent's."""
        return not vcl_driver_is_ours(self.d)

    def close(self, double linger_s=2.0):
        """Begins the end: open connections are closed, their last bytes are resent for at most linger_s. See join()."""
        cdef uint64_t linger_us = <uint64_t> (linger_s * 1e6)
        with nogil:
            vcl_driver_close(self.d, linger_us)

    def join(self, timeout=None):
        """Waits for the end that close() began; False when the timeout passed before."""
        cdef uint64_t deadline = deadline_of(seconds_of(timeout))
        cdef int rc
        while True:
            with nogil:
                rc = vcl_driver_join(self.d, deadline)
            if rc != -EINTR:
                return rc == 0 or rc == -EBADF
            PyErr_CheckSignals()

    @property
    def open_connections(self):
        """Connections the application holds."""
        return vcl_driver_socks(self.d)

    def stats(self):
        """Counters since the driver was opened: the engine's, the I/O's, and `drops` by name."""
        return _stats_of(self.d)

    def notices(self, uint64_t after=0):
        """What happened to sessions, oldest first, with `seq` above `after`; at most the last 1,024."""
        cdef vcl_notice batch[64]
        cdef int i, n = 64
        cdef list found = []
        while n == 64:
            n = vcl_notices_read(self.d, after, batch, 64)
            for i in range(n):
                found.append(_notice_of(&batch[i]))
                after = batch[i].seq
        return found

    def wait_notice(self, uint64_t after, timeout=None):
        """Waits for a notice with `seq` above `after`: True, or False when the timeout passed or the driver closes."""
        cdef uint64_t deadline = deadline_of(seconds_of(timeout))
        cdef int rc
        while True:
            with nogil:
                rc = vcl_notices_wait(self.d, after, deadline)
            if rc != -EINTR:
                return rc == 0
            PyErr_CheckSignals()


cdef dict _notice_of(const vcl_notice *n):
    return {
        "seq": n.seq,
        "type": _NOTICES.get(n.type, str(n.type)),
        "session_id": n.session_id,
        "server_id": n.server_id,
        "from_helper_id": n.from_helper_id,
        "to_helper_id": n.helper_id,
        "epoch": n.epoch,
        "connections": n.nb_conns,
        "at_us": n.at_us,
        "silent_since_us": n.silent_since_us,
    }


cdef class ClientDriver(_Driver):
    """The driver of a client process: sessions to any number of servers over one UDP socket (default: any address)."""

    def __init__(self, udp_fd=None, **limits):
        cdef vcl_driver_config config
        vcl_driver_config_defaults(&config)
        self.start(&config, open_udp("", 0) if udp_fd is None else udp_fd, limits)

    def session(self, peer):
        """A session with a server, from a vcl.paths.Peer."""
        return Session(self, peer)


cdef class Session:
    """The state all connections of this process to one server shard share: keys, path, epoch."""

    cdef _Driver driver
    cdef vcl_session *s
    cdef object lock  # between an operation and detach(), which frees the session

    def __init__(self, ClientDriver driver, peer):
        cdef vcl_peer p
        cdef int rc
        memset(&p, 0, sizeof(p))
        p.server_id = peer.server_id
        p.shard = peer.shard
        copy_secret(p.token, PMW_TOKEN_BYTES, peer.token, "token")
        copy_secret(p.token_key, PMW_KEY_BYTES, peer.token_key, "token_key")
        p.nb_paths = fill_paths(p.paths, peer.paths)
        self.driver = driver
        self.lock = _threading.Lock()
        with nogil:
            rc = vcl_session_attach(self.driver.d, &p, &self.s)
        if rc < 0:
            raise driver.error(-rc)

    cdef int check(self, int rc) except -1:
        if rc < 0:
            raise self.driver.error(-rc)
        return rc

    cdef vcl_session *alive(self) except NULL:
        if self.s == NULL:
            raise _error_of(EBADF)
        return self.s

    def connect(self, type cls=None, bint encrypt=False):
        """Begins a connection; Conn.wait_connected() ends it. `cls`: a subclass of Conn to make. `encrypt`: end to end, or
        no connection."""
        cdef Conn conn = _new_conn(cls, self.driver)
        cdef vcl_session *s
        cdef int rc
        with self.lock:
            s = self.alive()
            with nogil:
                rc = vcl_sock_connect_as(self.driver.d, s, encrypt, &conn.s)
        self.check(rc)
        return conn

    def renew(self, token, token_key):
        """A new token for connections to come."""
        cdef uint8_t t[64]
        cdef uint8_t k[32]
        copy_secret(t, PMW_TOKEN_BYTES, token, "token")
        copy_secret(k, PMW_KEY_BYTES, token_key, "token_key")
        with self.lock:
            self.check(vcl_session_renew(self.driver.d, self.alive(), t, k))

    def set_paths(self, paths):
        """Replaces the candidates; the active path stays while it works and none of a better rank has proved itself."""
        cdef vcl_path c_paths[8]
        cdef uint8_t n = fill_paths(c_paths, paths)
        with self.lock:
            self.check(vcl_session_repath(self.driver.d, self.alive(), c_paths, n))

    def advise(self, int helper_id, str hint):
        """The control plane's word on a helper: "down", "drain" or "up"."""
        cdef vcl_hint h = _HINTS[hint]
        with self.lock:
            self.check(vcl_session_advise(self.driver.d, self.alive(), helper_id, h))

    def info(self):
        """Path and epoch now: session_id, server_id, helper_id (0 = direct), state, epoch, moves, connections, srtt_us."""
        cdef vcl_session_info i
        with self.lock:
            self.check(vcl_session_query(self.driver.d, self.alive(), &i))
        return {
            "session_id": i.id,
            "server_id": i.server_id,
            "helper_id": i.active_helper_id,
            "state": _STATES[i.state] if i.state < len(_STATES) else str(i.state),
            "epoch": i.epoch,
            "moves": i.moves,
            "connections": i.nb_conns,
            "srtt_us": i.srtt_us,
        }

    def detach(self):
        """Forgets the session; OSError EBUSY while it has connections."""
        with self.lock:
            self.check(vcl_session_detach(self.driver.d, self.alive()))
            self.s = NULL


cdef uint8_t fill_paths(vcl_path *out, paths) except? 255:
    cdef uint8_t n = 0
    for path in paths:
        if n == VCL_PATHS_MAX:
            break
        addr_of(path.address, path.port, &out[n].addr)
        out[n].helper_id = path.helper_id
        out[n].rank = path.rank
        n += 1
    if n == 0:
        raise ValueError("a session needs at least one path")
    return n


cdef class ServerDriver(_Driver):
    """The driver of one listening server, from the ServerGrant of its registration."""

    def __init__(self, grant, int udp_fd, int shard=0, **limits):
        cdef vcl_driver_config config
        vcl_driver_config_defaults(&config)
        config.engine.server_id = grant.server_id
        config.engine.shard = shard
        config.engine.service_id = grant.service_id
        config.engine.incarnation = grant.incarnation
        copy_secret(config.engine.cid_key, 16, grant.cid_key, "cid_key")
        copy_secret(config.engine.trunk_secret, PMW_KEY_BYTES, grant.trunk_secret, "trunk_secret")
        config.engine.nb_keys = fill_keys(config.engine.keys, grant.keys)
        config.engine.nb_predecessors = fill_predecessors(config.engine.predecessors, grant.predecessors)
        self.start(&config, udp_fd, limits)

    def set_keys(self, keys):
        """The valid K_srv after a rotation, newest first."""
        cdef vcl_server_key c_keys[4]
        cdef uint8_t n = fill_keys(c_keys, keys)
        cdef int rc = vcl_driver_set_keys(self.d, c_keys, n)
        if rc < 0:
            raise self.error(-rc)

    def accept(self, timeout=None, type cls=None):
        """The next connection; BlockingIOError (timeout 0) or TimeoutError when none comes."""
        cdef uint64_t deadline = deadline_of(seconds_of(timeout))
        cdef Conn conn = _new_conn(cls, self)
        cdef int rc
        while True:
            with nogil:
                rc = vcl_sock_accept(self.d, &conn.s, deadline)
            if rc == 0:
                return conn
            if rc != -EINTR:
                raise self.error(-rc)
            PyErr_CheckSignals()

    def accept_fd(self):
        """A descriptor, readable while accept() would not wait; it stays the driver's."""
        cdef int rc = vcl_driver_accept_fd(self.d)
        if rc < 0:
            raise self.error(-rc)
        return rc

    def stop_listening(self):
        """Resets connections that wait and all that come; those already accepted go on."""
        with nogil:
            vcl_driver_stop_listening(self.d)


cdef uint8_t fill_predecessors(vcl_predecessor *out, predecessors) except? 255:
    cdef uint8_t n = 0
    for ended in predecessors:
        if n == VCL_PREDECESSORS_MAX:
            break
        out[n].server_id = ended.server_id
        copy_secret(out[n].reset_key, 16, ended.reset_key, "reset_key")
        n += 1
    return n


cdef uint8_t fill_keys(vcl_server_key *out, keys) except? 255:
    cdef uint8_t n = 0
    for key in keys:
        if n == VCL_KEYS_MAX:
            break
        out[n].key_id = key.key_id
        copy_secret(out[n].key, PMW_KEY_BYTES, key.key, "K_srv")
        n += 1
    if n == 0:
        raise ValueError("a server needs at least one key")
    return n
