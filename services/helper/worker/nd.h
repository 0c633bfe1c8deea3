/* SPDX-License-Identifier: Apache-2.0
 *
 * IPv6's neighbour discovery as bytes (RFC 4861): solicitations and advertisements, what one says about whom, and
 * writing ours. Routers are configured, not discovered; redirects are ignored.
 */
#ifndef POSTMAN_ND_H
#define POSTMAN_ND_H

#include "parse.h"

struct nd {
    bool is_solicitation;  /* of our address: answer it */
    bool is_announcement;  /* unsolicited */
    struct ip_addr sender; /* whose Ethernet address it tells */
    const uint8_t *mac;    /* points into the frame */
};

/* A frame that parse_frame called PARSE_ND. DROP_NONE when it tells something about its sender that concerns us. */
enum worker_drop nd_parse(const struct station *self, const uint8_t *frame, const struct parsed *in, struct nd *out);
enum { ND_FRAME_BYTES = ETHER_BYTES + IPV6_BYTES + ND_BYTES + ND_OPTION_BYTES };
/* Write a whole frame of ND_FRAME_BYTES bytes; return that. */
size_t nd_write_solicitation(uint8_t *frame, const struct station *self, struct ip_addr target);
size_t nd_write_advertisement(uint8_t *frame, const struct station *self, struct ip_addr to,
                              const uint8_t to_mac[MAC_BYTES]);

#endif
