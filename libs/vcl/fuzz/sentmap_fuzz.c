/* SPDX-License-Identifier: Apache-2.0
 *
 * Outstanding frames, and sets of ranges, against plain arrays of offsets: pushes, acknowledgements that end inside
 * frames, SACKs, losses, repetitions, cuts (S21), in any order. No byte is forgotten, none is counted twice (C1).
 */
#include <string.h>

#include "counted_mem.h"
#include "fuzz_input.h"
#include "ranges.h"
#include "sentmap.h"

enum { OFFSETS = 4096, STEPS_MAX = 1500, FRAME_BYTES_MAX = 300 };
enum offset_state { NOT_SENT, IN_FLIGHT, LOST, SACKED, ACKED };

struct oracle {
    struct sentmap map;
    struct ranges ranges;
    struct counted_mem mem;
    uint8_t state[OFFSETS]; /* enum offset_state */
    uint8_t in_range[OFFSETS];
    uint32_t una, nxt;
    bool fin; /* the last offset is a FIN */
    uint64_t now;
};

static uint8_t model_state(const struct sent *f)
{
    return f->state == SENT_IN_FLIGHT ? IN_FLIGHT : f->state == SENT_LOST ? LOST : SACKED;
}

static void require_same(struct oracle *o)
{
    uint64_t at = o->una;
    uint32_t bytes_in_flight = 0, nb_lost = 0, nb_sacked = 0;
    const struct sent *lost = NULL;
    for (uint32_t i = 0; i < o->map.count; i++) {
        const struct sent *f = vcl__sentmap_at(&o->map, i);
        REQUIRE(f->offset == at && sent_end(f) > at && sent_end(f) <= o->nxt);
        for (; at < sent_end(f); at++)
            REQUIRE(o->state[at] == model_state(f));
        REQUIRE(!f->fin || (o->fin && at == o->nxt));
        bytes_in_flight += f->state == SENT_IN_FLIGHT ? sent_bytes(f) : 0;
        nb_lost += f->state == SENT_LOST;
        nb_sacked += f->state == SENT_SACKED;
        if (f->state == SENT_LOST && lost == NULL)
            lost = f;
        REQUIRE(sentmap_order(&o->map, f) <= o->map.next_order && f->tx <= SENT_TX_MAX);
    }
    REQUIRE(at == o->nxt);
    REQUIRE(bytes_in_flight == o->map.bytes_in_flight && nb_lost == o->map.nb_lost && nb_sacked == o->map.nb_sacked);
    REQUIRE(vcl__sentmap_next_lost(&o->map) == lost);
}

static void push(struct oracle *o, struct input *in)
{
    uint32_t len = take16(in) % FRAME_BYTES_MAX;
    bool fin = take8(in) < 4;
    if (o->fin || (len == 0 && !fin) || o->nxt + len + fin > OFFSETS || !vcl__sentmap_reserve(&o->map, &o->mem.mem))
        return;
    vcl__sentmap_push(&o->map, o->now, o->nxt, len, fin);
    memset(o->state + o->nxt, IN_FLIGHT, len + fin);
    o->nxt += len + fin;
    o->fin = fin;
}

static void ack(struct oracle *o, struct input *in)
{
    uint32_t una = o->una + take16(in) % (o->nxt - o->una + 1);
    struct sentmap_ack r = {.now = o->now, .min_rtt_us = take8(in), .tx_echo = take8(in) % 16};
    vcl__sentmap_ack(&o->map, una, &r);
    REQUIRE(r.nb_delivered > 0 || r.bytes_delivered == 0);
    REQUIRE(!r.rtt_known || r.rtt_sent_at <= o->now);
    memset(o->state + o->una, ACKED, una - o->una);
    o->una = una;
}

/* Whole frames within the range are known to have arrived; parts of frames are not. */
static void sack(struct oracle *o, struct input *in)
{
    uint32_t start = o->una + take16(in) % (o->nxt - o->una + 1), end = start + take16(in) % 1000;
    struct sentmap_ack r = {.now = o->now, .tx_echo = take8(in) % 16};
    for (uint32_t i = 0; i < o->map.count; i++) {
        const struct sent *f = vcl__sentmap_at(&o->map, i);
        if (f->offset >= start && sent_end(f) <= end)
            memset(o->state + f->offset, SACKED, sent_end(f) - f->offset);
    }
    vcl__sentmap_sack(&o->map, start, end, &r);
}

static void lose_or_repeat(struct oracle *o, struct input *in)
{
    uint8_t what = take8(in);
    if (o->map.count == 0)
        return;
    struct sent *f = vcl__sentmap_at(&o->map, take16(in) % o->map.count);
    if (f->state == SENT_SACKED)
        return;
    if (what < 100) {
        vcl__sentmap_mark_lost(&o->map, f);
        memset(o->state + f->offset, LOST, sent_end(f) - f->offset);
    } else if (what < 200) {
        vcl__sentmap_sent_again(&o->map, f, o->now);
        memset(o->state + f->offset, IN_FLIGHT, sent_end(f) - f->offset);
    } else if (f->len > 1) {
        uint64_t offset = f->offset, end = sent_end(f);
        uint32_t len = 1 + what % (f->len - 1u);
        struct sent *first = vcl__sentmap_cut(&o->map, &o->mem.mem, f, len);
        REQUIRE(first != NULL || o->mem.fails);
        REQUIRE(first == NULL || (first->offset == offset && first->len == len && sent_end(first) < end));
    }
}

static void all_lost(struct oracle *o, struct input *in)
{
    if (take8(in) < 128) {
        vcl__sentmap_restart(&o->map, o->now);
        return;
    }
    vcl__sentmap_mark_all_lost(&o->map, o->now);
    for (uint32_t i = o->una; i < o->nxt; i++)
        o->state[i] = o->state[i] == SACKED ? SACKED : LOST;
}

/* --- ranges */
static void require_ranges(const struct oracle *o)
{
    uint32_t at = 0;
    for (uint32_t i = 0; i < o->ranges.count; i++) {
        const struct range *r = &o->ranges.list[i];
        for (; at < r->start; at++)
            REQUIRE(!o->in_range[at]);
        REQUIRE(r->end > r->start && (i == 0 || r->start > o->ranges.list[i - 1].end));
        for (; at < r->end; at++)
            REQUIRE(o->in_range[at]);
    }
    for (; at < OFFSETS; at++)
        REQUIRE(!o->in_range[at]);
    REQUIRE(o->ranges.count <= RANGES_MAX);
}

static void range_step(struct oracle *o, struct input *in)
{
    uint32_t start = take16(in) % (OFFSETS - 64), end = start + 1 + take8(in) % 64;
    if (take8(in) < 220) {
        bool there = true;
        for (uint32_t i = start; i < end; i++)
            there &= o->in_range[i];
        REQUIRE(vcl__ranges_contains(&o->ranges, start, end) == there);
        if (vcl__ranges_add(&o->ranges, &o->mem.mem, start, end))
            memset(o->in_range + start, 1, end - start);
        else
            REQUIRE(o->mem.fails || o->ranges.count == RANGES_MAX);
    } else {
        uint32_t until = start;
        while (until < OFFSETS && o->in_range[until])
            until++;
        REQUIRE(vcl__ranges_consume(&o->ranges, start) == until);
        memset(o->in_range, 0, until);
    }
    require_ranges(o);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const steps[])(struct oracle * o, struct input * in) = {
        push, push, ack, sack, lose_or_repeat, lose_or_repeat, all_lost, range_step};
    struct input in = {data, data + size};
    struct oracle o = {.now = 1000};
    counted_mem_init(&o.mem);
    for (unsigned i = 0; i < STEPS_MAX && in.at < in.end; i++) {
        uint8_t what = take8(&in);
        o.mem.fails = what >= 0xf0;
        o.now += what;
        steps[what % 8](&o, &in);
        require_same(&o);
    }
    o.mem.fails = false;
    vcl__sentmap_free(&o.map, &o.mem.mem);
    vcl__ranges_free(&o.ranges, &o.mem.mem);
    REQUIRE(o.mem.blocks == 0);
    return 0;
}
