/* SPDX-License-Identifier: Apache-2.0
 *
 * When which connection sends: see load_client.h for the kinds of load. */
#include "load_client.h"

#include <errno.h>
#include <math.h>
#include <string.h>

static bool may_send(const struct connection *c)
{
    return c->sock != NULL && c->opened && c->sent - c->received < load.phase.depth;
}

static bool phase_sends(uint64_t now)
{
    struct phase *p = &load.phase;
    return p->kind != LOAD_NONE && !p->over && p->sent < p->requests && now < p->ends_us;
}

static void phase_end(uint64_t now)
{
    struct phase *p = &load.phase;
    say("{\"phase\":\"%s\",\"began_us\":%llu,\"ended_us\":%llu,\"sent\":%llu,\"replies\":%llu,\"turned_away\":%llu,"
        "\"opened\":%llu}",
        p->name, (unsigned long long)p->began_us, (unsigned long long)now, (unsigned long long)p->sent,
        (unsigned long long)p->replies, (unsigned long long)p->turned_away, (unsigned long long)p->opened);
    p->kind = LOAD_NONE;
    for (struct connection *c = load.thinking_first; c != NULL; c = c->next)
        c->thinking = false;
    load.thinking_first = load.thinking_last = NULL;
}

/* --- closed loop ------------------------------------------------------------------------------------------ */
static void fill(struct connection *c, uint64_t now)
{
    while (may_send(c) && phase_sends(now))
        if (!send_request(c, now))
            return;
}

static void think(struct connection *c, uint64_t now)
{
    if (c->thinking)
        return;
    c->thinking = true;
    c->thinks_until_us = now + load.phase.think_us;
    c->next = NULL;
    if (load.thinking_first == NULL)
        load.thinking_first = c;
    else
        load.thinking_last->next = c;
    load.thinking_last = c;
}

static uint64_t wake_thinkers(uint64_t now)
{
    while (load.thinking_first != NULL && load.thinking_first->thinks_until_us <= now) {
        struct connection *c = load.thinking_first;
        load.thinking_first = c->next;
        c->thinking = false;
        fill(c, now);
    }
    return load.thinking_first != NULL ? load.thinking_first->thinks_until_us : VCL_NEVER;
}

/* All begin within one time of thought, not in step. */
static void begin_closed(uint64_t now)
{
    const struct phase *p = &load.phase;
    for (uint32_t i = 0; i < load.nb; i++) {
        struct connection *c = &load.connections[i];
        if (p->think_us == 0) {
            fill(c, now);
        } else {
            think(c, now);
            c->thinks_until_us = now + p->think_us * i / load.nb;
        }
    }
}

/* --- open loop -------------------------------------------------------------------------------------------- */
/* Xorshift64 (Marsaglia, 2003), seeded alike each time: in (0, 1]. */
static double uniform(void)
{
    load.random ^= load.random << 13;
    load.random ^= load.random >> 7;
    load.random ^= load.random << 17;
    return ((double)(load.random >> 11) + 1) / 9007199254740992.0;
}

static struct connection *next_free(void)
{
    for (uint32_t tried = 0; tried < load.nb; tried++) {
        struct connection *c = &load.connections[load.phase.turn++ % load.nb];
        if (may_send(c))
            return c;
    }
    return NULL;
}

static uint64_t send_due(uint64_t now)
{
    struct phase *p = &load.phase;
    while (p->next_due_us <= (double)now && phase_sends(now)) {
        struct connection *c = load.received + load.nb * (uint64_t)p->depth > load.sent ? next_free() : NULL;
        if (c == NULL)
            p->turned_away++;
        else
            (void)send_request(c, (uint64_t)p->next_due_us);
        p->next_due_us += -log(uniform()) * 1e6 / (double)p->rate;
    }
    return (uint64_t)p->next_due_us + 1;
}

/* --- churn ------------------------------------------------------------------------------------------------ */
static void reopen(struct connection *c)
{
    struct phase *p = &load.phase;
    if (p->over || p->opened >= p->requests)
        return;
    p->opened++;
    int rc = open_connection(c);
    if (rc < 0) {
        load.errors++;
        say("{\"error\":\"connection %u: %s\"}", c->number, strerror(-rc));
    }
}

static uint64_t churn_step(uint64_t now)
{
    for (uint32_t i = 0; i < load.nb; i++)
        if (load.connections[i].sock == NULL)
            reopen(&load.connections[i]);
    return VCL_NEVER;
}

/* --- what happens ------------------------------------------------------------------------------------------- */
void phase_on_opened(struct connection *c)
{
    if (load.phase.kind == LOAD_CHURN)
        (void)send_request(c, vcl_clock_us());
}

void phase_on_reply(struct connection *c, uint64_t now)
{
    switch (load.phase.kind) {
    case LOAD_CLOSED:
        if (load.phase.think_us == 0)
            fill(c, now);
        else
            think(c, now);
        break;
    case LOAD_CHURN:
        finish_connection(c);
        reopen(c);
        break;
    default:
        break;
    }
}

void phase_begin(const struct order *o)
{
    const char *name = order_text(o, "name"), *kind = order_text(o, "kind");
    uint64_t now = vcl_clock_us(), seconds = order_number(o, "seconds", 0), requests = order_number(o, "requests", 0);
    if (load.phase.kind != LOAD_NONE)
        phase_end(now);
    load.phase = (struct phase){.began_us = now,
                                .depth = (uint32_t)order_number(o, "depth", 1),
                                .think_us = order_number(o, "think_us", 0),
                                .rate = order_number(o, "rate", 1),
                                .requests = requests == 0 ? UINT64_MAX : requests,
                                .ends_us = seconds == 0 ? UINT64_MAX : now + seconds * 1000000,
                                .next_due_us = (double)now};
    struct phase *p = &load.phase;
    if (p->depth < 1 || p->depth > DEPTH_MAX)
        p->depth = p->depth < 1 ? 1 : DEPTH_MAX;
    if (p->think_us > 0)
        p->depth = 1;
    if (name != NULL)
        strncpy(p->name, name, sizeof(p->name) - 1);
    p->kind = kind == NULL                  ? LOAD_NONE
              : strcmp(kind, "closed") == 0 ? LOAD_CLOSED
              : strcmp(kind, "open") == 0   ? LOAD_OPEN
              : strcmp(kind, "churn") == 0  ? LOAD_CHURN
                                            : LOAD_NONE;
    if (p->kind == LOAD_CLOSED)
        begin_closed(now);
    else if (p->kind == LOAD_CHURN) /* the connections that are open end first, each at its next reply */
        for (uint32_t i = 0; i < load.nb; i++)
            if (may_send(&load.connections[i]))
                (void)send_request(&load.connections[i], now);
}

uint64_t phase_step(uint64_t now)
{
    struct phase *p = &load.phase;
    if (p->kind == LOAD_NONE)
        return VCL_NEVER;
    bool churned = p->kind == LOAD_CHURN && p->opened >= p->requests;
    if (p->kind == LOAD_CHURN ? churned || p->over || now >= p->ends_us : !phase_sends(now)) {
        for (uint32_t i = 0; churned && i < load.nb; i++)
            if (load.connections[i].sock != NULL)
                return VCL_NEVER;
        phase_end(now);
        return VCL_NEVER;
    }
    return p->kind == LOAD_CLOSED ? wake_thinkers(now) : p->kind == LOAD_OPEN ? send_due(now) : churn_step(now);
}
