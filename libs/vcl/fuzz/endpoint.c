/* SPDX-License-Identifier: Apache-2.0
 *
 * See endpoint.h.
 */
#include "endpoint.h"

#include <stdlib.h>
#include <string.h>

#include "require.h"

/* The size is kept before the block. */
union block {
    size_t size;
    max_align_t align;
};

static void *endpoint_alloc(void *ctx, size_t size)
{
    struct endpoint *p = ctx;
    if (p->allocs_until_failure > 0 && --p->allocs_until_failure == 0)
        return NULL;
    union block *b = calloc(1, sizeof(*b) + size);
    REQUIRE(b != NULL);
    b->size = size;
    p->memory_bytes += size;
    REQUIRE(p->memory_bytes <= MEMORY_BYTES_MAX);
    return b + 1;
}

static void endpoint_dealloc(void *ctx, void *block)
{
    struct endpoint *p = ctx;
    if (block == NULL)
        return;
    union block *b = (union block *)block - 1;
    p->memory_bytes -= b->size;
    free(b);
}

/* splitmix64 (Steele, Lea, Flood 2014) */
static void endpoint_random(void *ctx, void *buf, size_t len)
{
    struct endpoint *p = ctx;
    for (size_t i = 0; i < len; i++) {
        uint64_t z = p->random += 0x9e3779b97f4a7c15;
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
        ((uint8_t *)buf)[i] = (uint8_t)(z >> 56);
    }
}

void endpoint_new(struct endpoint *p, struct vcl_config *config, const struct pmw_addr *addr)
{
    *p = (struct endpoint){.addr = *addr, .random = addr->port};
    config->ctx = p;
    config->alloc = endpoint_alloc;
    config->free = endpoint_dealloc;
    config->random = endpoint_random;
    config->sessions_max = 8;
    config->conns_max = CONNS_MAX;
    config->backlog_max = 4;
    config->trunks_max = 3;
    config->sndbuf_bytes = BUFFER_BYTES;
    config->rcvbuf_bytes = BUFFER_BYTES;
    config->sndbuf_bytes_max = config->rcvbuf_bytes_max = BUFFER_BYTES;
    REQUIRE(vcl_engine_new(&p->engine, config) == VCL_OK);
}

void endpoint_free(struct endpoint *p)
{
    vcl_engine_free(p->engine);
    REQUIRE(p->memory_bytes == 0);
}
