/* SPDX-License-Identifier: Apache-2.0
 * The expected content of every stream: see ledger.h. */
#include "ledger.h"

#include "rng.h"

#include <string.h>

static const uint8_t header_mark[4] = {'P', 'o', 's', 'm'};

static uint64_t stream_word(uint64_t key, uint64_t index)
{
    return mix64(key + index * 0xd1342543de82ef95u);
}

static void header_build(uint32_t connection, uint8_t header[LEDGER_HEADER_BYTES])
{
    memcpy(header, header_mark, sizeof header_mark);
    for (int i = 0; i < 4; i++)
        header[4 + i] = (uint8_t)(connection >> (24 - 8 * i));
}

void ledger_fill(uint64_t seed, uint32_t connection, enum direction direction, uint64_t offset, uint8_t *buf,
                 size_t len)
{
    uint64_t key = mix64(seed ^ mix64((uint64_t)connection << 1 | direction));
    uint8_t header[LEDGER_HEADER_BYTES];
    if (direction == UP && offset < LEDGER_HEADER_BYTES)
        header_build(connection, header);
    uint64_t word = 0;
    for (size_t i = 0; i < len; i++) {
        uint64_t at = offset + i;
        if (i == 0 || at % 8 == 0)
            word = stream_word(key, at / 8);
        buf[i] = direction == UP && at < LEDGER_HEADER_BYTES ? header[at] : (uint8_t)(word >> (8 * (at % 8)));
    }
}

int64_t ledger_mismatch(uint64_t seed, uint32_t connection, enum direction direction, uint64_t offset,
                        const uint8_t *buf, size_t len)
{
    uint8_t expected[512];
    for (size_t done = 0; done < len;) {
        size_t part = len - done < sizeof expected ? len - done : sizeof expected;
        ledger_fill(seed, connection, direction, offset + done, expected, part);
        if (memcmp(expected, buf + done, part) != 0) {
            size_t i = 0;
            while (expected[i] == buf[done + i])
                i++;
            return (int64_t)(done + i);
        }
        done += part;
    }
    return -1;
}

bool ledger_header_parse(const uint8_t header[LEDGER_HEADER_BYTES], uint32_t *connection)
{
    if (memcmp(header, header_mark, sizeof header_mark) != 0)
        return false;
    *connection = 0;
    for (int i = 0; i < 4; i++)
        *connection = *connection << 8 | header[4 + i];
    return true;
}
