/* SPDX-License-Identifier: Apache-2.0
 *
 * The counters of vcl/engine.h and vcl/io.h by name, so that the binding shows each one without a list of its own. */
#ifndef VCL_CORE_STATS_H
#define VCL_CORE_STATS_H

#include "vcl/io.h"

struct vcl_counter_name {
    const char *name;
    size_t offset;
};

static const struct vcl_counter_name vcl_engine_counters[] = {
#define VCL_X(name) {#name, offsetof(struct vcl_stats, name)},
    VCL_COUNTERS(VCL_X)
#undef VCL_X
};

static const struct vcl_counter_name vcl_io_counters[] = {
#define VCL_X(name) {#name, offsetof(struct vcl_io_stats, name)},
    VCL_IO_COUNTERS(VCL_X)
#undef VCL_X
        {"lag_us_max", offsetof(struct vcl_io_stats, lag_us_max)},
};

static const char *const vcl_drop_names[VCL_DROP_COUNT] = {
#define VCL_X(name, key, text) [name] = key,
    VCL_DROPS(VCL_X)
#undef VCL_X
};

enum {
    VCL_ENGINE_COUNTERS = sizeof(vcl_engine_counters) / sizeof(vcl_engine_counters[0]),
    VCL_IO_COUNTER_COUNT = sizeof(vcl_io_counters) / sizeof(vcl_io_counters[0]),
};

static inline uint64_t vcl_counter_value(const void *counters, size_t offset)
{
    return *(const uint64_t *)((const char *)counters + offset);
}

#endif
