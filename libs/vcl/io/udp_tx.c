/* SPDX-License-Identifier: Apache-2.0
 *
 * Sending bursts: neighbours of equal size to one address become one message with UDP_SEGMENT, which the kernel or the
 * card cuts up again. Where that is refused (EIO: no checksum offload) the driver stops asking for it and sends one
 * message a datagram; so it does where nobody would cut them up (udp_route.h), unless the engine has proved this very
 * way, or does so now (S21). EINVAL of large segments is another matter: they do not fit the route's MTU, and alone
 * they do not either (EMSGSIZE). They count as lost, and the engine sends smaller ones. */
#include "udp.h"

#include <errno.h>
#include <netinet/udp.h>
#include <string.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103 /* linux/udp.h; glibc before 2.31 lacks it */
#endif

static bool destination(const struct vcl_udp *u, const struct pmw_addr *a, struct sockaddr_in6 *out, socklen_t *len)
{
    if (!u->v6) {
        struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(a->port)};
        memcpy(&in.sin_addr, a->ip, 4);
        memcpy(out, &in, sizeof(in));
        *len = sizeof(in);
        return a->family == 4;
    }
    *out = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons(a->port)};
    *len = sizeof(*out);
    if (a->family == 4) { /* ::ffff:a.b.c.d */
        out->sin6_addr.s6_addr[10] = out->sin6_addr.s6_addr[11] = 0xff;
        memcpy(&out->sin6_addr.s6_addr[12], a->ip, 4);
    } else {
        memcpy(&out->sin6_addr, a->ip, 16);
    }
    return a->family == 4 || a->family == 6;
}

/* How many slots from `at` on make one message: one address, one size, the last may be shorter. */
static unsigned run_length(struct vcl_udp *u, const struct vcl_udp_tx *tx, unsigned at, uint64_t now_us)
{
    const struct vcl_datagram *first = &tx->slots[at];
    size_t bytes = first->len;
    unsigned n = 1;
    if (!u->gso)
        return 1;
    while (at + n < tx->nb && n < VCL_UDP_GSO_SEGMENTS) {
        const struct vcl_datagram *next = &tx->slots[at + n];
        bytes += next->len;
        if (next->len > first->len || bytes > VCL_UDP_GSO_BYTES || !pmw_addr_equal(&next->to, &first->to))
            break;
        if (n == 1 && !(first->may_merge && next->may_merge) && !vcl__route_may_merge(&u->routes, &first->to, now_us)) {
            u->stats->tx_gso_avoided++;
            break;
        }
        n++;
        if (next->len < first->len)
            break;
    }
    return n;
}

static void add_control(struct msghdr *m, uint8_t *control, int level, int type, const void *value, size_t len)
{
    struct cmsghdr *c = (struct cmsghdr *)(void *)(control + m->msg_controllen);
    m->msg_control = control;
    m->msg_controllen += CMSG_SPACE(len);
    c->cmsg_level = level;
    c->cmsg_type = type;
    c->cmsg_len = CMSG_LEN(len);
    memcpy(CMSG_DATA(c), value, len);
}

static void set_segment(struct msghdr *m, uint8_t *control, size_t segment)
{
    uint16_t bytes = (uint16_t)segment;
    add_control(m, control, IPPROTO_UDP, UDP_SEGMENT, &bytes, sizeof(bytes));
}

/* T9: batches only. Nobody would tell of the marks of a frame that travels alone. */
static void set_ecn(struct msghdr *m, uint8_t *control, const struct vcl_datagram *d)
{
    const int ect0 = 2; /* RFC 3168 section 5 */
    if (pmw_type_of(d->bytes, d->len) != PMW_TRUNK)
        return;
    if (d->to.family == 4)
        add_control(m, control, IPPROTO_IP, IP_TOS, &ect0, sizeof(ect0));
    else
        add_control(m, control, IPPROTO_IPV6, IPV6_TCLASS, &ect0, sizeof(ect0));
}

/* Drops slot `head` in place of sending it. */
static void drop_head(struct vcl_udp *u, struct vcl_udp_tx *tx, unsigned nb)
{
    u->stats->tx_drops += nb;
    tx->head += nb;
}

/* Messages for slots[head .. nb); stops before a datagram that cannot be sent from this socket. */
static unsigned build(struct vcl_udp *u, struct vcl_udp_tx *tx)
{
    unsigned nb_msgs = 0;
    uint64_t now_us = vcl_clock_us();
    for (unsigned at = tx->head; at < tx->nb;) {
        unsigned n = run_length(u, tx, at, now_us);
        socklen_t name_len;
        if (!destination(u, &tx->slots[at].to, &tx->to[nb_msgs], &name_len))
            break;
        for (unsigned i = at; i < at + n; i++)
            tx->iov[i] = (struct iovec){.iov_base = tx->slots[i].bytes, .iov_len = tx->slots[i].len};
        struct msghdr *m = &tx->msgs[nb_msgs].msg_hdr;
        *m = (struct msghdr){
            .msg_name = &tx->to[nb_msgs], .msg_namelen = name_len, .msg_iov = &tx->iov[at], .msg_iovlen = n};
        if (n > 1)
            set_segment(m, tx->control[nb_msgs], tx->slots[at].len);
        set_ecn(m, tx->control[nb_msgs], &tx->slots[at]);
        nb_msgs++;
        at += n;
    }
    return nb_msgs;
}

static void count_sent(struct vcl_udp *u, struct vcl_udp_tx *tx, int nb_msgs)
{
    for (int i = 0; i < nb_msgs; i++) {
        unsigned n = (unsigned)tx->msgs[i].msg_hdr.msg_iovlen;
        u->stats->tx_datagrams += n;
        u->stats->tx_gso_messages += n > 1;
        tx->head += n;
    }
}

/* The kernel refused the first message. True: go on with the rest; false: it wants us to wait. */
static bool after_refusal(struct vcl_udp *u, struct vcl_udp_tx *tx, int error)
{
    unsigned n = (unsigned)tx->msgs[0].msg_hdr.msg_iovlen;
    if (error == EINTR)
        return true;
    if (error == EAGAIN) {
        u->stats->tx_again++;
        return false;
    }
    if (n > 1 && tx->slots[tx->head].len > PMW_TRUNK_BYTES_MAX && (error == EINVAL || error == EMSGSIZE)) {
        drop_head(u, tx, n);
        return true;
    }
    if (n > 1 && (error == EINVAL || error == EIO || error == EOPNOTSUPP || error == EMSGSIZE)) {
        u->stats->tx_gso_refused++;
        u->gso = false;
        return true;
    }
    drop_head(u, tx, n); /* no route, no memory, a firewall: a lost datagram, which the engine repairs */
    return true;
}

int vcl__udp_send(struct vcl_udp *u, struct vcl_udp_tx *tx)
{
    while (tx->head < tx->nb) {
        unsigned nb_msgs = build(u, tx);
        if (nb_msgs == 0) {
            drop_head(u, tx, 1);
            continue;
        }
        int sent = sendmmsg(u->fd, tx->msgs, nb_msgs, MSG_DONTWAIT | MSG_NOSIGNAL);
        u->stats->tx_calls++;
        if (sent > 0)
            count_sent(u, tx, sent);
        else if (!after_refusal(u, tx, errno))
            return -EAGAIN;
    }
    tx->head = tx->nb = 0;
    return 0;
}
