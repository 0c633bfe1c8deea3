# SPDX-License-Identifier: Apache-2.0
# Part of _core.pyx: one connection, with the calls of socket.socket that move bytes.

cdef int MSG_PEEK = _socket.MSG_PEEK
cdef int MSG_DONTWAIT = _socket.MSG_DONTWAIT
cdef int MSG_WAITALL = _socket.MSG_WAITALL
# Flags that change nothing here: no SIGPIPE ever; MORE is a hint; CMSG_CLOEXEC concerns descriptors we never pass.
cdef int MSG_ACCEPTED = (
    MSG_PEEK | MSG_DONTWAIT | MSG_WAITALL | _socket.MSG_NOSIGNAL | getattr(_socket, "MSG_MORE", 0)
    | getattr(_socket, "MSG_CMSG_CLOEXEC", 0)
)


cdef Conn _new_conn(cls, _Driver driver):
    if cls is None:
        cls = Conn
    cdef Conn conn = cls.__new__(cls)
    conn.driver = driver
    return conn


cdef class Conn:
    """A connection's bytes. Made by Session.connect() and ServerDriver.accept(), subclassed by vcl.stream.Stream."""

    cdef _Driver driver
    cdef vcl_sock *s
    cdef bint closed
    cdef double timeout_s  # below zero: none
    cdef object __weakref__

    def __cinit__(self):
        self.timeout_s = -1.0

    def __dealloc__(self):
        if self.s != NULL:
            vcl_sock_free(self.s)

    cdef object error(self, int64_t code):
        return self.driver.error(<int> code)

    cdef int ready(self) except -1:
        if self.s == NULL or self.closed:
            raise _error_of(EBADF)
        return 0

    cdef uint64_t deadline(self, int flags) except? 1:
        self.ready()
        if flags & ~MSG_ACCEPTED:
            raise OSError(_errno.EOPNOTSUPP, f"flags {flags & ~MSG_ACCEPTED:#x} are not supported on a VCL connection")
        # As CPython: with a timeout, the kernel's refusal to wait is answered by waiting for the timeout.
        return 0 if flags & MSG_DONTWAIT and self.timeout_s < 0 else deadline_of(self.timeout_s)

    # --- life ---------------------------------------------------------------------------------------

    def wait_connected(self, timeout=None):
        """Waits until the server has answered the OPEN."""
        cdef uint64_t deadline = deadline_of(seconds_of(timeout))
        cdef int rc
        self.ready()
        while True:
            with nogil:
                rc = vcl_sock_connected(self.s, deadline)
            if rc == 0:
                return
            if rc != -EINTR:
                raise self.error(-rc)
            PyErr_CheckSignals()

    def close_conn(self, bint abort=False, double linger_s=0.0):
        """Ends the connection: written bytes are still delivered (abort: a reset). linger_s: waits for that."""
        cdef uint64_t deadline = deadline_of(linger_s)
        if self.s == NULL or self.closed:
            return
        self.closed = True
        with nogil:
            if deadline > 0 and not abort:
                vcl_sock_linger(self.s, deadline)
            vcl_sock_close(self.s, abort)

    def shutdown(self, int how):
        """As socket.shutdown()."""
        cdef int rc
        self.ready()
        with nogil:
            rc = vcl_sock_shutdown(self.s, how)
        if rc < 0:
            raise self.error(-rc)

    def fileno(self):
        """A descriptor for select, poll, epoll and asyncio; -1 when closed. Never read from it or write to it."""
        cdef int rc
        if self.s == NULL or self.closed:
            return -1
        rc = vcl_sock_fd(self.s)
        if rc < 0:
            raise self.error(-rc)
        return rc

    # --- timeouts -------------------------------------------------------------------------------------

    def settimeout(self, timeout):
        """As socket.settimeout()."""
        if timeout is not None and float(timeout) < 0:
            raise ValueError("Timeout value out of range")
        self.timeout_s = seconds_of(timeout)

    def gettimeout(self):
        """As socket.gettimeout()."""
        return None if self.timeout_s < 0 else self.timeout_s

    # --- sending ----------------------------------------------------------------------------------------

    cdef int64_t write(self, iovec *iov, int nb_iov, int flags, uint64_t deadline) except -1:
        """One send as send(2) does it: blocking sockets take everything, the others what fits."""
        cdef unsigned mode = VCL_SOCK_WAIT_ALL if deadline == NEVER else 0
        cdef int64_t n
        while True:
            with nogil:
                n = vcl_sock_send(self.s, iov, nb_iov, mode, deadline)
            if n >= 0:
                return n
            if n != -EINTR:
                raise self.error(-n)
            PyErr_CheckSignals()

    def send(self, data, int flags=0):
        """As socket.send()."""
        cdef uint64_t deadline = self.deadline(flags)
        cdef Py_buffer view
        cdef iovec iov
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            iov.iov_base = view.buf
            iov.iov_len = view.len
            return self.write(&iov, 1, flags, deadline)
        finally:
            PyBuffer_Release(&view)

    def sendall(self, data, int flags=0):
        """As socket.sendall(): the timeout is for all of it."""
        cdef uint64_t deadline = self.deadline(flags)
        cdef Py_buffer view
        cdef iovec iov
        cdef int64_t n
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            iov.iov_base = view.buf
            iov.iov_len = view.len
            while iov.iov_len > 0:
                n = self.write(&iov, 1, flags, deadline)
                iov.iov_base = <char *> iov.iov_base + n
                iov.iov_len -= <size_t> n
                PyErr_CheckSignals()
        finally:
            PyBuffer_Release(&view)

    def sendmsg(self, buffers, ancdata=(), int flags=0, address=None):
        """As socket.sendmsg(), gathering; ancillary data is not supported."""
        cdef uint64_t deadline = self.deadline(flags)
        if address is not None or tuple(ancdata):
            raise OSError(_errno.EOPNOTSUPP, "addresses and ancillary data are not supported on a VCL connection")
        cdef list views = [memoryview(b).cast("B") for b in buffers]
        cdef int64_t sent = 0, n
        cdef int count, i, at = 0, expected
        cdef iovec iov[IOV_COUNT]
        cdef Py_buffer held[IOV_COUNT]
        cdef size_t wanted
        while at < len(views):
            count = 0
            wanted = 0
            try:
                for i in range(at, min(at + IOV_COUNT, <int> len(views))):
                    PyObject_GetBuffer(views[i], &held[count], PyBUF_SIMPLE)
                    iov[count].iov_base = held[count].buf
                    iov[count].iov_len = held[count].len
                    wanted += <size_t> held[count].len
                    count += 1
                try:
                    n = self.write(iov, count, flags, deadline)
                except (BlockingIOError, TimeoutError):
                    if sent:
                        return sent
                    raise
            finally:
                for i in range(count):
                    PyBuffer_Release(&held[i])
            sent += n
            if <size_t> n < wanted:
                break
            at += count
        return sent

    # --- receiving --------------------------------------------------------------------------------------

    cdef int64_t read(self, void *buf, size_t length, int flags, uint64_t deadline) except -1:
        cdef unsigned mode = VCL_SOCK_PEEK if flags & MSG_PEEK else 0
        cdef int64_t n
        if flags & MSG_WAITALL and deadline == NEVER:  # a socket with a timeout is non-blocking to the kernel
            mode |= VCL_SOCK_WAIT_ALL
        while True:
            with nogil:
                n = vcl_sock_recv(self.s, buf, length, mode, deadline)
            if n >= 0:
                return n
            if n != -EINTR:
                raise self.error(-n)
            PyErr_CheckSignals()

    def recv(self, Py_ssize_t bufsize, int flags=0):
        """As socket.recv()."""
        cdef uint64_t deadline = self.deadline(flags)
        if bufsize < 0:
            raise ValueError("negative buffersize in recv")
        if flags & (MSG_PEEK | MSG_WAITALL):
            return self.recv_exact(bufsize, flags, deadline)
        cdef char small[SMALL_BYTES]
        cdef int64_t n = self.read(small, <size_t> min(bufsize, SMALL_BYTES), flags, deadline)
        cdef Py_ssize_t more = 0
        if n == SMALL_BYTES:
            more = min(bufsize - n, <Py_ssize_t> vcl_sock_readable(self.s))
        if more <= 0:
            return PyBytes_FromStringAndSize(small, n)
        cdef bytes out = PyBytes_FromStringAndSize(NULL, n + more)
        cdef char *at = PyBytes_AS_STRING(out)
        memcpy(at, small, n)
        cdef int64_t m
        with nogil:
            m = vcl_sock_recv(self.s, at + n, <size_t> more, 0, 0)
        m = max(m, 0)  # another thread took them
        return out if m == more else out[:n + m]

    cdef bytes recv_exact(self, Py_ssize_t bufsize, int flags, uint64_t deadline):
        cdef bytes out = PyBytes_FromStringAndSize(NULL, bufsize)
        cdef int64_t n = self.read(PyBytes_AS_STRING(out), <size_t> bufsize, flags, deadline)
        return out if n == bufsize else out[:n]

    def recv_into(self, buffer, Py_ssize_t nbytes=0, int flags=0):
        """As socket.recv_into()."""
        cdef uint64_t deadline = self.deadline(flags)
        cdef Py_buffer view
        if nbytes < 0:
            raise ValueError("negative buffersize in recv_into")
        PyObject_GetBuffer(buffer, &view, PyBUF_SIMPLE | PyBUF_WRITABLE)
        try:
            if nbytes > view.len:
                raise ValueError("buffer too small for requested bytes")
            return self.read(view.buf, <size_t> (nbytes or view.len), flags, deadline)
        finally:
            PyBuffer_Release(&view)

    # --- queries ----------------------------------------------------------------------------------------

    def take_error(self):
        """SO_ERROR: the errno of the pending error, or 0; it is cleared."""
        self.ready()
        cdef int rc = vcl_sock_take_error(self.s)
        if rc < 0:
            raise self.error(-rc)
        return rc

    def set_keepalive(self, unsigned int milliseconds):
        """SO_KEEPALIVE with TCP_KEEPIDLE; 0: off."""
        self.ready()
        cdef int rc = vcl_sock_keepalive(self.s, milliseconds)
        if rc < 0:
            raise self.error(-rc)

    def readable_bytes(self):
        """What recv() would give without waiting."""
        self.ready()
        return vcl_sock_readable(self.s)

    def conn_info(self):
        """Numbers of this connection: cid, peer (client's address, on a server), local_port, helper_id, encrypted, bytes,
        srtt_us."""
        cdef vcl_conn_info i
        self.ready()
        cdef int rc = vcl_sock_info(self.s, &i)
        if rc < 0:
            raise self.error(-rc)
        return {
            "cid": i.cid,
            "peer": addr_pair(&i.peer),
            "local_port": i.local_port,
            "helper_id": i.helper_id,
            "encrypted": i.encrypted,
            "sent_bytes": i.sent_bytes,
            "received_bytes": i.received_bytes,
            "resent_bytes": i.resent_bytes,
            "srtt_us": i.srtt_us,
        }

    @property
    def buffer_bytes(self):
        """(send, receive) buffer sizes."""
        return self.driver.sndbuf_bytes, self.driver.rcvbuf_bytes
