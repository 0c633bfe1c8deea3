/* SPDX-License-Identifier: Apache-2.0
 *
 * A fuzz input read as a script: small numbers and byte strings, zeros when it has ended.
 */
#ifndef POSTMAN_FUZZ_INPUT_H
#define POSTMAN_FUZZ_INPUT_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct input {
    const uint8_t *at, *end;
};

static inline uint8_t take8(struct input *in)
{
    return in->at < in->end ? *in->at++ : 0;
}

static inline uint16_t take16(struct input *in)
{
    uint16_t high = take8(in);
    return (uint16_t)(high << 8 | take8(in));
}

/* Up to cap bytes, as many as the script says; returns how many there were. */
static inline size_t take_bytes(struct input *in, uint8_t *out, size_t cap)
{
    size_t len = take16(in), left = (size_t)(in->end - in->at);
    len = len < cap ? len : cap;
    len = len < left ? len : left;
    if (len > 0)
        memcpy(out, in->at, len);
    in->at += len;
    return len;
}

/* Changes up to seven bytes of a valid datagram, and sometimes its length; returns the new length. */
static inline size_t take_mutation(struct input *in, uint8_t *buf, size_t len, size_t cap)
{
    uint8_t how = take8(in);
    for (unsigned i = 0; i < (how & 7u) && len > 0; i++) {
        size_t at = take16(in) % len;
        buf[at] ^= take8(in);
    }
    if ((how & 0xf8) == 0xf8) { /* rarely: most changes of the length end at the first test of the decoder */
        size_t other = take16(in) % (cap + 1);
        if (other > len)
            memset(buf + len, 0, other - len);
        len = other;
    }
    return len;
}

#endif
