# SPDX-License-Identifier: Apache-2.0
# cython: language_level=3, boundscheck=False, wraparound=False, embedsignature=True
"""The C driver (include/vcl/io.h) as Python objects: drivers, sessions, connections. What a socket looks like to an
application is in socket.py and stream.py; this module waits without the GIL and turns errno into exceptions.

Every object may be used from any thread. The C handle behind an object lives until the object dies, so a call that runs
in one thread is safe against close() in another: it ends with EBADF.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.exc cimport PyErr_CheckSignals
from libc.errno cimport EBADF, EINTR
from libc.string cimport memcpy, memset

import errno as _errno
import socket as _socket
import threading as _threading

from vcl.errors import error_of as _error_of

cdef uint64_t NEVER = VCL_NEVER
cdef enum:
    IOV_COUNT = 64  # sendmsg: buffers given to C at once
    SMALL_BYTES = 16384  # recv: up to here the bytes object is made when the length is known


def clock_us():
    """Microseconds of the monotonic clock that all times of this module use (time.monotonic_ns() // 1000)."""
    return vcl_clock_us()


cdef uint64_t deadline_of(double timeout_s) noexcept:
    """0 = do not wait, below zero = for ever."""
    if timeout_s < 0:
        return NEVER
    if timeout_s == 0:
        return 0
    return vcl_clock_us() + <uint64_t> (min(timeout_s, 1e9) * 1e6) + 1


cdef double seconds_of(timeout) except? -2:
    return -1.0 if timeout is None else max(float(timeout), 0.0)


cdef int addr_of(str address, int port, pmw_addr *out) except -1:
    memset(out, 0, sizeof(pmw_addr))
    if not 0 <= port <= 65535:
        raise ValueError(f"port {port} is not in 0..65535")
    out.port = port
    if address == "":
        return 0
    family = _socket.AF_INET6 if ":" in address else _socket.AF_INET
    packed = _socket.inet_pton(family, address)
    out.family = 6 if ":" in address else 4
    memcpy(out.ip, PyBytes_AS_STRING(packed), len(packed))
    return 0


cdef tuple addr_pair(const pmw_addr *a):
    """(address, port) of a struct; ("", port) when it holds none."""
    if a.family == 4:
        return _socket.inet_ntop(_socket.AF_INET, a.ip[:4]), a.port
    if a.family == 6:
        return _socket.inet_ntop(_socket.AF_INET6, a.ip[:16]), a.port
    return "", a.port


cdef int copy_secret(uint8_t *out, size_t length, secret, str name) except -1:
    cdef bytes value = bytes(secret)
    if <size_t> len(value) != length:
        raise ValueError(f"{name} must be {length} bytes, not {len(value)}")
    memcpy(out, PyBytes_AS_STRING(value), length)
    return 0


def open_udp(str address, int port):
    """A bound UDP socket for a driver: its descriptor. "" is any address. The driver it is given to owns it."""
    cdef pmw_addr bind_to
    addr_of(address, port, &bind_to)
    cdef int fd = vcl_udp_open(&bind_to)
    if fd < 0:
        raise _error_of(-fd)
    return fd


def udp_port(int fd):
    """The port such a socket is bound to."""
    cdef pmw_addr local
    cdef int rc = vcl_udp_local_addr(fd, &local)
    if rc < 0:
        raise _error_of(-rc)
    return local.port


include "_core_stats.pxi"
include "_core_driver.pxi"
include "_core_conn.pxi"
