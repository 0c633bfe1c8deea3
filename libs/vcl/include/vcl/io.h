/* SPDX-License-Identifier: Apache-2.0
 *
 * The driver of an engine: one UDP socket, one lock, one thread that sleeps when nothing happens, and operations shaped
 * like those of sockets. The Python binding is written on this header; so can any other front end be.
 *
 *     client process: one driver, one session for each server          server: one driver for each listening socket
 *     vcl_driver_open -> vcl_session_attach -> vcl_sock_connect        vcl_driver_open -> vcl_sock_accept
 *
 * Every function may be called from any thread. Functions that can wait take a deadline: 0 = do not wait, VCL_NEVER =
 * for ever, else a time of vcl_clock_us(). They return 0 or a count, or -errno: -EAGAIN when they were not to wait,
 * -ETIME when the deadline passed (-ETIMEDOUT: the connection itself has timed out), -EINTR when a signal was caught
 * before anything was done, -EBADF when the handle was closed, or belongs to the parent of a forked process. No
 * function raises SIGPIPE.
 */
#ifndef VCL_IO_H
#define VCL_IO_H

#include "vcl/engine.h"

#include <sys/uio.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vcl_driver;
struct vcl_sock; /* the application's handle of one connection */

#define VCL_LINGER_US 2000000 /* how long the end of a process waits for the peers' last acknowledgements */

/* Microseconds of CLOCK_MONOTONIC: comparable among the processes of one host. */
uint64_t vcl_clock_us(void);

/* --- drivers --------------------------------------------------------------------------------- */
struct vcl_driver_config {
    /* alloc, free, random, ctx and unix_offset_us are filled in by the driver; server_id 0 makes a client. */
    struct vcl_config engine;
    int udp_fd; /* from vcl_udp_open, or another bound UDP socket; the driver owns it even if it fails to open */
    /* While other connections are still waiting to be read by the application, its small sends are held at most this
     * long, so that the answers to one burst leave in one system call: 200; 0 = never held. */
    uint32_t hold_us_max;
    bool gso, gro; /* kernel segmentation and merging of datagrams, where the kernel has them: true */
};
void vcl_driver_config_defaults(struct vcl_driver_config *c);

/* A UDP socket fit for a driver (large buffers, close-on-exec), or -errno. Family 0: any address, IPv6 and IPv4. */
int vcl_udp_open(const struct pmw_addr *bind_to);
int vcl_udp_local_addr(int fd, struct pmw_addr *out);

int vcl_driver_open(struct vcl_driver **out, const struct vcl_driver_config *config);
/* Begins the end: every open handle is released as by vcl_sock_close, unacknowledged bytes are resent for at most
 * linger_us, the rest is reset, the thread ends. Does not wait; vcl_driver_join does. */
void vcl_driver_close(struct vcl_driver *d, uint64_t linger_us);
int vcl_driver_join(struct vcl_driver *d, uint64_t deadline_us);
/* Gives the caller's reference back (after vcl_driver_close). Handles keep a closed driver's memory alive. */
void vcl_driver_free(struct vcl_driver *d);

/* Server: no connection is accepted any more; those that wait are reset, those already taken go on. */
void vcl_driver_stop_listening(struct vcl_driver *d);
int vcl_driver_set_keys(struct vcl_driver *d, const struct vcl_server_key *keys, uint8_t nb_keys);
/* Readable, for poll and epoll, while a connection waits to be accepted. The driver keeps it. */
int vcl_driver_accept_fd(struct vcl_driver *d);
uint32_t vcl_driver_socks(struct vcl_driver *d);     /* handles that are open */
bool vcl_driver_is_ours(const struct vcl_driver *d); /* false in the child of a fork */

/* --- sessions of a client --------------------------------------------------------------------- */
int vcl_session_attach(struct vcl_driver *d, const struct vcl_peer *peer, struct vcl_session **out);
int vcl_session_detach(struct vcl_driver *d, struct vcl_session *s); /* -EBUSY while it has connections */
int vcl_session_renew(struct vcl_driver *d, struct vcl_session *s, const uint8_t token[PMW_TOKEN_BYTES],
                      const uint8_t token_key[PMW_KEY_BYTES]);
int vcl_session_repath(struct vcl_driver *d, struct vcl_session *s, const struct vcl_path *paths, uint8_t nb_paths);
int vcl_session_advise(struct vcl_driver *d, struct vcl_session *s, uint16_t helper_id, enum vcl_hint hint);
int vcl_session_query(struct vcl_driver *d, struct vcl_session *s, struct vcl_session_info *out);

/* What happened to sessions: a ring of the last VCL_NOTICES_MAX, read by cursor: several readers see all of it. */
#define VCL_NOTICES_MAX 1024
struct vcl_notice {
    uint64_t seq;             /* 1, 2, 3, ... in this driver */
    enum vcl_event_type type; /* TOKEN_WANTED, PATH_SUSPECT, PATH_MOVED, PATHS_WANTED */
    uint64_t session_id;
    uint16_t server_id, from_helper_id, helper_id;
    uint32_t epoch, nb_conns;
    uint64_t at_us, silent_since_us;
};
/* Copies up to max notices with seq > after; the count. When some were overwritten, the first one's seq shows it. */
int vcl_notices_read(struct vcl_driver *d, uint64_t after, struct vcl_notice *out, int max);
/* 0 when there is one with seq > after; -ECANCELED once the driver is closing. */
int vcl_notices_wait(struct vcl_driver *d, uint64_t after, uint64_t deadline_us);

/* --- connections ------------------------------------------------------------------------------- */
/* connect: begun when it returns; vcl_sock_connected waits for the answer. */
int vcl_sock_connect(struct vcl_driver *d, struct vcl_session *s, struct vcl_sock **out);
/* encrypt: only a connection whose payload is encrypted end to end (W11), else its end is ECONNREFUSED. */
int vcl_sock_connect_as(struct vcl_driver *d, struct vcl_session *s, bool encrypt, struct vcl_sock **out);
int vcl_sock_connected(struct vcl_sock *s, uint64_t deadline_us);
int vcl_sock_accept(struct vcl_driver *d, struct vcl_sock **out, uint64_t deadline_us);

enum vcl_sock_flags {
    VCL_SOCK_PEEK = 1,     /* recv: leave the bytes */
    VCL_SOCK_WAIT_ALL = 2, /* recv: wait until the buffer is full; send: until everything is taken */
};
/* Bytes taken or read; recv gives 0 at the end of the stream. A deadline or a signal after some bytes: their count. */
int64_t vcl_sock_send(struct vcl_sock *s, const struct iovec *iov, int nb_iov, unsigned flags, uint64_t deadline_us);
int64_t vcl_sock_recv(struct vcl_sock *s, void *buf, size_t len, unsigned flags, uint64_t deadline_us);
int vcl_sock_shutdown(struct vcl_sock *s, int how); /* SHUT_RD, SHUT_WR, SHUT_RDWR */

/* SO_LINGER: shuts down sending and waits until the peer's engine has acknowledged everything. */
int vcl_sock_linger(struct vcl_sock *s, uint64_t deadline_us);
/* SO_KEEPALIVE with TCP_KEEPIDLE; 0 = off (engine.h, vcl_conn_set_keepalive). */
int vcl_sock_keepalive(struct vcl_sock *s, uint32_t keepalive_ms);
/* Ends the handle: waiters get -EBADF, the engine delivers what was written (abort: a reset instead). */
void vcl_sock_close(struct vcl_sock *s, bool abort);
/* Closes if need be and gives the memory back; no call on the handle may be running. */
void vcl_sock_free(struct vcl_sock *s);

/* A descriptor whose readability and writability are those of the connection (POLLIN, POLLOUT, POLLHUP), for select,
 * poll and epoll. Made at the first call, closed with the handle. Never read from it or write to it. */
int vcl_sock_fd(struct vcl_sock *s);
/* For many connections in one thread, instead of descriptors: writes those that something happened to since they were
 * last written here (opened, bytes, end, error, room) and returns their number. Use each until -EAGAIN before the next
 * call. 0: look at vcl_sock_accept, or a false alarm. -EAGAIN, -ETIME, -EINTR, -EBADF as above. */
int vcl_driver_ready(struct vcl_driver *d, struct vcl_sock **out, int max, uint64_t deadline_us);
/* The application's own pointer beside a handle; the driver never looks at it. */
void vcl_sock_set_user(struct vcl_sock *s, void *user);
void *vcl_sock_user(const struct vcl_sock *s);
int vcl_sock_take_error(struct vcl_sock *s); /* SO_ERROR: errno of the pending error, or 0; clears it */
int vcl_sock_info(struct vcl_sock *s, struct vcl_conn_info *out);
size_t vcl_sock_readable(struct vcl_sock *s); /* FIONREAD */
/* The session of a client's connection: NULL on a server, or when it is closed. */
struct vcl_session *vcl_sock_session(struct vcl_sock *s);

/* --- counters ----------------------------------------------------------------------------------- */
/* A received message holds several datagrams when the kernel merged them; rx_kernel_drops: its queue was full. A
 * datagram in tx_drops was refused by the kernel and counts as lost. tx_gso_avoided: datagrams that could have left
 * with the next in one message, but for a veth that nobody cuts messages up behind. */
/* clang-format off */
#define VCL_IO_COUNTERS(X)                                                       \
    X(rx_calls) X(rx_messages) X(rx_datagrams) X(rx_kernel_drops)                \
    X(tx_calls) X(tx_datagrams) X(tx_gso_messages) X(tx_again) X(tx_gso_refused) \
    X(tx_gso_avoided) X(tx_drops) X(flushes_held) X(wakes) X(timers) X(late_timers)                \
    X(notices_overwritten)
/* clang-format on */
struct vcl_io_stats {
#define VCL_X(name) uint64_t name;
    VCL_IO_COUNTERS(VCL_X)
#undef VCL_X
    uint64_t lag_us_max; /* the latest a timer ever ran */
};
void vcl_driver_stats(struct vcl_driver *d, struct vcl_stats *engine, struct vcl_io_stats *io);

#ifdef __cplusplus
}
#endif
#endif
