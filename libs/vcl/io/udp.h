/* SPDX-License-Identifier: Apache-2.0
 *
 * A nonblocking UDP socket that moves datagrams in bursts: recvmmsg of messages the kernel has merged (UDP_GRO),
 * sendmmsg of runs it cuts up again (UDP_SEGMENT). The socket is IPv6 for both families where the host has IPv6.
 */
#ifndef VCL_IO_UDP_H
#define VCL_IO_UDP_H

#include "udp_route.h"
#include "vcl/io.h"

#include <netinet/in.h>
#include <sys/socket.h>

enum {
    VCL_UDP_BUFFER_BYTES = 4 << 20, /* each way in the kernel: 40 ms of 64-byte messages at 1.5 M/s */
    VCL_UDP_RX_MESSAGES = 16,
    VCL_UDP_RX_BYTES = 65536, /* the largest message UDP_GRO makes */
    VCL_UDP_TX_SLOTS = 128,
    VCL_UDP_GSO_SEGMENTS = 64, /* UDP_MAX_SEGMENTS of kernels before 6.9 */
    VCL_UDP_GSO_BYTES = 65000, /* below 65,535 less the IP and UDP headers */
};

struct vcl_udp {
    int fd;
    bool v6, gso, gro;
    struct vcl_routes routes;
    struct vcl_io_stats *stats; /* counters of the owner */
};

/* Takes fd over: nonblocking, buffers, GRO. 0 or -errno. */
int vcl__udp_adopt(struct vcl_udp *u, int fd, bool gso, bool gro, struct vcl_io_stats *stats);

/* One burst of received messages. Belongs to one reader; needs no lock. */
struct vcl_udp_rx {
    int nb, at;    /* messages, and the one that is being cut up */
    size_t offset; /* in message `at` */
    uint32_t kernel_drops;
    bool marked; /* the datagram given last came with ECN's CE (T9) */
    struct mmsghdr msgs[VCL_UDP_RX_MESSAGES];
    struct iovec iov[VCL_UDP_RX_MESSAGES];
    struct sockaddr_in6 from[VCL_UDP_RX_MESSAGES];
    uint8_t control[VCL_UDP_RX_MESSAGES][96] __attribute__((aligned(8))); /* segment size, drop count, ECN */
    uint8_t bytes[VCL_UDP_RX_MESSAGES][VCL_UDP_RX_BYTES];
};
void vcl__udp_rx_init(struct vcl_udp_rx *rx);
/* Messages received (then vcl__udp_rx_next gives their datagrams), 0 = none waits, or -errno. */
int vcl__udp_receive(const struct vcl_udp *u, struct vcl_udp_rx *rx);
bool vcl__udp_rx_next(struct vcl_udp_rx *rx, struct pmw_addr *from, const uint8_t **bytes, size_t *len);

/* Datagrams to send, in order. The kernel taking none for the moment leaves them here. */
struct vcl_udp_tx {
    unsigned head, nb; /* slots[head .. nb) are to be sent */
    struct vcl_datagram slots[VCL_UDP_TX_SLOTS];
    struct mmsghdr msgs[VCL_UDP_TX_SLOTS];
    struct iovec iov[VCL_UDP_TX_SLOTS];
    struct sockaddr_in6 to[VCL_UDP_TX_SLOTS];
    uint8_t control[VCL_UDP_TX_SLOTS][CMSG_SPACE(sizeof(uint16_t)) + CMSG_SPACE(sizeof(int))]
        __attribute__((aligned(8))); /* segment size, ECN */
};
/* 0 = all gone (sent, or refused by the kernel and counted), -EAGAIN = the rest waits for POLLOUT. */
int vcl__udp_send(struct vcl_udp *u, struct vcl_udp_tx *tx);

#endif
