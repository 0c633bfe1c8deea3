/* SPDX-License-Identifier: Apache-2.0
 *
 * An engine of the fuzzer: its allocator (counted, bounded, able to fail) and its random source (seeded).
 */
#ifndef VCL_FUZZ_ENDPOINT_H
#define VCL_FUZZ_ENDPOINT_H

#include "vcl/engine.h"

enum {
    CONNS_MAX = 12,
    BUFFER_BYTES = 8192,         /* per connection and direction: small, so that windows close */
    MEMORY_BYTES_MAX = 16 << 20, /* of one engine, whatever it is sent */
};

struct endpoint {
    struct vcl_engine *engine;
    struct pmw_addr addr;
    uint64_t random;
    size_t memory_bytes;
    uint32_t allocs_until_failure; /* 0: none fails */
};

/* Fills in the caller's world and the fuzzer's limits; the rest of config is the caller's. */
void endpoint_new(struct endpoint *p, struct vcl_config *config, const struct pmw_addr *addr);
void endpoint_free(struct endpoint *p);

#endif
