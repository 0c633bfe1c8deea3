/* SPDX-License-Identifier: Apache-2.0
 *
 * See nack_ring.h. A NACK is rare, so it looks at all slots, once for the whole run that it names.
 */
#include "nack_ring.h"

#include <string.h>

void vcl__nack_ring_free(struct nack_ring *r, const struct mem *mem)
{
    mem_free(mem, r->slots);
    *r = (struct nack_ring){0};
}

void vcl__nack_ring_put(struct nack_ring *r, const struct mem *mem, uint64_t now, const void *trunk, uint64_t seq,
                        const struct pmw_addr *to, const uint8_t *bytes, size_t len)
{
    if (r->slots == NULL)
        r->slots = mem_alloc(mem, NACK_RING_BATCHES * sizeof(*r->slots));
    if (r->slots == NULL)
        return;
    struct nack_slot *s = &r->slots[r->next++ % NACK_RING_BATCHES];
    r->nb_waiting -= s->waits;
    s->trunk = trunk;
    s->seq = seq;
    s->sent_at = now;
    s->to = *to;
    s->len = (uint16_t)len;
    s->asked = s->waits = false;
    memcpy(s->bytes, bytes, len);
}

uint32_t vcl__nack_ring_ask(struct nack_ring *r, uint64_t now, const void *trunk, uint64_t first, uint32_t count)
{
    uint32_t nb = 0;
    for (uint32_t i = 0; r->slots != NULL && i < NACK_RING_BATCHES; i++) {
        struct nack_slot *s = &r->slots[i];
        if (s->trunk != trunk || s->asked || s->seq < first || s->seq - first >= count ||
            now - s->sent_at > NACK_RING_AGE_US)
            continue;
        s->asked = s->waits = true;
        nb++;
    }
    r->nb_waiting += nb;
    return nb;
}

const struct nack_slot *vcl__nack_ring_pop(struct nack_ring *r)
{
    for (uint32_t i = 0; r->nb_waiting > 0 && i < NACK_RING_BATCHES; i++) {
        struct nack_slot *s = &r->slots[(r->next + i) % NACK_RING_BATCHES]; /* the oldest first */
        if (!s->waits)
            continue;
        s->waits = false;
        r->nb_waiting--;
        return s;
    }
    return NULL;
}

void vcl__nack_ring_forget(struct nack_ring *r, const void *trunk)
{
    for (uint32_t i = 0; r->slots != NULL && i < NACK_RING_BATCHES; i++) {
        struct nack_slot *s = &r->slots[i];
        if (s->trunk != trunk)
            continue;
        r->nb_waiting -= s->waits;
        s->waits = false;
        s->trunk = NULL;
    }
}
