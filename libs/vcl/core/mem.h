/* SPDX-License-Identifier: Apache-2.0
 *
 * The caller's allocator (vcl_config.alloc, .free) as every part of the core takes it: zeroed memory or NULL.
 */
#ifndef VCL_CORE_MEM_H
#define VCL_CORE_MEM_H

#include <stddef.h>

struct mem {
    void *ctx;
    void *(*alloc)(void *ctx, size_t size);
    void (*free)(void *ctx, void *p);
};

static inline void *mem_alloc(const struct mem *m, size_t size)
{
    return m->alloc(m->ctx, size);
}

static inline void mem_free(const struct mem *m, void *p)
{
    if (p != NULL)
        m->free(m->ctx, p);
}

#endif
