/* SPDX-License-Identifier: Apache-2.0
 *
 * Echo replies. See icmp.h.
 */
#include "icmp.h"

#include "checksum.h"

static void swap(uint8_t *a, uint8_t *b, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        uint8_t byte = a[i];
        a[i] = b[i];
        b[i] = byte;
    }
}

static size_t answer_v6(uint8_t *frame, const struct parsed *request)
{
    uint8_t *icmp = frame + IPV6 + IPV6_BYTES;

    swap(frame + ETHER_DST, frame + ETHER_SRC, MAC_BYTES);
    swap(frame + IPV6_SRC, frame + IPV6_DST, 16);
    frame[IPV6_HOP_LIMIT] = TTL_OURS;
    icmp[0] = ICMPV6_ECHO_REPLY;
    memset(icmp + 2, 0, 2);
    checksum_store(icmp + 2, checksum_ipv6(frame + IPV6, PROTOCOL_ICMPV6, icmp, request->payload_len));
    return (size_t)(icmp - frame) + request->payload_len;
}

size_t icmp_answer_echo(uint8_t *frame, const struct parsed *request)
{
    uint8_t *icmp = frame + (request->payload - frame);

    if (read16(frame + ETHER_TYPE) == ETHER_TYPE_IPV6)
        return answer_v6(frame, request);
    swap(frame + ETHER_DST, frame + ETHER_SRC, MAC_BYTES);
    swap(frame + IPV4_SRC, frame + IPV4_DST, 4);
    frame[IPV4_TTL] = TTL_OURS;
    memset(frame + IPV4_CHECKSUM, 0, 2);
    checksum_store(frame + IPV4_CHECKSUM, checksum_add(0, frame + IPV4, (size_t)(icmp - frame) - IPV4));

    icmp[0] = ICMP_ECHO_REPLY;
    memset(icmp + 2, 0, 2);
    checksum_store(icmp + 2, checksum_add(0, icmp, request->payload_len));
    return (size_t)(icmp - frame) + request->payload_len;
}
