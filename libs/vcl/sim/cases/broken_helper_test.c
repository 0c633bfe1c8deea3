/* SPDX-License-Identifier: Apache-2.0
 * Cases: helpers that alter, mix up or repeat what they carry, and frames that come back from the past (W7, T2).
 *
 * A broken helper holds the trunk keys and seals what it has spoilt; nothing but the check of the endpoints stands
 * between its mistakes and the application. */
#include "stage_parts.h"

enum { SETTLE_US_MAX = 2000000, PAYLOAD_BYTES = 300, ONCE_ROUND_BYTES = 65536 /* 2^16: the numbers of W10 repeat */ };

/* The payload of a DATA frame in its long entry or short entry, or of a C-frame; calls see for each that is not empty.
 */
typedef void payload_seen(void *ctx, uint8_t *payload, size_t len);

static void frame_payload(uint8_t *frame, size_t len, payload_seen *see, void *ctx)
{
    struct pmw_frame f;
    if (pmw_frame_decode(frame, len, &f) == 0 && f.payload_len > 0)
        see(ctx, frame + (f.payload - frame), f.payload_len);
}

static void each_payload(struct datagram *d, payload_seen *see, void *ctx)
{
    struct pmw_any_entry e;
    if (pmw_type_of(d->bytes, d->len) != PMW_TRUNK) {
        frame_payload(d->bytes, d->len, see, ctx);
        return;
    }
    for (size_t at = PMW_TRUNK_HEADER_BYTES;
         pmw_entry_next(d->bytes, d->len - (size_t)PMW_TRUNK_TAG_BYTES, &at, &e) == 1;) {
        if (e.kind == PMW_ENTRY_SHORT && e.as_short.payload_len > 0)
            see(ctx, d->bytes + (e.as_short.payload - d->bytes), e.as_short.payload_len);
        else if (e.kind == PMW_ENTRY_LONG_V4 || e.kind == PMW_ENTRY_LONG_V6)
            frame_payload(d->bytes + (e.as_long.frame - d->bytes), e.as_long.frame_len, see, ctx);
    }
}

static uint64_t check_drops(struct stage *s)
{
    return stage_stats(s, -1).drops[VCL_DROP_CHECK] + stage_stats(s, 0).drops[VCL_DROP_CHECK];
}

/* --- 14 */
struct damage {
    uint32_t seen, done;
};

static void flip_every_third(void *ctx, uint8_t *payload, size_t len)
{
    struct damage *damage = ctx;
    if (damage->seen++ % 3 == 0) {
        payload[damage->done % len] ^= (uint8_t)(1u << damage->done % 8);
        damage->done++;
    }
}

static void damage_payloads(struct rule_of *r, struct datagram *d)
{
    each_payload(d, flip_every_third, r->ctx);
    if (pmw_type_of(d->bytes, d->len) == PMW_TRUNK)
        stage_reseal(r->stage, d);
}

/* Every third payload that the helper carries has one bit changed, in either direction: dropped, counted, sent again.
 */
static void case_14_helper_corrupts_a_payload_bit(void **state)
{
    struct stage *s = stage_new(&(struct stage_options){.nb_helpers = 1, .no_direct = true});
    struct stream *k = stage_open(s, 0);
    struct damage up = {0}, down = {0};
    struct rule_of *r = stage_rule(s, HOST_HELPER, HOST_SERVER, RULE_CHANGE);
    r->change = damage_payloads, r->ctx = &up;
    r = stage_rule(s, HOST_HELPER, HOST_CLIENT, RULE_CHANGE);
    r->change = damage_payloads, r->ctx = &down;
    for (int i = 0; i < 20; i++) {
        stage_request(s, k, 3 * PAYLOAD_BYTES, 10 * PAYLOAD_BYTES);
        stage_settle(s, SETTLE_US_MAX);
    }
    assert_true(up.done > 0 && down.done > 0);
    assert_int_equal(up.done + down.done, check_drops(s));
    stage_close(s, k);
    stage_free(s);
}

/* --- 15 */
struct swap {
    uint8_t *first;
    uint32_t done;
};

static void swap_pairs(void *ctx, uint8_t *payload, size_t len)
{
    struct swap *swap = ctx;
    if (len != PAYLOAD_BYTES || swap->done >= 3)
        return;
    if (swap->first == NULL) {
        swap->first = payload;
        return;
    }
    for (size_t i = 0; i < len; i++) {
        uint8_t byte = swap->first[i];
        swap->first[i] = payload[i];
        payload[i] = byte;
    }
    swap->first = NULL;
    swap->done++;
}

static void swap_payloads(struct rule_of *r, struct datagram *d)
{
    struct swap *swap = r->ctx;
    swap->first = NULL; /* pairs of one batch */
    each_payload(d, swap_pairs, swap);
    stage_reseal(r->stage, d);
}

/* Two connections' messages of equal length change places in a batch: neither is delivered to the other (I2). */
static void case_15_helper_swaps_two_payloads(void **state)
{
    struct stage *s = stage_new(&(struct stage_options){.nb_helpers = 1, .no_direct = true});
    struct stream *k[4];
    struct swap swap = {0};
    for (int i = 0; i < 4; i++)
        k[i] = stage_open(s, 0);
    struct rule_of *r = stage_rule(s, HOST_HELPER, HOST_SERVER, RULE_CHANGE);
    r->change = swap_payloads, r->type = PMW_TRUNK, r->ctx = &swap;
    for (int round = 0; round < 10; round++) {
        for (int i = 0; i < 4; i++)
            stage_write(s, k[i], CLIENT, PAYLOAD_BYTES);
        stage_settle(s, SETTLE_US_MAX);
    }
    assert_int_equal(swap.done, 3);
    assert_int_equal(2 * swap.done, stage_stats(s, -1).drops[VCL_DROP_CHECK]);
    for (int i = 0; i < 4; i++)
        stage_close(s, k[i]);
    stage_free(s);
}

/* --- 16 */
static void case_16_helper_duplicates_every_batch(void **state)
{
    struct stage *s = stage_new(&(struct stage_options){.nb_helpers = 1, .no_direct = true});
    stage_rule(s, HOST_HELPER, HOST_SERVER, RULE_TWICE);
    stage_rule(s, HOST_SERVER, HOST_HELPER, RULE_TWICE);
    stage_rule(s, HOST_HELPER, HOST_CLIENT, RULE_TWICE);
    struct stream *k = stage_open(s, 0);
    for (int i = 0; i < 20; i++) {
        stage_request(s, k, 3 * PAYLOAD_BYTES, 10 * PAYLOAD_BYTES);
        stage_settle(s, SETTLE_US_MAX);
    }
    struct vcl_stats server = stage_stats(s, -1), client = stage_stats(s, 0);
    assert_true(server.drops[VCL_DROP_TRUNK_REPLAY] >= server.trunk_batches_in / 2); /* T2: each once, no more */
    assert_true(stage_relay_stats(s, 0).trunk_batches_in > 0);
    assert_int_equal(20 * 3 * PAYLOAD_BYTES, k->read[SERVER]);
    assert_int_equal(20 * 10 * PAYLOAD_BYTES, k->read[CLIENT]);
    assert_true(client.duplicate_bytes > 0); /* offsets, not datagram numbers, are what the endpoints go by (C2) */
    assert_int_equal(1, stage_epoch(s, 0));
    stage_close(s, k);
    stage_free(s);
}

/* --- 42, 43: frames of the client that somebody kept. The numbers of a short frame repeat after 2^16 bytes, its epoch
 * after 16 moves; what the check covers does not. */
struct kept {
    struct stage *s;
    struct stream *k;
    struct pmw_session_keys keys;
    uint64_t session_id;
};

static bool note_session(struct rule_of *r, const struct datagram *d)
{
    if (pmw_type_of(d->bytes, d->len) == PMW_OPEN) {
        uint64_t *id = r->ctx;
        *id = 0;
        for (int i = 4; i < 12; i++)
            *id = *id << 8 | d->bytes[i];
    }
    return false;
}

static void kept_begin(struct kept *t)
{
    *t = (struct kept){.s = stage_new(&(struct stage_options){.nb_helpers = 2})};
    struct rule_of *r = stage_rule(t->s, HOST_CLIENT, HOST_NONE, RULE_DROP);
    r->fits = note_session, r->ctx = &t->session_id;
    t->k = stage_open(t->s, 0);
    stage_rule_end(r);
    assert_true(t->session_id != 0 && t->k->cid != 0);
    pmw_session_keys_derive(&t->keys, t->s->clients[0].peer.token_key, t->session_id);
    stage_write(t->s, t->k, CLIENT, ONCE_ROUND_BYTES);
    stage_settle(t->s, SETTLE_US_MAX);
    stage_run(t->s, 10000);
}

/* What the client once sent, or would send: the ledger's bytes from `offset`, sealed as of `epoch`. */
static void kept_inject(struct kept *t, uint8_t flags, uint64_t offset, uint32_t epoch)
{
    uint8_t payload[PAYLOAD_BYTES], buf[PMW_FRAME_BYTES_BASE];
    bool is_short = (flags & PMW_F_SHORT) != 0;
    const struct pmw_check_seed seed = {
        .secret = t->keys.check_c2s, .cid = t->k->cid, .seq = offset, .ack = 0, .epoch = epoch};
    struct pmw_frame f = {.type = PMW_DATA,
                          .flags = PMW_F_CHECK | flags,
                          .cid = t->k->cid,
                          .epoch8 = epoch & (is_short ? 15 : 255),
                          .seq = (uint32_t)(is_short ? offset & 0xffff : offset),
                          .window = PMW_WINDOW_SILENT,
                          .payload_len = PAYLOAD_BYTES};
    ledger_fill(STAGE_SEED, t->k->number, UP, offset, payload, sizeof(payload));
    int len = pmw_frame_encode(buf, sizeof(buf), &f, payload);
    assert_true(len > 0);
    pmw_frame_seal(buf, (size_t)len, &seed);
    const struct pmw_addr from = host_addr(HOST_CLIENT, 4, PORT_CLIENT),
                          to = host_addr(HOST_HELPER, 4, PORT_HELPER_CLIENTS);
    stage_inject(t->s, &from, &to, buf, (size_t)len);
    stage_run(t->s, 2000);
}

/* All that the client writes now arrives as written, whatever was injected. */
static void kept_end(struct kept *t)
{
    stage_write(t->s, t->k, CLIENT, 3 * PAYLOAD_BYTES);
    stage_settle(t->s, SETTLE_US_MAX);
    stage_close(t->s, t->k);
    stage_free(t->s);
}

static uint64_t taken(struct kept *t)
{
    return t->k->read[SERVER];
}

/* So that not everything is refused: a short frame with the bytes that the client has written, and that are held up. */
static void expect_taken(struct kept *t, uint32_t epoch)
{
    struct rule_of *r = stage_rule(t->s, HOST_CLIENT, HOST_NONE, RULE_HOLD);
    uint64_t before = taken(t);
    stage_write(t->s, t->k, CLIENT, PAYLOAD_BYTES);
    stage_run(t->s, 500);
    assert_int_equal(taken(t), before);
    kept_inject(t, PMW_F_SHORT, ONCE_ROUND_BYTES, epoch);
    assert_int_equal(taken(t), before + PAYLOAD_BYTES);
    stage_rule_end(r);
    stage_release(t->s, false);
}

static void case_42_stale_frame_of_65536_bytes_ago(void **state)
{
    struct kept t;
    kept_begin(&t);
    assert_int_equal(taken(&t), ONCE_ROUND_BYTES);
    kept_inject(&t, PMW_F_SHORT, 0, 1); /* its number now names the offset that is wanted next */
    assert_int_equal(1, stage_stats(t.s, -1).drops[VCL_DROP_CHECK]);
    kept_inject(&t, 0, 0, 1); /* a long one says where it belongs: a duplicate */
    assert_int_equal(1, stage_stats(t.s, -1).drops[VCL_DROP_CHECK]);
    assert_int_equal(taken(&t), ONCE_ROUND_BYTES);
    expect_taken(&t, 1); /* and one that is what it says it is */
    kept_end(&t);
}

static void case_43_stale_frame_of_an_earlier_epoch(void **state)
{
    struct kept t;
    kept_begin(&t);
    stage_hint(t.s, 0, VCL_HINT_DRAIN);
    stage_run(t.s, 50000);
    stage_settle(t.s, SETTLE_US_MAX);
    uint32_t now = stage_epoch(t.s, 0);
    assert_true(now > 1);
    uint64_t before = stage_stats(t.s, -1).drops[VCL_DROP_CHECK];
    kept_inject(&t, PMW_F_SHORT, 0, now - 1); /* of the path before: its number decodes to what is wanted next */
    kept_inject(&t, PMW_F_SHORT, ONCE_ROUND_BYTES, now - 16); /* its epoch decodes to the present one */
    kept_inject(&t, 0, ONCE_ROUND_BYTES, now - 256);
    assert_int_equal(before + 3, stage_stats(t.s, -1).drops[VCL_DROP_CHECK]);
    assert_int_equal(taken(&t), ONCE_ROUND_BYTES);
    expect_taken(&t, now - 1);                  /* late, but stream bytes (S6) */
    assert_int_equal(now, stage_epoch(t.s, 0)); /* and it moves nothing (I3) */
    kept_end(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(case_14_helper_corrupts_a_payload_bit),
        cmocka_unit_test(case_15_helper_swaps_two_payloads),
        cmocka_unit_test(case_16_helper_duplicates_every_batch),
        cmocka_unit_test(case_42_stale_frame_of_65536_bytes_ago),
        cmocka_unit_test(case_43_stale_frame_of_an_earlier_epoch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
