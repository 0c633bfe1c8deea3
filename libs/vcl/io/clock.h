/* SPDX-License-Identifier: Apache-2.0
 *
 * The only reader of clocks: monotonic microseconds (vcl_clock_us in vcl/io.h), and their distance from Unix time. */
#ifndef VCL_IO_CLOCK_H
#define VCL_IO_CLOCK_H

#include "vcl/io.h"

#include <time.h>

/* Unix time in us = vcl_clock_us() + this. Read once a driver: tokens live for minutes, clocks step by less. */
int64_t vcl__clock_unix_offset_us(void);

static inline struct timespec vcl__clock_timespec(uint64_t us)
{
    return (struct timespec){.tv_sec = (time_t)(us / 1000000), .tv_nsec = (long)(us % 1000000) * 1000};
}

#endif
