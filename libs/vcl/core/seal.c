/* SPDX-License-Identifier: Apache-2.0
 *
 * End-to-end encryption of one connection (W11): which cipher, its two contexts, its packet numbers. conn_in.c and
 * conn_out.c call it where they would check, or write the check, of a plain frame.
 *
 * Numbers are given out once and never again, to a frame that is resent too: a nonce is used for one frame only. Those
 * that come in need no window of seen ones: a frame that comes twice says what offsets make harmless (C2), and a number
 * decides only with which nonce the tag is tried.
 */
#include "state.h"

#include <stdint.h>

uint32_t vcl__seal_offer(void)
{
    uint32_t offer = 0;
    if (pmw_aead_supports(PMW_FEATURE_AES_256_GCM))
        offer |= PMW_FEATURE_AES_256_GCM;
    if (pmw_aead_supports(PMW_FEATURE_CHACHA20_POLY1305))
        offer |= PMW_FEATURE_CHACHA20_POLY1305;
    return offer;
}

uint32_t vcl__seal_choose(uint32_t offered)
{
    uint32_t both = offered & vcl__seal_offer();
    return (both & PMW_FEATURE_AES_256_GCM) != 0 ? PMW_FEATURE_AES_256_GCM : both & PMW_FEATURE_CHACHA20_POLY1305;
}

bool vcl__seal_begin(struct vcl_conn *c, uint32_t cipher, uint64_t cid)
{
    const uint8_t *key = c->s->keys.seal_key;
    void *block = mem_alloc(&c->e->mem, sizeof(struct seal) + 15);
    if (block == NULL)
        return false;
    struct seal *k = (struct seal *)(((uintptr_t)block + 15) & ~(uintptr_t)15);
    k->block = block;
    bool client = c->s->dial != NULL;
    pmw_aead_init(&k->out, (enum pmw_feature)cipher, key, client, cid);
    pmw_aead_init(&k->in, (enum pmw_feature)cipher, key, !client, cid);
    c->seal = k;
    return true;
}

void vcl__seal_free(struct vcl_conn *c)
{
    if (c->seal == NULL)
        return;
    mem_free(&c->e->mem, c->seal->block);
    c->seal = NULL;
}

bool vcl__seal_exhausted(const struct vcl_conn *c)
{
    return c->seal != NULL && c->seal->next_out > UINT32_MAX;
}

uint32_t vcl__seal_number(const struct vcl_conn *c)
{
    return (uint32_t)c->seal->next_out;
}

void vcl__seal_frame(struct vcl_conn *c, uint8_t *buf, size_t len, const struct pmw_check_seed *seed)
{
    (void)pmw_aead_seal(&c->seal->out, buf, len, seed, c->seal->next_out++);
}

bool vcl__seal_open(struct vcl_conn *c, struct pmw_frame *f, const uint8_t *buf, size_t len,
                    const struct pmw_check_seed *seed)
{
    struct seal *k = c->seal;
    if (k == NULL || (f->flags & PMW_F_SEALED) == 0)
        return false;
    uint64_t number = pmw_wlsb(k->highest_in, f->packet_number, 32);
    if (!pmw_aead_open(&k->in, buf, len, seed, number, c->e->opened))
        return false;
    if (number > k->highest_in)
        k->highest_in = number;
    f->payload = c->e->opened;
    return true;
}
