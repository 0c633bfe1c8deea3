/* SPDX-License-Identifier: Apache-2.0
 *
 * What bounds a stream: windows and their budget (C6, C10), what the path carries (S21), patience (C11), its own end.
 * Time is virtual.
 */
#include "endpoint_kit.h"

/* The C-frame of a datagram, a batch of one included. */
static const uint8_t *frame_of(const struct flight *f, size_t *len)
{
    bool batch = pmw_type_of(f->bytes, f->len) == PMW_TRUNK;
    size_t before = batch ? PMW_TRUNK_HEADER_BYTES + PMW_ENTRY_LONG_V4_BYTES : 0;
    *len = f->len - before - (batch ? PMW_TRUNK_TAG_BYTES : 0);
    return f->bytes + before;
}

/* --- windows ------------------------------------------------------------------------------------------- */
static enum verdict no_acks(struct testnet *n, struct flight *f)
{
    size_t len;
    return pmw_type_of(frame_of(f, &len), 1) == PMW_ACK && pmw_addr_equal(&f->to, &n->client_addr) ? DROP : DELIVER;
}

/* The window was shut; the frame that opens it is lost, and so are all for a while. */
static void case_58_window_update_lost(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s;
    testnet_init(&n, 0);
    n.server_config.rcvbuf_bytes = n.server_config.rcvbuf_bytes_max = 10240;
    testnet_start(&n);
    testnet_open(&n, &c, &s);
    testnet_write(&n, c, 0, 30000, 1);
    testnet_run(&n, n.now + 100 * MS);
    assert_int_equal(vcl_conn_readable(s), 10240);
    n.filter = no_acks;
    uint64_t got = testnet_read(&n, s, 0, 1);
    testnet_run(&n, n.now + 200);
    n.filter = NULL;
    uint64_t opened = n.now;
    while (got < 30000) {
        testnet_run(&n, n.now + 100);
        got += testnet_read(&n, s, got, 1);
        assert_true(n.now < opened + 300 * MS); /* pto_max twice, and the way */
    }
    testnet_stop(&n);
}

/* A reader that takes its time: nothing is lost, and the memory of both ends stays within their buffers. */
static void case_63_slow_reader(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s;
    start(&n, 1, &c, &s);
    uint64_t written = 0, got = 0;
    for (int i = 0; i < 400; i++) {
        uint8_t some[512];
        written += testnet_write(&n, c, written, 100000, 1);
        testnet_run(&n, n.now + 5 * MS);
        int64_t r = vcl_conn_read(s, n.now, some, sizeof(some), false);
        for (int64_t k = 0; k < r; k++)
            assert_int_equal(some[k], testnet_byte(got + (uint64_t)k, 1));
        got += r > 0 ? (uint64_t)r : 0;
        assert_true(vcl_conn_readable(s) <=
                    n.server_config.rcvbuf_bytes); /* it never read half a window a round trip */
        assert_true(written - got <= n.server_config.rcvbuf_bytes + n.client_config.sndbuf_bytes_max);
    }
    assert_int_equal(s->rcv.bytes_max, n.server_config.rcvbuf_bytes);
    assert_int_equal(vcl_conn_error(c), VCL_OK);
    while (got < written) {
        testnet_run(&n, n.now + 1 * MS);
        got += testnet_read(&n, s, got, 1);
    }
    testnet_stop(&n);
}

/* One connection sends all it can; the small messages of another, beside it, wait for no more than their turn. */
static void case_59_one_flow_sends_most(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s, *small_c, *small_s;
    start(&n, 1, &c, &s);
    testnet_open(&n, &small_c, &small_s);
    uint64_t alone_max = 0, beside_max = 0, written = 0, got = 0;
    for (uint64_t i = 0; i < 200; i++) {
        bool beside = i >= 100;
        uint64_t asked = n.now;
        if (beside)
            written += testnet_write(&n, c, written, 300000, 1);
        assert_int_equal(testnet_write(&n, small_c, 64 * i, 64, 2), 64);
        while (vcl_conn_readable(small_s) < 64)
            testnet_run(&n, n.now + 10);
        assert_int_equal(testnet_read(&n, small_s, 64 * i, 2), 64);
        uint64_t took = n.now - asked, *max = beside ? &beside_max : &alone_max;
        *max = took > *max ? took : *max;
        testnet_run(&n, n.now + 500);
        got += testnet_read(&n, s, got, 1);
    }
    assert_true(got > 1000000);
    assert_true(beside_max <= 2 * alone_max);
    testnet_stop(&n);
}

/* C10: the sum of all windows is bounded; each has a little. */
static void windows_come_out_of_one_budget(void **state)
{
    struct testnet n;
    struct vcl_conn *c[40], *s[40];
    testnet_init(&n, 0);
    n.server_config.rcv_budget_bytes = 1 << 20;
    testnet_start(&n);
    uint64_t sum = 0;
    for (int i = 0; i < 40; i++) {
        testnet_open(&n, &c[i], &s[i]);
        assert_in_range(s[i]->rcv.bytes_max, 16384, 65536);
        assert_int_equal(c[i]->snd_edge, s[i]->rcv.bytes_max); /* the peer was told so */
        sum += s[i]->rcv.bytes_max;
    }
    assert_true(s[0]->rcv.bytes_max == 65536 && s[39]->rcv.bytes_max == 16384);
    assert_int_equal(n.server->rcv_given, sum);
    carry(&n, c[0], s[0], 0, 3000000, n.now + 60 * (uint64_t)SECOND);
    assert_true(n.server->rcv_given <= (1 << 20) + 40 * 16384);
    for (int i = 0; i < 40; i++) {
        vcl_conn_release(c[i], n.now);
        vcl_conn_release(s[i], n.now);
    }
    testnet_run(&n, n.now + 20 * (uint64_t)SECOND);
    assert_int_equal(n.server->rcv_given, 0);
    testnet_stop(&n);
}

/* A fast reader: the window grows with it, and storage that a transfer left goes. */
static void a_transfer_grows_its_buffers(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s;
    start(&n, 0, &c, &s);
    carry(&n, c, s, 0, 30000000, n.now + 60 * (uint64_t)SECOND);
    assert_true(s->rcv.bytes_max > n.server_config.rcvbuf_bytes);
    assert_true(s->rcv.bytes_max <= n.server_config.rcvbuf_bytes_max);
    assert_true(c->snd.bytes_max > n.client_config.sndbuf_bytes);
    testnet_run(&n, n.now + SECOND);
    assert_true(c->snd.ring.cap <= RING_BYTES_LARGE && s->rcv.ring.cap <= RING_BYTES_LARGE);
    testnet_stop(&n);
}

/* --- path MTU (S21) -------------------------------------------------------------------------------------- */
/* Large frames pass, then they do not: 9,000 to 1,500 in the middle of a transfer. */
static void case_60_mtu_falls_midway(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s;
    start(&n, 0, &c, &s);
    carry(&n, c, s, 0, 2000000, n.now + 10 * (uint64_t)SECOND);
    assert_int_equal(vcl__mtu_payload(n.session), PMW_PAYLOAD_BYTES_MAX);
    assert_true(n.session->mtu.may_merge); /* both of a pair came back */
    struct hole hole = {.seed = 60, .until = UINT64_MAX, .longer_than = 1472, .per_mille = 1000, .run = 1};
    n.filter = swallow;
    n.filter_ctx = &hole;
    uint64_t fell = n.now;
    assert_true(carry(&n, c, s, 2000000, 20000, n.now + SECOND) - fell <= 50 * MS);
    assert_int_equal(vcl__mtu_payload(n.session), PMW_PAYLOAD_BYTES_BASE);
    assert_int_equal(COUNT(n.client, path_moves), 0);
    carry(&n, c, s, 2020000, 500000, n.now + 10 * (uint64_t)SECOND);
    hole.until = 0; /* and back: asked again after a while */
    testnet_run(&n, n.now + 31 * (uint64_t)SECOND);
    carry(&n, c, s, 2520000, 2000000, n.now + 10 * (uint64_t)SECOND);
    assert_int_equal(vcl__mtu_payload(n.session), PMW_PAYLOAD_BYTES_MAX);
    testnet_stop(&n);
}

/* A server that sends finds out for itself. */
static void a_server_probes_too(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s;
    start(&n, 0, &c, &s);
    carry(&n, s, c, 0, 2000000, n.now + 10 * (uint64_t)SECOND);
    assert_int_equal(vcl__mtu_payload(s->s), PMW_PAYLOAD_BYTES_MAX);
    assert_int_equal(vcl__mtu_payload(n.session), PMW_PAYLOAD_BYTES_BASE); /* the client had nothing to send */
    testnet_stop(&n);
}

static unsigned nb_asked, nb_answered;

static enum verdict nothing_to_client(struct testnet *n, struct flight *f)
{
    return pmw_addr_equal(&f->to, &n->client_addr) ? DROP : DELIVER;
}

static enum verdict count_questions(struct testnet *n, struct flight *f)
{
    int type = pmw_type_of(f->bytes, f->len);
    nb_asked += type == PMW_PROBE && pmw_addr_equal(&f->to, &n->client_addr);
    nb_answered += pmw_addr_equal(&f->to, &n->server_addr);
    return DELIVER;
}

/* S14: the path works again when the client has given up, and the server knows its last epoch. Whatever it asks then,
 * for a size or for the path, is not answered: else it would hold on to a connection that nobody has, and of which
 * nothing is in flight that would tell it so. */
static void a_session_that_gave_up_answers_no_probe(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s;
    testnet_init(&n, 0);
    n.client_config.hold_us = n.client_config.tombstone_us = SECOND;
    testnet_start(&n);
    testnet_open(&n, &c, &s);
    carry(&n, c, s, 0, 1000, n.now + SECOND);
    n.filter = nothing_to_client;
    testnet_write(&n, c, 1000, 1000, 1);
    while (n.session->dial->state != VCL_PATH_DEAD)
        testnet_run(&n, n.now + MS);
    uint64_t gave_up = n.now;
    testnet_run(&n, gave_up + 30 * (uint64_t)SECOND); /* an answer after that is seen by how long the server waits */
    assert_int_equal(s->s->epoch, n.session->epoch);
    n.filter = count_questions;
    nb_asked = nb_answered = 0;
    while (n.now < gave_up + 65 * (uint64_t)SECOND) {
        vcl__mtu_want(s->s, UINT32_MAX);
        vcl__trial_ask(s->s);
        testnet_run(&n, n.now + SECOND);
    }
    assert_true(nb_asked > 0);
    assert_int_equal(vcl_conn_error(s), VCL_OK);
    testnet_run(&n, gave_up + 71 * (uint64_t)SECOND);
    assert_int_equal(vcl_conn_error(s), VCL_ERR_TIMEOUT);
    assert_int_equal(nb_answered, 0);
    testnet_stop(&n);
}

/* A helper takes no larger frames: no probe asks for any, and what a direct path carried is cut anew behind it. */
static void through_a_helper_frames_stay_small(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s;
    start(&n, 1, &c, &s);
    carry(&n, c, s, 0, 2000000, n.now + 10 * (uint64_t)SECOND);
    assert_int_equal(vcl__mtu_payload(n.session), PMW_PAYLOAD_BYTES_BASE);
    testnet_stop(&n);
}

/* --- keepalive (C11) --------------------------------------------------------------------------------------- */
static void keepalive_asks_and_gives_up(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s;
    start(&n, 0, &c, &s);
    assert_int_equal(vcl_conn_set_keepalive(s, n.now, 2000), VCL_OK);
    uint64_t before = COUNT(n.server, frames_out);
    testnet_run(&n, n.now + 21 * (uint64_t)SECOND);
    assert_int_equal(vcl_conn_error(s), VCL_OK); /* each question was answered */
    assert_in_range(COUNT(n.server, frames_out) - before, 9, 30);
    struct vcl_engine *client = n.client;
    n.client = NULL; /* it stands still; the server has nothing to send */
    testnet_run(&n, n.now + 7 * (uint64_t)SECOND);
    assert_int_equal(vcl_conn_error(s), VCL_OK);
    testnet_run(&n, n.now + 2 * (uint64_t)SECOND);
    assert_int_equal(vcl_conn_error(s), VCL_ERR_TIMEOUT);
    n.client = client;
    testnet_stop(&n);
}

/* --- half close (RFC 9293 3.6) -------------------------------------------------------------------------------- */
static void half_close_lets_the_other_half_live(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s;
    start(&n, 1, &c, &s);
    testnet_write(&n, c, 0, 100, 1);
    assert_int_equal(vcl_conn_shutdown_write(c, n.now), VCL_OK);
    assert_int_equal(vcl_conn_write(c, n.now, "x", 1), -VCL_ERR_CLOSED);
    testnet_run(&n, n.now + 10 * MS);
    assert_int_equal(testnet_read(&n, s, 0, 1), 100);
    assert_true(vcl_conn_eof(s));
    carry(&n, s, c, 0, 500000, n.now + 10 * (uint64_t)SECOND); /* long after our FIN */
    assert_int_equal(vcl_conn_error(c), VCL_OK);
    vcl_conn_shutdown_write(s, n.now);
    testnet_run(&n, n.now + 10 * MS);
    assert_true(vcl_conn_eof(c));
    assert_int_equal(testnet_count(n.client_events, n.nb_client_events, VCL_EV_CONN_CLOSED), 1);
    testnet_stop(&n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(case_58_window_update_lost),
        cmocka_unit_test(case_59_one_flow_sends_most),
        cmocka_unit_test(case_60_mtu_falls_midway),
        cmocka_unit_test(case_63_slow_reader),
        cmocka_unit_test(windows_come_out_of_one_budget),
        cmocka_unit_test(a_transfer_grows_its_buffers),
        cmocka_unit_test(a_server_probes_too),
        cmocka_unit_test(a_session_that_gave_up_answers_no_probe),
        cmocka_unit_test(through_a_helper_frames_stay_small),
        cmocka_unit_test(keepalive_asks_and_gives_up),
        cmocka_unit_test(half_close_lets_the_other_half_live),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
