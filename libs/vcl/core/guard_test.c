/* SPDX-License-Identifier: Apache-2.0
 *
 * What an engine refuses: altered and stolen frames, more than its limits, memory that is not
 * there; and how connections end otherwise than in order.
 */
#include "testkit.h"
#include "testnet.h"

#include <string.h>

enum { MS = 1000, SECOND = 1000000 };

static uint64_t sum_of_drops(struct vcl_engine *e)
{
    struct vcl_stats st;
    uint64_t sum = 0;
    vcl_engine_stats(e, &st);
    for (int i = 0; i < VCL_DROP_COUNT; i++)
        sum += st.drops[i];
    return sum;
}

/* Everything of an engine that an outsider can see, but counters. */
struct visible {
    uint64_t timer;
    uint32_t sessions, conns, lingering;
    struct vcl_session_info session;
};

static struct visible look(struct testnet *n, struct vcl_engine *e)
{
    struct visible v;
    struct vcl_stats st;
    memset(&v, 0, sizeof(v));
    vcl_engine_stats(e, &st);
    v.timer = vcl_engine_next_timer(e);
    v.sessions = st.nb_sessions;
    v.conns = st.nb_conns;
    v.lingering = vcl_engine_lingering(e);
    if (e == n->client)
        vcl_session_info(n->session, &v.session);
    return v;
}

static uint64_t nb_flips;

/* Each byte of each datagram, altered, reaches the receiver before the true one does: counted, and nothing else. */
static enum verdict flip_every_byte(struct testnet *n, struct flight *f)
{
    struct vcl_engine *e = pmw_addr_equal(&f->to, &n->server_addr)   ? n->server
                           : pmw_addr_equal(&f->to, &n->client_addr) ? n->client
                                                                     : NULL;
    if (e == NULL)
        return DELIVER;
    struct vcl_datagram out;
    struct vcl_event ev;
    for (size_t i = 0; i < f->len; i++) {
        uint8_t bytes[PMW_FRAME_BYTES_MAX];
        memcpy(bytes, f->bytes, f->len);
        bytes[i] ^= (uint8_t)(1 + below((uint64_t *)n->filter_ctx, 255));
        struct visible before = look(n, e), after;
        uint64_t drops = sum_of_drops(e);
        assert_true(vcl_engine_receive(e, n->now, &f->from, bytes, f->len) > 0);
        assert_true(sum_of_drops(e) > drops);
        after = look(n, e);
        assert_memory_equal(&before, &after, sizeof(before));
        assert_int_equal(vcl_engine_next_event(e, &ev), 0);
        if (e == n->server)
            assert_int_equal(vcl_engine_send(e, n->now, &out), 0);
        nb_flips++;
    }
    for (size_t len = 0; len < f->len; len++)
        assert_true(vcl_engine_receive(e, n->now, &f->from, f->bytes, len) > 0);
    return DELIVER;
}

static void altered_frames_change_counters_only(void **state)
{
    for (int nb_relays = 0; nb_relays < 2; nb_relays++) {
        struct testnet n;
        struct vcl_conn *c, *s;
        uint64_t seed = 9;
        testnet_init(&n, nb_relays);
        testnet_start(&n);
        n.filter = flip_every_byte;
        n.filter_ctx = &seed;
        testnet_open(&n, &c, &s);
        testnet_write(&n, c, 0, 300, 1);
        testnet_run(&n, n.now + 30 * MS); /* a probe, too */
        testnet_write(&n, s, 0, 300, 2);
        testnet_run(&n, n.now + 5 * MS);
        vcl_session_hint(n.session, n.now, nb_relays ? 100 : 0, VCL_HINT_DRAIN);
        testnet_run(&n, n.now + 5 * MS);
        assert_int_equal(testnet_read(&n, s, 0, 1), 300);
        assert_int_equal(testnet_read(&n, c, 0, 2), 300);
        vcl_conn_abort(c, n.now);
        testnet_run(&n, n.now + 5 * MS);
        assert_int_equal(vcl_conn_error(s), VCL_ERR_RESET);
        testnet_stop(&n);
    }
    assert_true(nb_flips > 1000);
}

static void frames_for_the_other_role_are_dropped(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s;
    struct vcl_datagram out;
    testnet_init(&n, 0);
    testnet_start(&n);
    assert_int_equal(vcl_conn_open(n.session, n.now, &c), VCL_OK);
    assert_int_equal(vcl_engine_send(n.client, n.now, &out), 1);
    assert_int_equal(vcl_engine_receive(n.client, n.now, &n.server_addr, out.bytes, out.len), VCL_DROP_ROLE);
    vcl_engine_receive(n.server, n.now, &n.client_addr, out.bytes, out.len);
    assert_int_equal(vcl_engine_send(n.server, n.now, &out), 1);
    assert_int_equal(vcl_engine_receive(n.server, n.now, &n.client_addr, out.bytes, out.len), VCL_DROP_ROLE);
    assert_int_equal(vcl_conn_accept(n.server, &s), VCL_OK);
    testnet_stop(&n);
}

static void limits_refuse(void **state)
{
    for (int which = 0; which < 3; which++) {
        struct testnet n;
        struct vcl_conn *c[4], *s;
        testnet_init(&n, 0);
        if (which == 0)
            n.server_config.backlog_max = 3;
        else if (which == 1)
            n.server_config.conns_max = 3;
        else
            n.client_config.conns_max = 3;
        testnet_start(&n);
        for (int i = 0; i < 3; i++)
            assert_int_equal(vcl_conn_open(n.session, n.now, &c[i]), VCL_OK);
        int rc = vcl_conn_open(n.session, n.now, &c[3]);
        assert_int_equal(rc, which == 2 ? VCL_ERR_NOMEM : VCL_OK);
        testnet_run(&n, n.now + 50 * MS);
        assert_int_equal(testnet_count(n.client_events, n.nb_client_events, VCL_EV_CONN_OPENED), 3);
        if (which != 2)
            assert_int_equal(vcl_conn_error(c[3]), VCL_ERR_REFUSED);
        for (int i = 0; i < 3; i++)
            assert_int_equal(vcl_conn_accept(n.server, &s), VCL_OK);
        assert_int_equal(vcl_conn_accept(n.server, &s), VCL_ERR_AGAIN);
        testnet_stop(&n);
    }
}

static enum verdict drop_first_resets(struct testnet *n, struct flight *f)
{
    int *left = n->filter_ctx;
    return pmw_type_of(f->bytes, f->len) == PMW_RESET && (*left)-- > 0 ? DROP : DELIVER;
}

/* C7: RESET is repeated until the peer knows. What it had received stays readable. */
static void reset_reaches_an_idle_peer(void **state)
{
    for (int lost = 0; lost < 5; lost++) {
        struct testnet n;
        struct vcl_conn *c, *s;
        char buf[8];
        int left = lost;
        testnet_init(&n, 0);
        testnet_start(&n);
        testnet_open(&n, &c, &s);
        vcl_conn_write(c, n.now, "hello", 5);
        testnet_run(&n, n.now + 5 * MS);
        n.filter = drop_first_resets;
        n.filter_ctx = &left;
        assert_int_equal(vcl_conn_abort(c, n.now), VCL_OK);
        testnet_run(&n, n.now + 2 * SECOND);
        assert_int_equal(vcl_conn_error(s), VCL_ERR_RESET);
        assert_int_equal(vcl_conn_write(s, n.now, "x", 1), -VCL_ERR_RESET);
        assert_int_equal(vcl_conn_read(s, n.now, buf, 8, false), 5);
        assert_int_equal(vcl_conn_read(s, n.now, buf, 8, false), -VCL_ERR_RESET);
        struct vcl_stats before, after;
        vcl_engine_stats(n.client, &before);
        testnet_run(&n, n.now + 7 * SECOND);
        vcl_engine_stats(n.client, &after);
        assert_true(after.frames_out - before.frames_out <= 4); /* keepalives at most: the peer knows */
        testnet_stop(&n);
    }
}

static void release_with_unread_bytes_resets(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s;
    testnet_init(&n, 0);
    testnet_start(&n);
    testnet_open(&n, &c, &s);
    vcl_conn_write(c, n.now, "hello", 5);
    testnet_run(&n, n.now + 5 * MS);
    vcl_conn_release(s, n.now);
    testnet_run(&n, n.now + 5 * MS);
    assert_int_equal(vcl_conn_error(c), VCL_ERR_RESET);
    testnet_stop(&n);
}

static void bytes_for_a_released_connection_reset(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s;
    testnet_init(&n, 0);
    testnet_start(&n);
    testnet_open(&n, &c, &s);
    vcl_conn_release(s, n.now);
    testnet_run(&n, n.now + 5 * MS);
    assert_true(vcl_conn_eof(c));
    vcl_conn_write(c, n.now, "hello", 5);
    testnet_run(&n, n.now + 5 * MS);
    assert_int_equal(vcl_conn_error(c), VCL_ERR_RESET);
    testnet_stop(&n);
}

/* C8 */
static void shutdown_says_farewell(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s, *late;
    testnet_init(&n, 1);
    testnet_start(&n);
    testnet_open(&n, &c, &s);
    vcl_engine_shutdown(n.server, n.now);
    testnet_flush(&n);
    vcl_engine_free(n.server);
    n.server = NULL;
    testnet_run(&n, n.now + 5 * MS);
    assert_int_equal(vcl_conn_error(c), VCL_ERR_RESET);
    assert_int_equal(testnet_count(n.client_events, n.nb_client_events, VCL_EV_CONN_CLOSED), 1);
    assert_int_equal(vcl_conn_open(n.session, n.now, &late), VCL_OK);
    testnet_run(&n, n.now + 11 * SECOND);
    assert_int_equal(vcl_conn_error(late), VCL_ERR_TIMEOUT);
    testnet_stop(&n);
}

/* Each allocation fails once: an error or a delay, never a crash, a leak or a wrong byte. */
static void memory_runs_dry(void **state)
{
    for (uint64_t fails_at = 1; fails_at < 60; fails_at++) {
        struct testnet n;
        struct vcl_conn *c, *s = NULL;
        testnet_init(&n, 1);
        testnet_start(&n);
        n.alloc_fails_at = fails_at;
        uint64_t got = 0, sent = 0;
        if (vcl_conn_open(n.session, n.now, &c) == VCL_OK) {
            for (int i = 0; i < 2000 && got < 20000 && vcl_conn_error(c) == VCL_OK; i++) {
                sent += testnet_write(&n, c, sent, 20000 - sent, 1);
                testnet_run(&n, n.now + MS);
                if (s == NULL && vcl_conn_accept(n.server, &s) != VCL_OK)
                    s = NULL;
                if (s != NULL)
                    got += testnet_read(&n, s, got, 1);
            }
            assert_true(got == 20000 || vcl_conn_error(c) == VCL_ERR_REFUSED);
        }
        testnet_stop(&n);
    }
}

static bool dry;

static void *alloc_when_not_dry(void *ctx, size_t size)
{
    struct testnet *n = ctx;
    n->allocated += !dry;
    return dry ? NULL : calloc(1, size);
}

/* Without memory for the book of sent frames nothing is sent, and nothing spins; with it the rest goes by itself. */
static void a_drought_delays(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s;
    testnet_init(&n, 0);
    n.client_config.alloc = alloc_when_not_dry;
    testnet_start(&n);
    testnet_open(&n, &c, &s);
    assert_int_equal(testnet_write(&n, c, 0, 20000, 1), 20000);
    dry = true;
    testnet_run(&n, n.now + 50 * MS);
    assert_true(testnet_read(&n, s, 0, 1) == 0);
    dry = false;
    testnet_run(&n, n.now + 200 * MS);
    assert_int_equal(testnet_read(&n, s, 0, 1), 20000);
    testnet_stop(&n);
}

static int nb_resets;

static enum verdict count_resets(struct testnet *n, struct flight *f)
{
    nb_resets += pmw_type_of(f->bytes, f->len) == PMW_RESET;
    return DELIVER;
}

/* C7: a client stood still until the server gave it up: RESET, its answer, and no answer to that. */
static void an_answer_is_not_answered(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s;
    testnet_init(&n, 0);
    testnet_start(&n);
    testnet_open(&n, &c, &s);
    struct vcl_engine *client = n.client;
    n.client = NULL;
    testnet_run(&n, n.now + 72 * SECOND); /* S14: 70 s */
    assert_int_equal(vcl_conn_error(s), VCL_ERR_TIMEOUT);
    n.client = client;
    n.filter = count_resets;
    nb_resets = 0;
    testnet_write(&n, c, 0, 100, 1);
    testnet_run(&n, n.now + SECOND);
    assert_int_equal(vcl_conn_error(c), VCL_ERR_RESET);
    assert_int_equal(nb_resets, 2);
    testnet_stop(&n);
}

/* An acknowledgement that waited while we stood still is no round trip. */
static void a_freeze_is_no_round_trip(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s;
    struct vcl_conn_info info;
    struct vcl_datagram out;
    testnet_init(&n, 0);
    testnet_start(&n);
    testnet_open(&n, &c, &s);
    testnet_run(&n, n.now + MS);
    testnet_write(&n, c, 0, 100, 1);
    assert_int_equal(vcl_engine_send(n.client, n.now, &out), 1);
    vcl_engine_receive(n.server, n.now, &n.client_addr, out.bytes, out.len);
    vcl_engine_on_timer(n.server, n.now + MS, 0);
    assert_int_equal(vcl_engine_send(n.server, n.now + MS, &out), 1);
    n.now += 5 * SECOND;
    assert_int_equal(vcl_engine_receive(n.client, n.now, &n.server_addr, out.bytes, out.len), 0);
    vcl_conn_info(c, &info);
    assert_int_equal(vcl_conn_unacked(c), 0);
    assert_true(info.srtt_us < 10 * MS);
    testnet_stop(&n);
}

static void nonsense_is_refused_at_the_door(void **state)
{
    struct testnet n;
    struct vcl_engine *e;
    testnet_init(&n, 0);
    struct vcl_config bad[6];
    for (int i = 0; i < 6; i++)
        bad[i] = n.server_config;
    bad[0].rcvbuf_bytes = 100;
    bad[1].sndbuf_bytes = 1u << 25;
    bad[2].trunk_bytes_max = PMW_TRUNK_BYTES_MAX + 1;
    bad[3].alloc = NULL;
    bad[4].conns_max = 0;
    bad[5].nb_keys = VCL_KEYS_MAX + 1;
    for (int i = 0; i < 6; i++)
        assert_int_equal(vcl_engine_new(&e, &bad[i]), VCL_ERR_INVALID);
    for (uint64_t i = 1; i < 7; i++) {
        n.alloc_fails_at = i;
        if (vcl_engine_new(&e, &n.server_config) == VCL_OK)
            vcl_engine_free(e);
    }
    n.alloc_fails_at = 0;
    testnet_start(&n);
    struct vcl_session *s;
    struct vcl_peer peer = n.peer;
    peer.nb_paths = 0;
    assert_int_equal(vcl_session_new(n.client, n.now, &peer, &s), VCL_ERR_INVALID);
    peer = n.peer;
    peer.token[0] = 77;
    assert_int_equal(vcl_session_new(n.client, n.now, &peer, &s), VCL_ERR_INVALID);
    assert_int_equal(vcl_session_set_paths(n.session, n.now, n.peer.paths, 0), VCL_ERR_INVALID);
    assert_string_equal(vcl_error_text(VCL_ERR_TIMEOUT), "no path to the peer");
    assert_string_equal(vcl_error_text(99), "unknown error");
    testnet_stop(&n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(altered_frames_change_counters_only),
        cmocka_unit_test(frames_for_the_other_role_are_dropped),
        cmocka_unit_test(limits_refuse),
        cmocka_unit_test(reset_reaches_an_idle_peer),
        cmocka_unit_test(release_with_unread_bytes_resets),
        cmocka_unit_test(bytes_for_a_released_connection_reset),
        cmocka_unit_test(shutdown_says_farewell),
        cmocka_unit_test(memory_runs_dry),
        cmocka_unit_test(a_drought_delays),
        cmocka_unit_test(an_answer_is_not_answered),
        cmocka_unit_test(a_freeze_is_no_round_trip),
        cmocka_unit_test(nonsense_is_refused_at_the_door),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
