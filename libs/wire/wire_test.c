/* SPDX-License-Identifier: Apache-2.0
 *
 * See wire_test.h.
 */
#include "wire_test.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

const uint8_t *guarded(const void *data, size_t len)
{
    static uint8_t *end;
    size_t page = (size_t)sysconf(_SC_PAGESIZE), room = (2 * PMW_FRAME_BYTES_MAX / page + 1) * page;
    assert_true(len <= room);
    if (end == NULL) {
        uint8_t *map = mmap(NULL, room + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        assert_ptr_not_equal(map, MAP_FAILED);
        assert_int_equal(mprotect(map + room, page, PROT_NONE), 0);
        end = map + room;
    }
    if (len > 0)
        memcpy(end - len, data, len);
    return end - len;
}

/* splitmix64 (Steele, Lea, Flood 2014) */
static uint64_t random_next(void)
{
    static uint64_t state = 4701;
    uint64_t z = state += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

void random_fill(void *buf, size_t len)
{
    uint8_t *p = buf;
    for (size_t i = 0; i < len; i++)
        p[i] = (uint8_t)random_next();
}

uint64_t random_below(uint64_t bound)
{
    return random_next() % bound;
}

static void assert_reserved_refused(decode_fn *decode, const uint8_t *bytes, size_t len, size_t at)
{
    uint8_t changed[PMW_FRAME_BYTES_MAX];
    for (unsigned bit = 0; bit < 8; bit++) {
        memcpy(changed, bytes, len);
        changed[at] ^= (uint8_t)(1u << bit);
        if (decode(guarded(changed, len), len) >= 0)
            fail_msg("bit %u of reserved byte %zu is accepted", bit, at);
    }
}

void assert_strict(decode_fn *decode, const uint8_t *bytes, size_t len, const struct reserved *reserved, size_t nb)
{
    assert_int_equal(decode(guarded(bytes, len), len), 0);
    for (size_t shorter = 0; shorter < len; shorter++) {
        if (decode(guarded(bytes, shorter), shorter) >= 0)
            fail_msg("%zu of %zu bytes are accepted", shorter, len);
    }
    uint8_t longer[PMW_FRAME_BYTES_MAX + 1];
    memcpy(longer, bytes, len);
    longer[len] = 0;
    assert_int_equal(decode(guarded(longer, len + 1), len + 1), PMW_ERR_LENGTH);
    for (size_t i = 0; i < nb; i++) {
        for (size_t at = reserved[i].from; at < reserved[i].to; at++)
            assert_reserved_refused(decode, bytes, len, at);
    }
}
