/* SPDX-License-Identifier: Apache-2.0
 *
 * Ethernet, IP and UDP headers in front of a payload, in the room that its buffer keeps there (at most
 * UDP6_FRAME_BYTES).
 */
#ifndef POSTMAN_BUILD_H
#define POSTMAN_BUILD_H

#include "parse.h"

struct build_udp {
    struct ip_addr dst_ip; /* of our version */
    uint16_t src_port, dst_port;
    uint16_t ip_id; /* IPv4 */
    uint8_t ecn;    /* ECN_ECT0 for batches (T9); C-frames are the endpoints' business */
};

/* Writes IP (IPv4 with DF: our datagrams fit every link, T4) and UDP. The UDP checksum is always there and never zero:
 * a server's kernel merges equal datagrams (GRO) only when they carry one. Ethernet is left to build_ether. Returns how
 * many bytes before the payload the frame begins. */
size_t build_udp_headers(uint8_t *payload, size_t payload_len, const struct station *self, const struct build_udp *to);
void build_ether(uint8_t *frame, const struct station *self, const uint8_t dst_mac[MAC_BYTES]);

#endif
