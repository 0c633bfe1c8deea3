/* SPDX-License-Identifier: Apache-2.0
 *
 * See message.h. */
#include "message.h"

#include <endian.h>
#include <string.h>

enum { WORDS = MESSAGE_BYTES / 8 };

/* SplitMix64 (Steele, Lea, Flood, OOPSLA 2014): one step turns a counter into 64 well mixed bits. */
static uint64_t mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static void fill(uint64_t words[WORDS])
{
    uint64_t state = mix(words[0]) ^ words[1];
    for (int i = 2; i < WORDS; i++)
        words[i] = state = mix(state);
}

void message_make(uint8_t out[MESSAGE_BYTES], enum message_kind kind, uint32_t connection, uint64_t number)
{
    uint64_t words[WORDS] = {(uint64_t)kind << 32 | connection, number};
    fill(words);
    memcpy(out, words, MESSAGE_BYTES);
}

bool message_read(const uint8_t in[MESSAGE_BYTES], enum message_kind kind, uint32_t *connection, uint64_t *number)
{
    uint64_t words[WORDS], expected[WORDS];
    memcpy(words, in, MESSAGE_BYTES);
    *connection = (uint32_t)words[0];
    *number = words[1];
    expected[0] = (uint64_t)kind << 32 | *connection;
    expected[1] = *number;
    fill(expected);
    return memcmp(words, expected, MESSAGE_BYTES) == 0;
}

static uint8_t stream_byte(uint64_t offset)
{
    return (uint8_t)(offset / 8 >> offset % 8 * 8);
}

void stream_fill(uint8_t *out, size_t len, uint64_t offset)
{
    size_t at = 0;
    for (; at < len && (offset + at) % 8 != 0; at++)
        out[at] = stream_byte(offset + at);
    for (; at + 8 <= len; at += 8) {
        uint64_t word = htole64((offset + at) / 8);
        memcpy(out + at, &word, 8);
    }
    for (; at < len; at++)
        out[at] = stream_byte(offset + at);
}

size_t stream_check(const uint8_t *in, size_t len, uint64_t offset)
{
    size_t at = 0;
    while (at < len) {
        uint64_t word, expected = htole64((offset + at) / 8);
        if ((offset + at) % 8 == 0 && at + 8 <= len) {
            memcpy(&word, in + at, 8);
            if (word == expected) {
                at += 8;
                continue;
            }
        }
        if (in[at] != stream_byte(offset + at))
            return at;
        at++;
    }
    return len;
}
