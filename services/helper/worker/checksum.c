/* SPDX-License-Identifier: Apache-2.0
 *
 * Internet checksum, eight bytes a step. See checksum.h.
 */
#include "checksum.h"

#include <string.h>

uint64_t checksum_add(uint64_t sum, const uint8_t *p, size_t len)
{
    uint32_t word, low, high;
    uint16_t half = 0;

    /* At most 64 KB are added: 2^14 words of 32 bits cannot overflow 64. */
    for (; len >= 8; p += 8, len -= 8) {
        memcpy(&low, p, 4);
        memcpy(&high, p + 4, 4);
        sum += (uint64_t)low + high;
    }
    if (len >= 4) {
        memcpy(&word, p, 4);
        sum += word;
        p += 4;
        len -= 4;
    }
    if (len >= 2) {
        memcpy(&half, p, 2);
        sum += half;
        p += 2;
        len -= 2;
    }
    if (len) {
        half = 0;
        memcpy(&half, p, 1); /* the odd byte is followed by a zero, whatever the byte order */
        sum += half;
    }
    return sum;
}

uint64_t checksum_ipv6(const uint8_t *ip, uint8_t protocol, const uint8_t *message, size_t len)
{
    const uint8_t pseudo_tail[8] = {0, 0, (uint8_t)(len >> 8), (uint8_t)len, 0, 0, 0, protocol};
    uint64_t sum = checksum_add(0, ip + 8, 32); /* both addresses */

    return checksum_add(checksum_add(sum, pseudo_tail, sizeof(pseudo_tail)), message, len);
}

static uint16_t fold(uint64_t sum)
{
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)sum;
}

void checksum_store(uint8_t *p, uint64_t sum)
{
    uint16_t value = (uint16_t)~fold(sum);
    memcpy(p, &value, sizeof(value));
}

int checksum_holds(uint64_t sum)
{
    return fold(sum) == 0xffff;
}
