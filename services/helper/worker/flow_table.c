/* SPDX-License-Identifier: Apache-2.0
 *
 * Two-choice set-associative cache of flows. See flow_table.h.
 */
#include "flow_table.h"

#include <assert.h>
#include <string.h>

static uint16_t idle_ticks(const struct flow *f, uint64_t now)
{
    return (uint16_t)(flow_tick(now) - f->seen_tick);
}

/* Only whole ticks have passed for certain: of the first and the last it may have been a microsecond. */
static bool is_idle(const struct flow_table *t, const struct flow *f, uint64_t now)
{
    uint64_t ticks = idle_ticks(f, now);

    return ticks > 0 && (ticks - 1) << FLOW_TICK_US_SHIFT >= t->idle_us;
}

size_t flow_table_bytes(uint32_t flows_max)
{
    return (size_t)flows_max * (sizeof(struct flow) + sizeof(uint64_t));
}

void flow_table_init(struct flow_table *t, void *mem, uint32_t flows_max, uint64_t idle_us, const uint64_t hash_key[2])
{
    assert(flows_max >= 2 * FLOW_WAYS && (flows_max & (flows_max - 1)) == 0);
    *t = (struct flow_table){
        .ids = (uint64_t *)(void *)((struct flow *)mem + flows_max),
        .cells = mem,
        .hash_key = {hash_key[0] | 1, hash_key[1] | 1},
        .idle_us = idle_us,
        .nb_buckets = flows_max / FLOW_WAYS,
        .hash_shift = 64 - (uint32_t)__builtin_ctz(flows_max / FLOW_WAYS),
    };
}

static struct flow *free_cell(struct flow *cells, int *nb_free)
{
    struct flow *found = NULL;

    *nb_free = 0;
    for (int way = 0; way < FLOW_WAYS; way++) {
        if (cells[way].client_family == 0) {
            found = &cells[way];
            (*nb_free)++;
        }
    }
    return found;
}

/* A flow without a binding loses nothing; one with it loses the replies that name it: it counts as used so much later.
 */
enum { BINDING_WORTH_TICKS = 8 };

/* Of eight live cells the one that is missed least: unconfirmed before confirmed, then the longest unused. */
static struct flow *victim(struct flow *a, struct flow *b, uint64_t now)
{
    struct flow *worst = NULL;
    uint32_t worst_score = 0;

    for (int i = 0; i < 2 * FLOW_WAYS; i++) {
        struct flow *f = i < FLOW_WAYS ? &a[i] : &b[i - FLOW_WAYS];
        uint32_t score = 1 + idle_ticks(f, now) + (f->binding == FLOW_LONG ? BINDING_WORTH_TICKS : 0) +
                         (f->confirmed ? 0 : 2 * (UINT16_MAX + 1u));
        if (score > worst_score) {
            worst = f;
            worst_score = score;
        }
    }
    return worst;
}

static void before_forgetting(struct flow_table *t, uint64_t now, struct flow *f)
{
    if (f->binding != FLOW_LONG && t->forget)
        t->forget(t->forget_ctx, now, f);
}

static struct flow *take_cell(struct flow_table *t, uint64_t id, uint64_t now)
{
    struct flow *first = &t->cells[flow_table_bucket(t, id, 0)], *second = &t->cells[flow_table_bucket(t, id, 1)];
    int nb_free_first, nb_free_second;
    struct flow *a = free_cell(first, &nb_free_first), *b = free_cell(second, &nb_free_second);

    if (a || b) {
        t->nb_flows++;
        return nb_free_first >= nb_free_second ? a : b;
    }
    struct flow *f = victim(first, second, now);
    if (!is_idle(t, f, now))
        t->evicted++;
    before_forgetting(t, now, f);
    return f;
}

static void set_client(struct flow *f, const struct pmw_addr *client)
{
    memcpy(f->client_ip, client->ip, sizeof(f->client_ip));
    f->client_port = client->port;
    f->client_family = client->family;
}

struct flow *flow_table_add(struct flow_table *t, uint64_t now, uint64_t id, const struct pmw_addr *client)
{
    struct flow *f = take_cell(t, id, now);

    assert(client->family == 4 || client->family == 6);
    *f = (struct flow){.seen_tick = flow_tick(now)};
    t->ids[flow_table_cell(t, f)] = id;
    set_client(f, client);
    return f;
}

void flow_client_seen(struct flow *f, uint64_t now, const struct pmw_addr *client)
{
    f->seen_tick = flow_tick(now);
    if (!f->confirmed)
        set_client(f, client);
}

void flow_server_seen(struct flow *f, uint64_t now, const struct pmw_addr *client)
{
    f->seen_tick = flow_tick(now);
    f->confirmed = true;
    set_client(f, client);
}

void flow_table_age(struct flow_table *t, uint64_t now, uint32_t nb_buckets)
{
    for (uint32_t i = 0; i < nb_buckets; i++) {
        struct flow *cells = t->cells + (size_t)t->sweep_at * FLOW_WAYS;
        for (int way = 0; way < FLOW_WAYS; way++) {
            if (cells[way].client_family != 0 && is_idle(t, &cells[way], now)) {
                before_forgetting(t, now, &cells[way]);
                cells[way].client_family = 0;
                t->nb_flows--;
            }
        }
        t->sweep_at = (t->sweep_at + 1) & (t->nb_buckets - 1);
    }
}
