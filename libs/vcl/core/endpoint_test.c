/* SPDX-License-Identifier: Apache-2.0
 *
 * What an endpoint does with lost, late, repeated and contradicting frames (C2-C5). Time is virtual.
 */
#include "endpoint_kit.h"

/* A gray helper loses three in ten of what is longer than 1,000 bytes. */
static void case_11_large_frames_lost_at_random(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s;
    start(&n, 1, &c, &s);
    n.filter = swallow;
    n.filter_ctx = &(struct hole){.seed = 11, .until = UINT64_MAX, .longer_than = 1000, .per_mille = 300, .run = 1};
    carry(&n, c, s, 0, 400000, n.now + 10 * (uint64_t)SECOND);
    assert_true(COUNT(n.client, mtu_falls) >= 1);
    assert_true(COUNT(n.client, frames_cut) >= 1);
    uint64_t resent = COUNT(n.client, frames_resent); /* what fits is not lost any more */
    carry(&n, c, s, 400000, 200000, n.now + 10 * (uint64_t)SECOND);
    if (vcl__mtu_payload(n.session) == PMW_PAYLOAD_BYTES_MIN)
        assert_int_equal(COUNT(n.client, frames_resent), resent);
    testnet_stop(&n);
}

/* Three in ten, in bursts of three, both ways, for ten seconds: the stream goes on, and repetitions stay bounded. */
static void case_53_bursts_of_loss_both_ways(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s;
    start(&n, 1, &c, &s);
    n.filter = swallow;
    n.filter_ctx = &(struct hole){.seed = 53, .until = n.now + 10 * (uint64_t)SECOND, .per_mille = 125, .run = 3};
    uint64_t end = n.now + 10 * (uint64_t)SECOND, written = 0, got = 0;
    while (n.now < end) {
        written += testnet_write(&n, c, written, 20000, 1);
        testnet_run(&n, n.now + 5 * MS);
        got += testnet_read(&n, s, got, 1);
    }
    assert_true(got > 0);
    uint64_t resent = COUNT(n.client, frames_resent), fresh = COUNT(n.client, data_frames_out) - resent;
    assert_true(resent <= fresh / 10 + 10 * 10 + 100 + COUNT(n.client, ptos) + 64 * COUNT(n.client, path_moves));
    uint64_t healed = n.now;
    while (got < written) {
        testnet_run(&n, n.now + 1 * MS);
        got += testnet_read(&n, s, got, 1);
        assert_true(n.now < healed + SECOND);
    }
    assert_int_equal(vcl_conn_error(c), VCL_OK);
    testnet_stop(&n);
}

/* One arrives every 20 us. */
static enum verdict one_by_one(struct testnet *n, struct flight *f)
{
    uint64_t *last = n->filter_ctx;
    *last = f->at = f->at > *last + 20 ? f->at : *last + 20;
    return DELIVER;
}

/* Frames that the server sends for each hundred it gets, of a stream that is written in pieces with pauses (C3). */
static unsigned acks_percent(uint64_t pause_us)
{
    enum { PIECE = 60000, PIECES = 40 };
    struct testnet n;
    struct vcl_conn *c, *s;
    start(&n, 1, &c, &s);
    n.filter = one_by_one;
    n.filter_ctx = &(uint64_t){0};
    carry(&n, c, s, 0, 3 * PIECE, n.now + SECOND); /* the window opens */
    uint64_t in = COUNT(n.server, data_frames_in), out = COUNT(n.server, frames_out);
    for (uint64_t i = 3; i < PIECES; i++) {
        uint64_t began = n.now;
        carry(&n, c, s, i * PIECE, PIECE, n.now + SECOND);
        testnet_run(&n, began + pause_us);
    }
    in = COUNT(n.server, data_frames_in) - in;
    out = COUNT(n.server, frames_out) - out;
    testnet_stop(&n);
    return (unsigned)(out * 100 / in);
}

static void a_stream_in_pieces_is_acknowledged_seldom(void **state)
{
    assert_in_range(acks_percent(5 * MS), 1, 12);
    assert_in_range(acks_percent(50 * MS), 40, 100);
}

/* --- order and repetition ------------------------------------------------------------------------------ */
/* Within a millisecond, and never longer: what is late is not lost. */
static enum verdict disorder(struct testnet *n, struct flight *f)
{
    f->at += below((uint64_t *)n->filter_ctx, 1000);
    return DELIVER;
}

static void case_17_reordering_within_a_millisecond(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s;
    start(&n, 1, &c, &s);
    n.filter = disorder;
    n.filter_ctx = &(uint64_t){17};
    carry(&n, c, s, 0, 200000, n.now + 20 * (uint64_t)SECOND); /* the reorder window adapts (C4) */
    uint64_t resent = COUNT(n.client, frames_resent), sent = COUNT(n.client, data_frames_out);
    carry(&n, c, s, 200000, 2000000, n.now + 60 * (uint64_t)SECOND);
    resent = COUNT(n.client, frames_resent) - resent;
    assert_true(resent * 100 <= COUNT(n.client, data_frames_out) - sent); /* at most 1 % */
    testnet_stop(&n);
}

/* Offsets that wrap the 16 and 32 bits of the wire: both ends are put near the edge and go on over it. */
static void case_41_offsets_wrap(void **state)
{
    uint64_t edges[] = {UINT64_C(1) << 16, UINT64_C(1) << 32, UINT64_C(3) << 32};
    for (int i = 0; i < 3; i++) {
        struct testnet n;
        struct vcl_conn *c, *s;
        start(&n, 1, &c, &s);
        uint64_t at = edges[i] - 30000, window = s->rcv.bytes_max;
        testnet_run(&n, n.now + 10 * MS);
        c->snd.una = c->snd.end = c->snd_nxt = at;
        s->rcv.read = s->rcv.nxt = at;
        c->snd_edge = s->edge_sent = at + window;
        n.filter = swallow;
        n.filter_ctx = &(struct hole){.seed = 41, .until = UINT64_MAX, .per_mille = 50, .run = 1};
        carry(&n, c, s, at, 100000, n.now + 30 * (uint64_t)SECOND);
        testnet_stop(&n);
    }
}

/* A frame of ours again with another acknowledgement: of bytes that were never sent. */
static void case_44_acknowledgement_of_what_was_never_sent(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s;
    start(&n, 0, &c, &s);
    carry(&n, c, s, 0, 1000, n.now + SECOND);
    testnet_run(&n, n.now + 10 * MS);
    uint64_t beyond[] = {c->snd_nxt + 1, c->snd_nxt + 5000, c->snd_nxt + (UINT64_C(1) << 30)};
    for (int i = 0; i < 3; i++) {
        uint8_t buf[64];
        struct pmw_frame f = {.type = PMW_ACK,
                              .flags = PMW_F_CHECK,
                              .epoch8 = (uint8_t)c->s->epoch,
                              .cid = c->cid,
                              .seq = (uint32_t)s->snd_nxt,
                              .ack = (uint32_t)beyond[i],
                              .window = 1000};
        struct pmw_check_seed seed = {
            .secret = c->s->keys.check_s2c, .cid = c->cid, .seq = s->snd_nxt, .ack = beyond[i], .epoch = c->s->epoch};
        int len = pmw_frame_encode(buf, sizeof(buf), &f, NULL);
        assert_true(len > 0);
        pmw_frame_seal(buf, (size_t)len, &seed);
        uint64_t una = c->snd.una, edge = c->snd_edge;
        assert_int_equal(vcl_engine_receive(n.client, n.now, &n.server_addr, buf, (size_t)len), VCL_DROP_OUT_OF_WINDOW);
        assert_int_equal(c->snd.una, una);
        assert_int_equal(c->snd_edge, edge);
    }
    carry(&n, c, s, 1000, 1000, n.now + SECOND);
    testnet_stop(&n);
}

/* What was sent in large frames comes again in small ones, overlapping what has arrived. */
static void case_45_repetition_with_other_boundaries(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s;
    start(&n, 0, &c, &s);
    n.filter = swallow;
    n.filter_ctx = &(struct hole){.seed = 45, .until = n.now + 3 * MS, .longer_than = 200, .per_mille = 500, .run = 1};
    uint64_t written = testnet_write(&n, c, 0, 12000, 1);
    testnet_run(&n, n.now + 300);
    n.session->mtu.limit = 700; /* the path carries less now */
    n.session->mtu.epoch = n.session->epoch;
    uint64_t got = 0, until = n.now + SECOND;
    while (got < written) {
        testnet_run(&n, n.now + 100);
        got += testnet_read(&n, s, got, 1);
        assert_true(n.now < until);
    }
    assert_true(COUNT(n.client, frames_resent) > 3);
    testnet_run(&n, n.now + 100 * MS);
    assert_int_equal(vcl_conn_unacked(c), 0);
    testnet_stop(&n);
}

static uint64_t nb_data;

static enum verdict every_other_is_lost(struct testnet *n, struct flight *f)
{
    return pmw_addr_equal(&f->to, &n->server_addr) && nb_data++ % 2 == 0 ? DROP : DELIVER;
}

/* A stall of ours while a loss was to be judged, on a connection that may not send (O3): what is late because of the
 * stall moves by the lag, and each timer fires once a round. */
static void our_own_stall_before_a_loss(void **state)
{
    for (uint64_t offset = 0; offset < 400; offset += 5) {
        struct testnet n;
        struct vcl_conn *c, *s;
        start(&n, 0, &c, &s);
        uint64_t at = 0;
        for (; at < 5000; at += 100) { /* measures the path */
            testnet_write(&n, c, at, 100, 1);
            testnet_run(&n, n.now + 1 * MS);
        }
        n.filter = every_other_is_lost;
        nb_data = 0;
        for (int i = 0; i < 4; i++, at += 100) {
            testnet_write(&n, c, at, 100, 1);
            testnet_run(&n, n.now + 10);
        }
        n.filter = NULL;
        testnet_run(&n, n.now + offset);
        uint64_t due = vcl_engine_next_timer(n.client), late = due + 40 * MS;
        n.now = late;
        c->busy_until = late + 10 * MS;
        vcl_engine_on_timer(n.client, late, late - due + 5); /* another timer was due a little before */
        assert_true(vcl_engine_next_timer(n.client) > late);
        testnet_run(&n, n.now + 100 * MS);
        assert_int_equal(testnet_read(&n, s, 0, 1), at);
        testnet_stop(&n);
    }
}

/* C4: a client that stood still for 900 ms answers all that waited for it, first copies too. Its server's timers are
 * not those of a path of 900 ms: what is lost then is repaired in a third of that. */
static uint64_t standstill_ends;

static enum verdict client_stands_still(struct testnet *n, struct flight *f)
{
    if (pmw_addr_equal(&f->to, &n->client_addr) && f->at < standstill_ends)
        f->at = standstill_ends + f->number % 1000 * 10; /* one after the other, as it reads them */
    return DELIVER;
}

static enum verdict all_is_lost(struct testnet *n, struct flight *f)
{
    return DROP;
}

static void a_standstill_slows_no_repair_down(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s;
    start(&n, 0, &c, &s);
    carry(&n, s, c, 0, 20000, n.now + SECOND);
    standstill_ends = n.now + 900 * MS;
    n.filter = client_stands_still;
    for (uint64_t i = 0; i < 20; i++) { /* a frame of its own each */
        testnet_write(&n, s, 20000 + i * 100, 100, 1);
        testnet_run(&n, n.now + 1 * MS);
    }
    testnet_run(&n, standstill_ends + 100 * MS);
    assert_int_equal(testnet_read(&n, c, 20000, 1), 2000);
    n.filter = all_is_lost;
    testnet_write(&n, s, 22000, 100, 1);
    testnet_run(&n, n.now + MS);
    n.filter = NULL;
    testnet_run(&n, n.now + 300 * MS);
    assert_int_equal(testnet_read(&n, c, 22000, 1), 100);
    testnet_stop(&n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(case_11_large_frames_lost_at_random),
        cmocka_unit_test(case_17_reordering_within_a_millisecond),
        cmocka_unit_test(case_41_offsets_wrap),
        cmocka_unit_test(case_44_acknowledgement_of_what_was_never_sent),
        cmocka_unit_test(case_45_repetition_with_other_boundaries),
        cmocka_unit_test(a_stream_in_pieces_is_acknowledged_seldom),
        cmocka_unit_test(case_53_bursts_of_loss_both_ways),
        cmocka_unit_test(our_own_stall_before_a_loss),
        cmocka_unit_test(a_standstill_slows_no_repair_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
