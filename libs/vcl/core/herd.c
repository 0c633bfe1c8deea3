/* SPDX-License-Identifier: Apache-2.0
 *
 * Herds (S20). When a helper dies, every session that used it moves at once. A client engine lets its RESUME frames out
 * a few at a time; a server takes so many a millisecond and lets the others wait in order of arrival, so that the
 * moment at which everybody needs it is not the moment at which it does nothing but this.
 */
#include "state.h"

#include <string.h>

enum {
    RESUME_BURST = 16,   /* S20 */
    RESUME_GAP_US = 200, /* S20: 32 connections each: 160,000 connections a second */
    MS_US = 1000,
};

void vcl__herd_init(struct vcl_engine *e)
{
    list_init(&e->herd.waiting);
    e->herd.nb_tokens = RESUME_BURST;
}

static struct waiting_resume *take_first(struct vcl_engine *e)
{
    struct list *n = list_first(&e->herd.waiting);
    if (n == NULL)
        return NULL;
    list_del(n);
    e->herd.nb_waiting--;
    return container_of(n, struct waiting_resume, node);
}

void vcl__herd_free(struct vcl_engine *e)
{
    struct waiting_resume *w;
    while ((w = take_first(e)) != NULL)
        mem_free(&e->mem, w);
}

/* --- client ---------------------------------------------------------------------------------------- */
bool vcl__herd_may_send(struct vcl_engine *e)
{
    struct herd *h = &e->herd;
    uint64_t nb = (e->now - h->sent_at) / RESUME_GAP_US;
    if (nb > 0) {
        h->nb_tokens = nb + h->nb_tokens > RESUME_BURST ? RESUME_BURST : (uint8_t)(nb + h->nb_tokens);
        h->sent_at = e->now;
    }
    if (h->nb_tokens == 0)
        return false;
    h->nb_tokens--;
    return true;
}

/* --- server ---------------------------------------------------------------------------------------- */
static bool turn_is_now(struct vcl_engine *e)
{
    struct herd *h = &e->herd;
    if (e->now / MS_US != h->ms) {
        h->ms = e->now / MS_US;
        h->nb_this_ms = 0;
    }
    if (h->nb_this_ms >= e->cfg.resumes_per_ms_max)
        return false;
    h->nb_this_ms++;
    return true;
}

bool vcl__herd_enter(struct vcl_engine *e, const struct route *from, const uint8_t *buf, size_t len, int *drop)
{
    struct herd *h = &e->herd;
    *drop = 0;
    if (h->nb_waiting == 0 && turn_is_now(e))
        return true;
    struct waiting_resume *w = h->nb_waiting >= RESUMES_WAITING_MAX ? NULL : mem_alloc(&e->mem, sizeof(*w) + len);
    if (w == NULL) {
        *drop = vcl__drop(e, VCL_DROP_LIMIT);
        return false;
    }
    w->from = *from;
    w->len = (uint16_t)len;
    memcpy(w->bytes, buf, len);
    list_push(&h->waiting, &w->node);
    h->nb_waiting++;
    return false;
}

void vcl__herd_due(struct vcl_engine *e)
{
    while (e->herd.nb_waiting > 0 && turn_is_now(e)) {
        struct waiting_resume *w = take_first(e);
        e->frame_len = w->len;
        (void)vcl__resume_answer(e, &w->from, w->bytes, w->len);
        e->frame_len = 0;
        mem_free(&e->mem, w);
    }
}

/* --- both -------------------------------------------------------------------------------------------- */
uint64_t vcl__herd_next(const struct vcl_engine *e)
{
    const struct herd *h = &e->herd;
    uint64_t next = VCL_NEVER;
    if (h->nb_waiting > 0)
        next = (h->ms + 1) * MS_US;
    if (!list_empty(&e->resuming) && h->nb_tokens == 0 && h->sent_at + RESUME_GAP_US < next)
        next = h->sent_at + RESUME_GAP_US;
    return next;
}
