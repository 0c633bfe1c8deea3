/* SPDX-License-Identifier: Apache-2.0
 *
 * ARP messages as bytes (RFC 826): what one says about whom, and writing ours.
 */
#ifndef POSTMAN_ARP_H
#define POSTMAN_ARP_H

#include "parse.h"

struct arp {
    bool is_request;      /* of our address: answer it */
    bool is_announcement; /* gratuitous: about itself, to everybody */
    struct ip_addr sender_ip;
    const uint8_t *sender_mac; /* points into the frame */
};

/* DROP_NONE when the sender tells something about itself that concerns us. */
enum worker_drop arp_parse(const struct station *self, const uint8_t *frame, size_t len, struct arp *out);
/* Write a whole frame of ETHER_FRAME_BYTES_MIN bytes; return that. */
size_t arp_write_request(uint8_t *frame, const struct station *self, struct ip_addr target_ip);
size_t arp_write_reply(uint8_t *frame, const struct station *self, struct ip_addr target_ip,
                       const uint8_t target_mac[MAC_BYTES]);

#endif
