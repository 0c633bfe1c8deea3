/* SPDX-License-Identifier: Apache-2.0
 *
 * Paths on trial whose client is far away, or whose first word is lost: the trial has time, what it holds back is not
 * forgotten, and what it measures is a round trip (S18, C4).
 */
#include "paths_kit.h"
#include "state.h"

static uint64_t far_rtt_us;

static enum verdict far_client(struct testnet *n, struct flight *f)
{
    if (pmw_addr_equal(&f->from, &n->client_addr) || pmw_addr_equal(&f->to, &n->client_addr))
        f->at = n->now + far_rtt_us / 2;
    return DELIVER;
}

/* Longer than six challenges of the first guess take. A server that only listens has no sample of the round trip, ever:
 * each trial that fails is followed by a longer one. */
static void s18_a_path_is_proved_however_far(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s;
    far_rtt_us = 700 * MS;
    testnet_init(&n, 2);
    n.filter = far_client;
    testnet_start(&n);
    testnet_open(&n, &c, &s);
    exchange(&n, c, s, 0, 1000);
    struct vcl_session *session = vcl_conn_session(s);
    assert_true(session->trial.has_validated && session->route.trunk != NULL);
    n.relays[0].dead = true;
    testnet_write(&n, c, 1000, 3000, 1);
    testnet_run(&n, n.now + 5 * (uint64_t)SECOND);
    assert_in_range(stats_of(n.server).trials_failed, 1, 2);
    assert_false(session->trial.running);
    assert_int_equal(session->trial.nb_failed, 0);
    assert_true(route_equal(&session->route, &session->trial.validated));
    assert_true(session->route.trunk == NULL || session->route.trunk->helper_id == 101);
    assert_int_equal(info_of(n.session).epoch, info_of(session).epoch);
    assert_int_equal(testnet_read(&n, s, 1000, 1), 3000);
    testnet_write(&n, s, 1000, 1000, 2);
    read_until(&n, c, 1000, 1000, 2);
    testnet_stop(&n);
}

/* C4: its OPEN went four times, and its first frames too, before anything was answered: so no answer was a sample. */
static void learns_its_round_trip(bool server_writes)
{
    struct testnet n;
    struct vcl_conn *c, *s;
    testnet_init(&n, 0);
    n.filter = far_client;
    testnet_start(&n);
    testnet_open(&n, &c, &s);
    struct vcl_conn *from = server_writes ? s : c, *to = server_writes ? c : s;
    uint64_t begun = n.now, written = 0, got = 0;
    while (got < 100000) {
        written += testnet_write(&n, from, written, 100000 - written, 1);
        testnet_run(&n, n.now + MS);
        got += testnet_read(&n, to, got, 1);
        assert_true(n.now - begun < 12 * far_rtt_us);
    }
    assert_true(from->s->rtt.sampled);
    assert_int_equal(stats_of(n.client).mtu_falls + stats_of(n.server).mtu_falls, 0); /* nothing was lost */
    testnet_stop(&n);
}

static void c4_a_far_client_learns_its_round_trip(void **state)
{
    for (far_rtt_us = 40 * MS; far_rtt_us <= 400 * MS; far_rtt_us += 10 * MS) {
        learns_its_round_trip(false);
        learns_its_round_trip(true);
    }
}

/* C4, S19: a session at rest, whose planned RESUME is the only measure of the new path. */
static void c4_a_far_session_keeps_its_estimate_when_it_moves(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s;
    far_rtt_us = 600 * MS;
    testnet_init(&n, 2);
    n.filter = far_client;
    testnet_start(&n);
    testnet_open(&n, &c, &s);
    for (uint64_t at = 0; at < 10000; at += 1000)
        exchange(&n, c, s, at, 1000);
    testnet_run(&n, n.now + 10 * (uint64_t)SECOND);
    far_rtt_us += 100 * MS;
    vcl_session_hint(n.session, n.now, 100, VCL_HINT_DRAIN);
    while (info_of(n.session).active_helper_id == 100)
        testnet_run(&n, n.now + MS);
    assert_in_range(info_of(n.session).srtt_us, far_rtt_us - 100 * MS, far_rtt_us + 100 * MS);
    testnet_stop(&n);
}

static enum verdict drop_all(struct testnet *n, struct flight *f)
{
    return DROP;
}

/* Authentic, from `from`, directly. */
static void give(struct testnet *n, const struct vcl_session *s, const struct pmw_addr *from, uint8_t *frame, int len)
{
    assert_true(len > 0);
    pmw_control_seal(frame, (size_t)len, s->keys.mac_c2s);
    vcl_engine_receive(n->server, n->now, from, frame, (size_t)len);
}

static unsigned nb_sent(struct testnet *n, const struct pmw_addr *to, int type)
{
    struct vcl_datagram out;
    unsigned nb = 0;
    while (vcl_engine_send(n->server, n->now, &out))
        nb += pmw_addr_equal(&out.to, to) && pmw_type_of(out.bytes, out.len) == type;
    return nb;
}

/* The server speaks first, by a path that is not proved yet; a planned RESUME names another, six challenges are lost.
 */
static void s18_what_was_held_back_moves_too(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s;
    uint8_t frame[PMW_FRAME_BYTES_BASE];
    start(&n, 0, &c, &s);
    struct vcl_session *session = vcl_conn_session(s);
    struct pmw_addr other = n.client_addr;
    other.port = 6666;
    assert_true(session->trial.running && !session->trial.has_validated);
    session->trial.bytes_out = 3 * session->trial.bytes_in;
    n.filter = drop_all;
    testnet_write(&n, s, 0, 1000, 2);
    testnet_flush(&n);
    assert_true(session->trial.blocked);
    const struct pmw_resume r = {.session_id = session->id,
                                 .nonce = 1,
                                 .epoch = session->epoch + 1,
                                 .server_id = TESTNET_SERVER_ID,
                                 .flags = PMW_RESUME_PLANNED};
    give(&n, session, &other, frame, pmw_resume_encode(frame, sizeof(frame), &r));
    assert_true(pmw_addr_equal(&session->route.addr, &other));
    testnet_run(&n, n.now + 10 * (uint64_t)SECOND);
    assert_int_equal(session->trial.nb_challenges, 0);
    const struct pmw_probe p = {
        .session_id = session->id, .server_id = TESTNET_SERVER_ID, .epoch = session->epoch, .bytes = PMW_PROBE_BYTES};
    for (int i = 0; i < 2; i++)
        give(&n, session, &other, frame, pmw_probe_encode(frame, sizeof(frame), PMW_PROBE, &p));
    assert_true(nb_sent(&n, &other, PMW_PATH_CHALLENGE) > 0);
    testnet_stop(&n);
}

static enum verdict resume_only(struct testnet *n, struct flight *f)
{
    int type = type_of(f);
    if (type == PMW_RESUME)
        return *(bool *)n->filter_ctx ? TWICE : DELIVER;
    return type == PMW_DATA || type == PMW_ACK ? DROP : DELIVER;
}

/* C4, Karn: an answer to a challenge that went in two RESUME_ACKs may be to either. */
static void c4_a_challenge_that_went_twice_is_no_sample(void **state)
{
    for (int twice = 0; twice < 2; twice++) {
        struct testnet n;
        struct vcl_conn *c, *s;
        bool resume_twice = twice;
        start(&n, 1, &c, &s);
        exchange(&n, c, s, 0, 1000);
        struct vcl_session *session = vcl_conn_session(s);
        n.filter = resume_only;
        n.filter_ctx = &resume_twice;
        n.relays[0].dead = true;
        testnet_write(&n, c, 1000, 1000, 1);
        while (session->epoch == 1 || session->trial.running)
            testnet_run(&n, n.now + 50);
        assert_true(session->route.trunk == NULL);
        assert_int_equal(session->rtt.sampled, !resume_twice);
        testnet_stop(&n);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(c4_a_far_client_learns_its_round_trip),
        cmocka_unit_test(c4_a_far_session_keeps_its_estimate_when_it_moves),
        cmocka_unit_test(s18_a_path_is_proved_however_far),
        cmocka_unit_test(s18_what_was_held_back_moves_too),
        cmocka_unit_test(c4_a_challenge_that_went_twice_is_no_sample),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
