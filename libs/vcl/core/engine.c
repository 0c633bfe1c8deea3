/* SPDX-License-Identifier: Apache-2.0
 *
 * The engine's outside: configuration, life, datagrams in and out, the timer dispatch, counters.
 */
#include "state.h"

#include <assert.h>
#include <string.h>

void vcl_config_defaults(struct vcl_config *c)
{
    memset(c, 0, sizeof(*c));
    c->sessions_max = c->conns_max = 65536;
    c->sessions_per_client_max = 1024;
    c->backlog_max = 1024;
    c->sndbuf_bytes = c->rcvbuf_bytes = 262144;
    c->sndbuf_bytes_max = c->rcvbuf_bytes_max = 4 << 20;
    c->rcv_budget_bytes = UINT64_C(1) << 30;
    c->trunk_bytes_max = 1440;
    c->trunks_max = 256;
    c->credit_target_us = 500;
    c->pto_initial_us = 10000;
    c->pto_min_us = 5000;
    c->pto_max_us = 100000;
    c->max_ack_delay_us = 500;
    c->probe_interval_us = 5000;
    c->move_interval_min_us = 10000;
    c->move_interval_max_us = 1000000;
    c->path_penalty_us = 5000000;
    c->suspect_silence_us_min = 10000;
    c->resumes_per_ms_max = 64;
    c->hold_us = 60000000;
    c->idle_us = 300000000;
    c->tombstone_us = 10000000;
    c->open_timeout_us = 10000000;
}

static bool config_valid(const struct vcl_config *c)
{
    const uint32_t buffer_max = (PMW_WINDOW_SILENT - 1) * PMW_WINDOW_UNIT_BYTES; /* W8 */
    return c->alloc != NULL && c->free != NULL && c->random != NULL && c->sessions_max > 0 && c->conns_max > 0 &&
           c->backlog_max > 0 && c->sndbuf_bytes > 0 && c->sndbuf_bytes <= buffer_max && c->trunks_max > 0 &&
           c->rcvbuf_bytes >= PMW_WINDOW_UNIT_BYTES && c->rcvbuf_bytes <= buffer_max &&
           c->sndbuf_bytes_max <= buffer_max && c->rcvbuf_bytes_max <= buffer_max &&
           c->trunk_bytes_max >= TRUNK_BYTES_FLOOR && c->trunk_bytes_max <= PMW_TRUNK_BYTES_MAX &&
           c->pto_initial_us > 0 && c->pto_min_us > 0 && c->max_ack_delay_us <= UINT16_MAX &&
           c->move_interval_min_us > 0 && c->probe_interval_us > 0 && c->nb_keys <= VCL_KEYS_MAX &&
           c->nb_predecessors <= VCL_PREDECESSORS_MAX && c->sessions_per_client_max > 0 && c->resumes_per_ms_max > 0;
}

/* A frame with four SACK ranges, in an IPv6 entry, in a batch. */
static uint32_t payload_max(const struct vcl_config *c)
{
    uint32_t around = PMW_TRUNK_HEADER_BYTES + PMW_TRUNK_TAG_BYTES + PMW_ENTRY_LONG_V6_BYTES + PMW_FRAME_HEADER_BYTES +
                      1 + PMW_SACK_MAX * PMW_SACK_RANGE_BYTES + PMW_CHECK_BYTES;
    uint32_t room = c->trunk_bytes_max - around;
    return c->server_id == 0 || room > PMW_PAYLOAD_BYTES_BASE ? PMW_PAYLOAD_BYTES_BASE : room;
}

static void lists_init(struct vcl_engine *e)
{
    struct list *lists[] = {&e->all_sessions,   &e->acks,  &e->backlog,  &e->tombs,     &e->conn_events,
                            &e->session_events, &e->exits, &e->resuming, &e->trunk_lru, &e->unread};
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
        list_init(lists[i]);
    vcl__exit_init(&e->direct, NULL);
    vcl__herd_init(e);
}

int vcl_engine_new(struct vcl_engine **out, const struct vcl_config *config)
{
    if (!config_valid(config))
        return VCL_ERR_INVALID;
    struct mem mem = {config->ctx, config->alloc, config->free};
    struct vcl_engine *e = mem_alloc(&mem, sizeof(*e));
    if (e == NULL)
        return VCL_ERR_NOMEM;
    e->cfg = *config;
    pmw_reset_key(e->reset_key, config->trunk_secret);
    e->mem = mem;
    e->payload_max = payload_max(config);
    vcl__budget_init(&e->budget, 0);
    lists_init(e);
    vcl__timers_init(&e->timers, &e->mem);
    /* Twice as many slots as connections and tombstones together: 10 s of quarantine at full turnover (W5). */
    vcl__slots_init(&e->slots, config->conns_max < SLOTS_MAX / 4 ? config->conns_max * 4 : SLOTS_MAX);
    struct map *maps[] = {&e->sessions, &e->conns, &e->opens, &e->trunks, &e->bindings, &e->quotas};
    for (size_t i = 0; i < sizeof(maps) / sizeof(maps[0]); i++) {
        if (vcl__map_init(maps[i], &e->mem, vcl__random64(e)) != 0) {
            vcl_engine_free(e);
            return VCL_ERR_NOMEM;
        }
    }
    *out = e;
    return VCL_OK;
}

void vcl_engine_free(struct vcl_engine *e)
{
    while (!list_empty(&e->all_sessions))
        vcl__session_free(container_of(list_first(&e->all_sessions), struct vcl_session, all));
    vcl__herd_free(e);
    vcl__trunks_free(e);
    vcl__exit_clear(e, &e->direct);
    vcl__map_free(&e->sessions);
    vcl__map_free(&e->conns);
    vcl__map_free(&e->opens);
    vcl__map_free(&e->trunks);
    vcl__map_free(&e->quotas);
    vcl__map_free(&e->bindings);
    vcl__timers_free(&e->timers);
    vcl__slots_free(&e->slots, &e->mem);
    struct mem mem = e->mem;
    mem_free(&mem, e);
}

int vcl_engine_set_keys(struct vcl_engine *e, const struct vcl_server_key *keys, uint8_t nb_keys)
{
    if (nb_keys > VCL_KEYS_MAX)
        return VCL_ERR_INVALID;
    memcpy(e->cfg.keys, keys, sizeof(*keys) * nb_keys);
    e->cfg.nb_keys = nb_keys;
    return VCL_OK;
}

int vcl__drop(struct vcl_engine *e, enum vcl_drop reason)
{
    e->stats.drops[reason]++;
    return reason;
}

uint64_t vcl__random64(struct vcl_engine *e)
{
    uint64_t v;
    e->cfg.random(e->cfg.ctx, &v, sizeof(v));
    return v;
}

uint64_t vcl__unix_s(const struct vcl_engine *e)
{
    return ((uint64_t)((int64_t)e->now + e->cfg.unix_offset_us)) / 1000000;
}

static int receive(struct vcl_engine *e, uint64_t now, const struct pmw_addr *from, bool marked, const uint8_t *buf,
                   size_t len)
{
    vcl__now(e, now);
    e->stats.datagrams_in++;
    e->stats.bytes_in += len;
    if (pmw_type_of(buf, len) == PMW_TRUNK)
        return vcl__trunk_receive(e, from, marked, buf, len);
    struct route route = {.addr = *from};
    return vcl__frame_receive(e, &route, buf, len);
}

int vcl_engine_receive(struct vcl_engine *e, uint64_t now, const struct pmw_addr *from, const uint8_t *buf, size_t len)
{
    return receive(e, now, from, false, buf, len);
}

int vcl_engine_receive_marked(struct vcl_engine *e, uint64_t now, const struct pmw_addr *from, const uint8_t *buf,
                              size_t len)
{
    return receive(e, now, from, true, buf, len);
}

static bool resume_send(struct vcl_engine *e, struct vcl_datagram *out)
{
    while (!list_empty(&e->resuming) && vcl__herd_may_send(e)) {
        struct dial *d = container_of(list_first(&e->resuming), struct dial, resuming);
        int len = vcl__resume_build(d->session, out->bytes, sizeof(out->bytes));
        if (len <= 0)
            continue; /* it left the list: what it had to list has closed */
        out->to = d->active.addr;
        out->may_merge = false;
        out->len = (size_t)len;
        return true;
    }
    return false;
}

int vcl_engine_send(struct vcl_engine *e, uint64_t now, struct vcl_datagram *out)
{
    vcl__now(e, now);
    if (!resume_send(e, out) && !vcl__exit_send(e, out))
        return 0;
    e->stats.datagrams_out++;
    e->stats.bytes_out += out->len;
    return 1;
}

uint64_t vcl_engine_next_timer(const struct vcl_engine *e)
{
    uint64_t next = vcl__timers_next(&e->timers);
    uint64_t herd = vcl__herd_next(e);
    const struct list *ack = list_first(&e->acks), *tomb = list_first(&e->tombs);
    if (ack != NULL && container_of(ack, struct vcl_conn, ack_node)->ack_at < next)
        next = container_of(ack, struct vcl_conn, ack_node)->ack_at;
    if (tomb != NULL && container_of(tomb, struct vcl_conn, place)->dead_at < next)
        next = container_of(tomb, struct vcl_conn, place)->dead_at;
    return herd < next ? herd : next;
}

/* Tombstones are queued in the order in which they end. One that stays goes to the end of the queue. */
static void tombs_due(struct vcl_engine *e)
{
    struct list *n;
    while ((n = list_first(&e->tombs)) != NULL) {
        struct vcl_conn *c = container_of(n, struct vcl_conn, place);
        if (c->dead_at > e->now)
            return;
        if (!vcl__conn_stays(c))
            vcl__conn_expire(c);
    }
}

/* S16. Servers may have given our connections up meanwhile. A session with connections has a timer every few seconds
 * (S12), so an engine that is not called for longer either has none or stood still. */
static void ask_after_standstill(struct vcl_engine *e)
{
    struct list *n, *tmp;
    if (!e->stood_still)
        return;
    e->stood_still = false;
    list_each(n, tmp, &e->all_sessions)
    {
        struct vcl_session *s = container_of(n, struct vcl_session, all);
        if (s->dial != NULL)
            vcl__resume_ask_all(s);
    }
}

void vcl_engine_on_timer(struct vcl_engine *e, uint64_t now, uint64_t lag_us)
{
    struct timer *t;
    vcl__now(e, now);
    e->lag_us = lag_us;
    e->lag_total_us += lag_us;
    vcl__herd_due(e);
    ask_after_standstill(e);
    vcl__acks_due(e);
    tombs_due(e);
    /* Owners re-arm after now, so each fires at most once in a round. */
    while ((t = vcl__timers_pop_due(&e->timers, e->now)) != NULL) {
        if (t->kind == TIMER_CONN)
            vcl__conn_on_timer(container_of(t, struct vcl_conn, timer));
        else if (t->kind == TIMER_TRUNK)
            vcl__trunk_on_timer(e, container_of(t, struct trunk, timer));
        else
            vcl__session_on_timer(container_of(t, struct vcl_session, timer));
    }
    e->lag_us = 0;
}

void vcl_engine_shutdown(struct vcl_engine *e, uint64_t now)
{
    struct list *n, *tmp;
    vcl__now(e, now);
    e->closing = true;
    list_each(n, tmp, &e->all_sessions)
    {
        struct vcl_session *s = container_of(n, struct vcl_session, all);
        struct list *k, *ktmp;
        list_each(k, ktmp, &s->conns)
        {
            struct vcl_conn *c = container_of(k, struct vcl_conn, in_session);
            if (vcl__conn_is_opening(c->state))
                vcl__conn_input(c, CONN_IN_FAILED, VCL_ERR_RESET);
            else
                vcl__conn_input(c, CONN_IN_ABORT, VCL_ERR_RESET);
        }
    }
}

uint32_t vcl_engine_lingering(const struct vcl_engine *e)
{
    return e->nb_lingering;
}

void vcl_engine_stats(const struct vcl_engine *e, struct vcl_stats *out)
{
    *out = e->stats;
    out->nb_sessions = e->nb_sessions;
    out->nb_conns = e->nb_open;
}
