/* SPDX-License-Identifier: Apache-2.0
 *
 * See mirror.h. */
#include "mirror.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

/* A Unix stream socket is writable while its queued bytes are under a quarter of SO_SNDBUF (unix_writable): with the
 * smallest buffer, 4,608 bytes, one message of this size fills it. */
enum { PADDING_BYTES = 2048 };

int vcl__mirror_open(struct vcl_mirror *m)
{
    int pair[2], smallest = 1;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0)
        return -errno;
    (void)setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &smallest, sizeof(smallest));
    *m = (struct vcl_mirror){.app = pair[0], .own = pair[1], .writable = true};
    return 0;
}

/* There is never more than one message in it. */
static void drain(int fd)
{
    char bytes[PADDING_BYTES];
    (void)recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT);
}

static void show_readable(struct vcl_mirror *m, bool readable)
{
    if (m->readable == readable)
        return;
    if (readable)
        (void)send(m->own, "r", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
    else
        drain(m->app);
    m->readable = readable;
}

static void show_writable(struct vcl_mirror *m, bool writable)
{
    static const char padding[PADDING_BYTES];
    if (m->writable == writable)
        return;
    if (writable)
        drain(m->own);
    else
        (void)send(m->app, padding, sizeof(padding), MSG_DONTWAIT | MSG_NOSIGNAL);
    m->writable = writable;
}

void vcl__mirror_show(struct vcl_mirror *m, struct vcl_readiness r)
{
    if (m->app < 0 || m->over)
        return;
    if (r.over) {
        show_writable(m, true);
        (void)shutdown(m->own, SHUT_RDWR);
        m->over = true;
        return;
    }
    if (r.ended && !m->ended) {
        (void)shutdown(m->own, SHUT_WR); /* readable for good */
        m->ended = true;
    }
    if (!m->ended)
        show_readable(m, r.readable);
    show_writable(m, r.writable);
}

void vcl__mirror_close(struct vcl_mirror *m)
{
    if (m->app < 0)
        return;
    close(m->app);
    close(m->own);
    m->app = m->own = -1;
}
