/* SPDX-License-Identifier: Apache-2.0
 *
 * See credit.h.
 */
#include "credit.h"

static uint32_t spare(const struct trunk_credit *t)
{
    return CREDIT_SPARE_ENTRIES + CREDIT_SPARE_MS * t->rate;
}

uint32_t vcl__credit_waiting(const struct trunk_credit *t)
{
    int32_t beyond = t->told ? (int32_t)(t->demand - t->limit) : 0;
    return beyond > 0 ? (uint32_t)beyond : 0;
}

uint32_t vcl__credit_sent(const struct trunk_credit *t)
{
    return t->demand - vcl__credit_waiting(t);
}

uint32_t vcl__credit_left(const struct trunk_credit *t)
{
    int32_t left = t->told ? (int32_t)(t->limit - t->demand) : INT32_MAX;
    return left > 0 ? (uint32_t)left : 0;
}

void vcl__credit_on_demand(struct trunk_credit *t, uint32_t demand)
{
    if (!t->heard) {
        t->heard = true;
        t->demand = t->sent_at_round = demand;
    } else if ((int32_t)(demand - t->demand) > 0) { /* absolute, and what came late says less */
        t->demand = demand;
    }
}

bool vcl__credit_due(const struct credit *c, uint64_t now)
{
    return now - c->round_at >= CREDIT_ROUND_US;
}

static void rise(struct credit *c, uint64_t rounds)
{
    for (uint64_t i = 0; i < rounds && i < CREDIT_ROUNDS_MAX; i++)
        c->pool += 1 + c->pool / CREDIT_RISE_SHARE;
}

static void cut(struct credit *c, uint64_t now, uint64_t target_us, uint64_t delay_us, uint64_t nb_unread)
{
    uint64_t per_mille = CREDIT_CUT_PER_MILLE * (delay_us - target_us) / target_us;
    if (!c->limited) { /* from what is there: where it would end */
        c->limited = true;
        c->pool = nb_unread;
    } else if (now - c->cut_at < delay_us && now - c->cut_at < target_us) {
        return;                           /* the last cut has not shown yet */
    } else if (c->pool > 2 * nb_unread) { /* a pool that nobody uses is no measure */
        c->pool = 2 * nb_unread;
    }
    c->cut_at = now;
    c->pool -= c->pool * (per_mille < CREDIT_CUT_MAX_PER_MILLE ? per_mille : CREDIT_CUT_MAX_PER_MILLE) / 1000;
}

void vcl__credit_round(struct credit *c, uint64_t now, uint64_t target_us, uint64_t delay_us, uint64_t nb_unread,
                       uint32_t nb_trunks)
{
    uint64_t rounds = (now - c->round_at) / CREDIT_ROUND_US;
    if (delay_us > target_us)
        cut(c, now, target_us, delay_us, nb_unread);
    else if (c->limited)
        rise(c, rounds);
    if (c->pool < nb_trunks)
        c->pool = nb_trunks;
    /* As much as everybody may have without a pool: there is no need for one. */
    uint64_t spares = (uint64_t)nb_trunks * CREDIT_SPARE_ENTRIES + CREDIT_SPARE_MS * c->weights;
    if (c->limited && delay_us <= target_us && c->pool >= spares)
        c->limited = false;
    c->round_at = now;
    c->weights = 0;
}

void vcl__credit_weigh(struct credit *c, struct trunk_credit *t, uint64_t elapsed_us)
{
    uint32_t sent = vcl__credit_sent(t);
    int32_t more = (int32_t)(sent - t->sent_at_round);
    uint64_t rate = more <= 0 || elapsed_us == 0 ? 0 : (uint64_t)more * 1000 / elapsed_us;
    t->sent_at_round = sent;
    if (rate > UINT16_MAX)
        rate = UINT16_MAX;
    if (rate > t->rate)
        t->rate = (uint32_t)rate;
    else
        t->rate -= (t->rate - (uint32_t)rate + 15) / 16;
    c->weights += t->rate + vcl__credit_waiting(t);
}

uint32_t vcl__credit_limit(const struct credit *c, const struct trunk_credit *t, uint64_t nb_unread)
{
    uint64_t grant = spare(t);
    if (c->limited) {
        uint64_t left = c->pool > nb_unread ? c->pool - nb_unread : 0;
        uint64_t weight = t->rate + vcl__credit_waiting(t);
        uint64_t share = c->weights == 0 ? left : left * weight / c->weights;
        grant = share < 1 ? 1 : share > grant ? grant : share; /* at least one a helper */
    }
    uint32_t limit = vcl__credit_sent(t) + (uint32_t)grant;
    return t->told && (int32_t)(limit - t->limit) < 0 ? t->limit : limit;
}

void vcl__credit_told(struct trunk_credit *t, uint64_t now, uint64_t seq, uint32_t limit)
{
    if (t->told && limit == t->limit)
        return;
    t->told = true;
    t->limit = limit;
    t->told_seq = seq;
    t->told_at = now;
}

bool vcl__credit_unheard(struct trunk_credit *t, uint64_t now, uint64_t ack, uint64_t rtt_us)
{
    uint64_t patience = 2 * rtt_us > CREDIT_REPEAT_US_MIN ? 2 * rtt_us : CREDIT_REPEAT_US_MIN;
    if (!t->told) /* a trunk that was evicted: what it was told before may be used up */
        return t->heard;
    if (ack >= t->told_seq || now - t->told_at < patience)
        return false;
    t->told_at = now;
    return true;
}

bool vcl__credit_is_low(const struct trunk_credit *t)
{
    return vcl__credit_left(t) < spare(t) / 2;
}
