/* SPDX-License-Identifier: Apache-2.0
 *
 * See clock.h. */
#include "clock.h"

static uint64_t read_us(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

uint64_t vcl_clock_us(void)
{
    return read_us(CLOCK_MONOTONIC);
}

int64_t vcl__clock_unix_offset_us(void)
{
    return (int64_t)read_us(CLOCK_REALTIME) - (int64_t)read_us(CLOCK_MONOTONIC);
}
