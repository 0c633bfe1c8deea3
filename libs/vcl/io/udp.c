/* SPDX-License-Identifier: Apache-2.0
 *
 * Opening the UDP socket, and receiving. Sending is in udp_tx.c. */
#include "udp.h"

#include <errno.h>
#include <netinet/udp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#ifndef UDP_GRO
#define UDP_GRO 104 /* linux/udp.h; glibc before 2.31 lacks it */
#endif

static socklen_t addr_to_sockaddr(const struct pmw_addr *a, struct sockaddr_storage *out)
{
    memset(out, 0, sizeof(*out));
    if (a->family == 4) {
        struct sockaddr_in *in = (struct sockaddr_in *)out;
        in->sin_family = AF_INET;
        in->sin_port = htons(a->port);
        memcpy(&in->sin_addr, a->ip, 4);
        return sizeof(*in);
    }
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)out;
    in6->sin6_family = AF_INET6;
    in6->sin6_port = htons(a->port);
    memcpy(&in6->sin6_addr, a->ip, 16); /* family 0: zeros, any address */
    return sizeof(*in6);
}

/* A v4-mapped IPv6 address comes out as IPv4: the engine knows one form of each address. */
static void sockaddr_to_addr(const struct sockaddr_in6 *in6, struct pmw_addr *out)
{
    memset(out, 0, sizeof(*out));
    if (in6->sin6_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)in6;
        out->family = 4;
        out->port = ntohs(in->sin_port);
        memcpy(out->ip, &in->sin_addr, 4);
        return;
    }
    out->port = ntohs(in6->sin6_port);
    if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr)) {
        out->family = 4;
        memcpy(out->ip, &in6->sin6_addr.s6_addr[12], 4);
    } else {
        out->family = 6;
        memcpy(out->ip, &in6->sin6_addr, 16);
    }
}

static int bind_new(const struct pmw_addr *bind_to, int family)
{
    int fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    int both = 0;
    if (family == AF_INET6 && bind_to->family == 0)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &both, sizeof(both));
    struct sockaddr_storage sa;
    struct pmw_addr any4 = {.family = 4, .port = bind_to->port};
    socklen_t len = addr_to_sockaddr(family == AF_INET && bind_to->family == 0 ? &any4 : bind_to, &sa);
    if (bind(fd, (struct sockaddr *)&sa, len) < 0) {
        int error = errno;
        close(fd);
        return -error;
    }
    return fd;
}

int vcl_udp_open(const struct pmw_addr *bind_to)
{
    if (bind_to->family == 4)
        return bind_new(bind_to, AF_INET);
    int fd = bind_new(bind_to, AF_INET6);
    if (fd >= 0 || bind_to->family == 6 || fd == -EADDRINUSE)
        return fd;
    return bind_new(bind_to, AF_INET); /* a host without IPv6 */
}

int vcl_udp_local_addr(int fd, struct pmw_addr *out)
{
    struct sockaddr_in6 sa = {0};
    socklen_t len = sizeof(sa);
    if (getsockname(fd, (struct sockaddr *)&sa, &len) < 0)
        return -errno;
    if (sa.sin6_family != AF_INET && sa.sin6_family != AF_INET6)
        return -EAFNOSUPPORT;
    sockaddr_to_addr(&sa, out);
    return 0;
}

/* The FORCE forms pass the host's limit and need CAP_NET_ADMIN; without it we get what the limit allows. */
static void set_buffer(int fd, int option, int forced)
{
    int bytes = VCL_UDP_BUFFER_BYTES;
    if (setsockopt(fd, SOL_SOCKET, forced, &bytes, sizeof(bytes)) < 0)
        (void)setsockopt(fd, SOL_SOCKET, option, &bytes, sizeof(bytes));
}

/* Datagrams that are too large for the way must get lost, not arrive in fragments: the engine finds out what fits
 * (S21), and the kernel's own guess, which forged ICMP can spoil, is not asked (RFC 8899 4.6). */
static void forbid_fragments(int fd, int family)
{
    int v4 = IP_PMTUDISC_PROBE, v6 = IPV6_PMTUDISC_PROBE;
    (void)setsockopt(fd, IPPROTO_IP, IP_MTU_DISCOVER, &v4,
                     sizeof(v4)); /* of an IPv6 socket too, for mapped addresses */
    if (family == AF_INET6)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, &v6, sizeof(v6));
}

int vcl__udp_adopt(struct vcl_udp *u, int fd, bool gso, bool gro, struct vcl_io_stats *stats)
{
    int family = 0, type = 0, nonblocking = 1, on = 1;
    socklen_t len = sizeof(int);
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0)
        return -errno;
    len = sizeof(int);
    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &len) < 0)
        return -errno;
    if (type != SOCK_DGRAM || (family != AF_INET && family != AF_INET6))
        return -EINVAL;
    if (ioctl(fd, FIONBIO, &nonblocking) < 0)
        return -errno;
    set_buffer(fd, SO_RCVBUF, SO_RCVBUFFORCE);
    set_buffer(fd, SO_SNDBUF, SO_SNDBUFFORCE);
    forbid_fragments(fd, family);
    (void)setsockopt(fd, SOL_SOCKET, SO_RXQ_OVFL, &on, sizeof(on));
    (void)setsockopt(fd, IPPROTO_IP, IP_RECVTOS, &on, sizeof(on)); /* T9; on IPv6 sockets for IPv4 peers */
    if (family == AF_INET6)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_RECVTCLASS, &on, sizeof(on));
    bool merged = gro && setsockopt(fd, IPPROTO_UDP, UDP_GRO, &on, sizeof(on)) == 0;
    *u = (struct vcl_udp){.fd = fd, .v6 = family == AF_INET6, .gso = gso, .gro = merged, .stats = stats};
    return 0;
}

void vcl__udp_rx_init(struct vcl_udp_rx *rx)
{
    rx->nb = rx->at = 0;
    rx->kernel_drops = 0;
    for (int i = 0; i < VCL_UDP_RX_MESSAGES; i++) {
        rx->iov[i] = (struct iovec){.iov_base = rx->bytes[i], .iov_len = VCL_UDP_RX_BYTES};
        rx->msgs[i].msg_hdr = (struct msghdr){.msg_name = &rx->from[i],
                                              .msg_namelen = sizeof(rx->from[i]),
                                              .msg_iov = &rx->iov[i],
                                              .msg_iovlen = 1,
                                              .msg_control = rx->control[i],
                                              .msg_controllen = sizeof(rx->control[i])};
    }
}

int vcl__udp_receive(const struct vcl_udp *u, struct vcl_udp_rx *rx)
{
    for (int i = 0; i < rx->nb; i++) { /* what the last call overwrote */
        rx->msgs[i].msg_hdr.msg_namelen = sizeof(rx->from[i]);
        rx->msgs[i].msg_hdr.msg_controllen = sizeof(rx->control[i]);
    }
    rx->at = 0;
    rx->offset = 0;
    int n;
    do {
        n = recvmmsg(u->fd, rx->msgs, VCL_UDP_RX_MESSAGES, MSG_DONTWAIT, NULL);
    } while (n < 0 && errno == EINTR);
    rx->nb = n > 0 ? n : 0;
    if (n < 0)
        return errno == EAGAIN ? 0 : -errno;
    return n;
}

enum { ECN_BITS = 3, ECN_CE = 3 }; /* RFC 3168 section 5 */

static bool is_marked(const struct cmsghdr *c)
{
    bool v4 = c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TOS;
    bool v6 = c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_TCLASS;
    int tos = 0;
    if (v6)
        memcpy(&tos, CMSG_DATA(c), sizeof(tos));
    else if (v4)
        tos = *CMSG_DATA(c);
    return (tos & ECN_BITS) == ECN_CE;
}

/* The size of the datagrams in one message: what UDP_GRO says, or the whole message (GRO merges only what has the same
 * mark). Notes mark and drop count on the way. */
static size_t segment_bytes(struct vcl_udp_rx *rx, struct msghdr *m, size_t len)
{
    size_t segment = len;
    rx->marked = false;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c != NULL; c = CMSG_NXTHDR(m, c)) {
        if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO) {
            int size;
            memcpy(&size, CMSG_DATA(c), sizeof(size));
            if (size > 0)
                segment = (size_t)size;
        } else if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SO_RXQ_OVFL) {
            memcpy(&rx->kernel_drops, CMSG_DATA(c), sizeof(rx->kernel_drops));
        } else {
            rx->marked |= is_marked(c);
        }
    }
    return segment;
}

bool vcl__udp_rx_next(struct vcl_udp_rx *rx, struct pmw_addr *from, const uint8_t **bytes, size_t *len)
{
    for (; rx->at < rx->nb; rx->at++, rx->offset = 0) {
        struct mmsghdr *m = &rx->msgs[rx->at];
        size_t left = m->msg_len - rx->offset;
        if (left == 0)
            continue; /* finished, or an empty datagram, which is nothing of ours */
        size_t segment = segment_bytes(rx, &m->msg_hdr, m->msg_len);
        sockaddr_to_addr(&rx->from[rx->at], from);
        *bytes = rx->bytes[rx->at] + rx->offset;
        *len = left < segment ? left : segment;
        rx->offset += *len;
        return true;
    }
    return false;
}
