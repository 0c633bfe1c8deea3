/* SPDX-License-Identifier: Apache-2.0
 *
 * Inside of a driver. Everything below `lock` is read and written under it, but for what the thread alone owns. Lock
 * order: the list of drivers (fork.c), then a driver. No lock is held while a thread sleeps. */
#ifndef VCL_IO_DRIVER_H
#define VCL_IO_DRIVER_H

#include "mirror.h"
#include "udp.h"
#include "wait.h"

enum vcl_driver_state { VCL_DRIVER_OPEN, VCL_DRIVER_CLOSING, VCL_DRIVER_CLOSED };

struct vcl_notices {
    uint64_t last_seq;
    struct vcl_notice ring[VCL_NOTICES_MAX];
    struct vcl_wait wait;
};

struct vcl_driver {
    /* fixed at open */
    uint32_t fork_generation; /* another process's driver must not be touched: fork.c */
    bool server;
    uint32_t hold_us_max;
    int epoll_fd, wake_fd, timer_fd, lead_fd;
    _Atomic uint32_t refs;          /* the caller, the thread, each handle */
    struct vcl_driver *next, *prev; /* fork.c's list, under its lock */

    pthread_mutex_t lock;
    enum vcl_driver_state state;
    struct vcl_engine *engine;
    struct vcl_udp udp;
    struct vcl_udp_tx tx;
    bool tx_blocked;        /* the kernel's send buffer is full: the thread waits for POLLOUT */
    uint64_t armed_us;      /* when timer_fd fires, VCL_NEVER = it does not */
    uint64_t hold_until_us; /* small sends wait for a flush until then, VCL_NEVER = none does */
    uint32_t held_bytes;
    /* Connections that were announced as readable and not yet read out, the longest announced first (sock.c). */
    struct vcl_sock *unread_first, *unread_last;
    /* Connections with news for vcl_driver_ready, the oldest news first (ready.c). */
    bool ready_wanted; /* somebody has called it */
    struct vcl_sock *ready_first, *ready_last;
    struct vcl_wait ready_wait;
    uint64_t close_deadline_us;
    /* Who receives: the thread, or one application thread that would only wait for it (lead.c). */
    bool thread_receives;       /* the thread's epoll looks at the UDP socket */
    struct vcl_wait *leading;   /* what the application thread waits for, NULL = nobody leads */
    uint64_t lead_until_us;     /* nobody leads: when the thread takes over */
    uint32_t nb_followers;      /* other threads that sleep in calls of ours */
    uint32_t nb_mirrors;        /* connections with a descriptor that pollers may look at */
    struct vcl_udp_rx *lead_rx; /* of the leader; made by the first one */
    struct vcl_sock *socks;     /* open handles */
    uint32_t nb_socks;
    bool listening;
    uint32_t nb_backlog;
    struct vcl_wait accept_wait, closed_wait;
    struct vcl_wait turn_wait; /* the thread has done a turn: vcl_sock_linger */
    int accept_fd;             /* eventfd, -1 = nobody asked for it */
    struct vcl_notices notices;
    struct vcl_wakes wakes;
    struct vcl_io_stats stats;
    struct vcl_stats final_stats; /* the engine's, when it is gone */

    struct vcl_udp_rx rx; /* the thread's own */
};

struct vcl_sock {
    struct vcl_driver *driver;
    /* under the driver's lock */
    struct vcl_conn *conn; /* NULL: closed */
    struct vcl_session *session;
    struct vcl_sock *next, *prev;
    struct vcl_wait rx, tx; /* tx: also connect */
    struct vcl_mirror mirror;
    bool opened;   /* the connection is established */
    bool terminal; /* the engine said CLOSED */
    bool unread;   /* in the driver's list of unread connections, since unread_us */
    uint64_t unread_us;
    struct vcl_sock *unread_next, *unread_prev;
    bool ready; /* in the driver's list of connections with news */
    struct vcl_sock *ready_next, *ready_prev;
    void *user; /* the application's own: vcl_sock_set_user */
    bool read_shut, write_shut;
    int error; /* errno the application has not seen yet */
};

/* --- driver.c: the lock and what every operation ends with --------------------------------------- */
/* Locks. -EBADF (not locked): closed, or the parent's after a fork. */
int vcl__driver_enter(struct vcl_driver *d);
/* Tells events, sends what is to be sent, sets the timer. */
void vcl__driver_settle(struct vcl_driver *d, uint64_t now);
/* The same for an application's small send, which may wait for those that follow (hold_us_max). */
void vcl__driver_settle_burst(struct vcl_driver *d, uint64_t now, uint32_t bytes);
/* The same for the thread, which lets such a hold last. */
void vcl__driver_settle_thread(struct vcl_driver *d, uint64_t now);
/* What a thread does before it sleeps in a call of ours: its held sends leave. */
void vcl__driver_flush_held(struct vcl_driver *d);
void vcl__driver_leave(struct vcl_driver *d);         /* unlocks, wakes */
void vcl__driver_deliver_wakes(struct vcl_driver *d); /* at once, before a sleep */
void vcl__driver_ref(struct vcl_driver *d);
void vcl__driver_unref(struct vcl_driver *d);
void vcl__driver_kick(struct vcl_driver *d); /* makes the thread look around */
int vcl__errno(int engine_error);            /* positive errno of an enum vcl_error */

/* --- loop.c: the thread ---------------------------------------------------------------------------- */
int vcl__loop_start(struct vcl_driver *d);
void vcl__feed(struct vcl_driver *d, struct vcl_udp_rx *rx, uint64_t now, int nb_messages);

/* --- lead.c: waiting, and receiving while waiting ----------------------------------------------------- */
/* With the lock held before and after: 0 (look again), -EINTR, -ETIME. */
int vcl__sleep(struct vcl_driver *d, struct vcl_wait *w, uint64_t deadline_us);       /* for bytes, room, connections */
int vcl__sleep_aside(struct vcl_driver *d, struct vcl_wait *w, uint64_t deadline_us); /* for anything else */
void vcl__watch_udp(struct vcl_driver *d);             /* tells epoll what thread_receives and tx_blocked say */
void vcl__mirrors_add(struct vcl_driver *d, int n);    /* pollers depend on the thread */
uint64_t vcl__takeover_us(const struct vcl_driver *d); /* when the thread must look at the socket again, or VCL_NEVER */
void vcl__takeover(struct vcl_driver *d);

/* --- sock.c, accept.c: what the engine's events mean to handles -------------------------------------- */
void vcl__sock_on_event(struct vcl_driver *d, const struct vcl_event *ev);
void vcl__sock_refresh(struct vcl_sock *s);                 /* readiness after an operation or event */
bool vcl__socks_unread(struct vcl_driver *d, uint64_t now); /* the application is in the middle of a burst */
void vcl__sock_release(struct vcl_sock *s, uint64_t now, bool abort);
int vcl__sock_new(struct vcl_driver *d, struct vcl_conn *conn, struct vcl_sock **out);
void vcl__accept_on_event(struct vcl_driver *d);
void vcl__accept_stop(struct vcl_driver *d, uint64_t now); /* resets those that wait, and all that come */

/* --- ready.c -------------------------------------------------------------------------------------------- */
void vcl__ready_add(struct vcl_sock *s); /* something happened to it */
void vcl__ready_drop(struct vcl_sock *s);
void vcl__ready_wake(struct vcl_driver *d); /* a connection waits to be accepted, or the end */

/* --- session.c --------------------------------------------------------------------------------------- */
void vcl__notices_add(struct vcl_driver *d, const struct vcl_event *ev);

/* --- fork.c ------------------------------------------------------------------------------------------ */
void vcl__fork_register(struct vcl_driver *d);
void vcl__fork_unregister(struct vcl_driver *d);

#endif
