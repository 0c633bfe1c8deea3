/* SPDX-License-Identifier: Apache-2.0
 *
 * An IP address of either version as one value: two words in host order, IPv4 as ::ffff:a.b.c.d (RFC 4291 2.5.5.2).
 * What works on addresses (next hop, neighbours) needs to know nothing of versions.
 */
#ifndef POSTMAN_IP_H
#define POSTMAN_IP_H

#include "headers.h"
#include "postman/wire.h"

struct ip_addr {
    uint64_t hi, lo; /* both zero: none */
};

#define IPV4_MAPPED UINT64_C(0xffff00000000)

static inline struct ip_addr ip_of_v4(uint32_t v4)
{
    return (struct ip_addr){.lo = IPV4_MAPPED | v4};
}

static inline bool ip_is_v4(struct ip_addr a)
{
    return a.hi == 0 && a.lo >> 32 == IPV4_MAPPED >> 32;
}

static inline bool ip_equal(struct ip_addr a, struct ip_addr b)
{
    return a.hi == b.hi && a.lo == b.lo;
}

static inline bool ip_is_none(struct ip_addr a)
{
    return (a.hi | a.lo) == 0;
}

/* 16 bytes of an IPv6 header. */
static inline struct ip_addr ip_read6(const uint8_t *p)
{
    return (struct ip_addr){(uint64_t)read32(p) << 32 | read32(p + 4), (uint64_t)read32(p + 8) << 32 | read32(p + 12)};
}

static inline void ip_write6(uint8_t *p, struct ip_addr a)
{
    write32(p, (uint32_t)(a.hi >> 32));
    write32(p + 4, (uint32_t)a.hi);
    write32(p + 8, (uint32_t)(a.lo >> 32));
    write32(p + 12, (uint32_t)a.lo);
}

static inline struct ip_addr ip_of_addr(const struct pmw_addr *a)
{
    return a->family == 4 ? ip_of_v4(read32(a->ip)) : ip_read6(a->ip);
}

static inline struct pmw_addr ip_to_addr(struct ip_addr a, uint16_t port)
{
    struct pmw_addr out = {.family = ip_is_v4(a) ? 4 : 6, .port = port};

    if (out.family == 4)
        write32(out.ip, (uint32_t)a.lo);
    else
        ip_write6(out.ip, a);
    return out;
}

/* Of a prefix of that many bits (IPv4: 96 more than it is written). */
static inline struct ip_addr ip_mask(uint32_t prefix_len)
{
    return (struct ip_addr){
        .hi = prefix_len == 0    ? 0
              : prefix_len >= 64 ? UINT64_MAX
                                 : UINT64_MAX << (64 - prefix_len),
        .lo = prefix_len <= 64    ? 0
              : prefix_len >= 128 ? UINT64_MAX
                                  : UINT64_MAX << (128 - prefix_len),
    };
}

/* Can one host be meant? IPv6: not ::, ::1, ff00::/8, nor IPv4 in another dress (RFC 4291 2.5). */
static inline bool ip_is_unicast(struct ip_addr a)
{
    if (ip_is_v4(a))
        return ipv4_is_unicast((uint32_t)a.lo);
    return a.hi >> 56 != 0xff && (a.hi != 0 || a.lo >> 32 != 0);
}

/* Text of either version; room for it: IP_TEXT_BYTES. */
enum { IP_TEXT_BYTES = 46 };
const char *ip_text(struct ip_addr a, char out[IP_TEXT_BYTES]);
/* false: neither. A mapped IPv4 address is refused: it has a shorter name. */
bool ip_parse(const char *text, struct ip_addr *out);

#endif
