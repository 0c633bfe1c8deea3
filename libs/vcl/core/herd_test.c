/* SPDX-License-Identifier: Apache-2.0
 *
 * Planned moves and herds: nothing sent twice, nobody late (S19, S20).
 */
#include "paths_kit.h"
#include "state.h"

/* --- S19: planned moves ---------------------------------------------------------------------------------- */
static void drain(struct testnet *n)
{
    vcl_session_hint(n->session, n->now, info_of(n->session).active_helper_id, VCL_HINT_DRAIN);
}

/* Both directions full of bytes, at every moment of the move. */
static void case_23_planned_move_resends_nothing(void **state)
{
    for (uint64_t offset = 0; offset < 1000; offset += 50) {
        struct testnet n;
        struct vcl_conn *c, *s;
        uint64_t up = 0, down = 0, up_read = 0, down_read = 0;
        start(&n, 2, &c, &s);
        testnet_run(&n, n.now + offset);
        for (int i = 0; i < 200; i++) {
            up += testnet_write(&n, c, up, 20000, 1);
            down += testnet_write(&n, s, down, 20000, 2);
            testnet_run(&n, n.now + 100);
            up_read += testnet_read(&n, s, up_read, 1);
            down_read += testnet_read(&n, c, down_read, 2);
            if (i == 50)
                drain(&n);
        }
        assert_int_equal(info_of(n.session).active_helper_id, 101);
        assert_int_equal(info_of(vcl_conn_session(s)).active_helper_id, 101);
        assert_true(up_read > 100000 && down_read > 100000);
        assert_int_equal(stats_of(n.client).frames_resent + stats_of(n.server).frames_resent, 0);
        assert_int_equal(stats_of(n.client).ptos + stats_of(n.server).ptos, 0);
        testnet_stop(&n);
    }
}

/* The other path does not answer: the session stays, and nothing is resent either. */
static void planned_move_to_a_dead_path_stays(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s;
    uint64_t at = 0;
    start(&n, 2, &c, &s);
    exchange(&n, c, s, 0, 100);
    n.relays[1].dead = true;
    drain(&n);
    for (at = 100; at < 5100; at += 100)
        exchange(&n, c, s, at, 100);
    assert_int_equal(info_of(n.session).active_helper_id, 100);
    assert_int_equal(stats_of(n.client).frames_resent + stats_of(n.server).frames_resent, 0);
    testnet_stop(&n);
}

static bool deaf; /* the client: nothing reaches it */

static enum verdict nothing_to_the_client(struct testnet *n, struct flight *f)
{
    return deaf && pmw_addr_equal(&f->to, &n->client_addr) ? DROP : DELIVER;
}

/* S19: the server has heard that the session stays and is an epoch ahead; its answers are lost, on every path, until
 * the client has asked often enough. When the network works again they agree again, and the connection goes on. */
static void a_server_that_is_ahead_is_caught_up_with(void **state)
{
    for (uint64_t silence = 40 * MS; silence <= 400 * MS; silence += 20 * MS) {
        struct testnet n;
        struct vcl_conn *c, *s;
        start(&n, 2, &c, &s);
        exchange(&n, c, s, 0, 100);
        n.filter = nothing_to_the_client;
        deaf = true;
        drain(&n);
        testnet_write(&n, c, 100, 100, 1);
        testnet_run(&n, n.now + silence);
        deaf = false;
        testnet_run(&n, n.now + 2 * SECOND);
        assert_true(info_of(vcl_conn_session(s)).epoch > 1);
        assert_int_equal(info_of(n.session).epoch, info_of(vcl_conn_session(s)).epoch);
        assert_int_equal(info_of(n.session).active_helper_id, info_of(vcl_conn_session(s)).active_helper_id);
        assert_int_equal(testnet_read(&n, s, 100, 1), 100);
        testnet_stop(&n);
    }
}

static void case_21_told_elsewhere_while_moving(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s;
    start(&n, 2, &c, &s);
    exchange(&n, c, s, 0, 1000);
    n.relays[0].dead = true;
    testnet_write(&n, c, 1000, 1000, 1);
    while (info_of(n.session).state == VCL_PATH_ACTIVE)
        testnet_run(&n, n.now + 50);
    struct vcl_path paths[] = {n.peer.paths[2], n.peer.paths[0]}; /* neither is where it goes */
    vcl_session_hint(n.session, n.now, 101, VCL_HINT_DRAIN);
    vcl_session_set_paths(n.session, n.now, paths, 2);
    read_until(&n, s, 1000, 1000, 1);
    exchange(&n, c, s, 2000, 1000);
    assert_int_equal(info_of(n.session).epoch, info_of(vcl_conn_session(s)).epoch);
    assert_int_equal(info_of(n.session).active_helper_id, info_of(vcl_conn_session(s)).active_helper_id);
    testnet_stop(&n);
}

static void case_22_taken_away_while_leaving(void **state)
{
    for (uint64_t delay = 0; delay < 20 * MS; delay += 500) {
        struct testnet n;
        struct vcl_conn *c, *s;
        start(&n, 2, &c, &s);
        exchange(&n, c, s, 0, 1000);
        drain(&n);
        testnet_write(&n, c, 1000, 1000, 1);
        testnet_run(&n, n.now + delay);
        n.relays[0].dead = true;
        testnet_write(&n, s, 1000, 1000, 2);
        uint64_t killed = n.now;
        assert_true(read_until(&n, s, 1000, 1000, 1) - killed <= RECOVERY_US_MAX);
        assert_true(read_until(&n, c, 1000, 1000, 2) - killed <= RECOVERY_US_MAX);
        assert_int_equal(info_of(n.session).active_helper_id, 101);
        assert_int_equal(info_of(n.session).epoch, info_of(vcl_conn_session(s)).epoch);
        testnet_stop(&n);
    }
}

/* --- S20: a thousand at once ------------------------------------------------------------------------------- */
/* Each connection asks and is answered all the time; the helper dies; how long until the next byte of each arrives? */
static void a_thousand_busy_connections_fail_over(void **state)
{
    enum { NB = 1000 };
    static struct vcl_conn *c[NB], *s[NB];
    static uint64_t asked[NB], heard[NB], back[NB];
    struct testnet n;
    testnet_init(&n, 2);
    testnet_start(&n);
    memset(back, 0, sizeof(back));
    for (int i = 0; i < NB; i++) {
        testnet_open(&n, &c[i], &s[i]);
        asked[i] = testnet_write(&n, c[i], 0, 64, 1);
        heard[i] = 0;
    }
    uint64_t killed = 0, latest = 0;
    for (int round = 0, nb_back = 0; nb_back < NB; round++) {
        assert_true(round < 1000);
        if (round == 20) {
            n.relays[0].dead = true;
            killed = n.now;
        }
        testnet_run(&n, n.now + 200);
        for (int i = 0; i < NB; i++) {
            uint64_t at_server = asked[i] - 64, got = testnet_read(&n, s[i], heard[i], 1);
            heard[i] += got;
            if (got > 0 && heard[i] == asked[i])
                testnet_write(&n, s[i], at_server, 64, 2);
            if (testnet_read(&n, c[i], at_server, 2) == 0)
                continue;
            asked[i] += testnet_write(&n, c[i], asked[i], 64, 1);
            /* What was on its way from the dead helper to the client does not count. */
            if (killed == 0 || n.now <= killed + 2 * TESTNET_DELAY_US || back[i] != 0)
                continue;
            back[i] = n.now - killed;
            latest = back[i] > latest ? back[i] : latest;
            nb_back++;
        }
    }
    print_message("last of %d connections back after %u us\n", NB, (unsigned)latest);
    assert_true(latest <= RECOVERY_US_MAX);
    assert_int_equal(info_of(n.session).epoch, 2);
    testnet_stop(&n);
}

/* For so long no RESUME leaves the client: it is the turn of others (S20). */
static void wait_for_a_turn(struct testnet *n, uint64_t us)
{
    for (uint64_t until = n->now + us; n->now < until;) {
        n->client->herd.nb_tokens = 0;
        n->client->herd.sent_at = n->now;
        testnet_run(n, n->now + 100);
    }
}

/* S14: a session that gave up while its RESUME waited for its turn says nothing when that comes. */
static void a_resume_of_a_session_that_gave_up_has_no_turn(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s;
    testnet_init(&n, 1);
    n.client_config.hold_us = 200 * MS;
    testnet_start(&n);
    testnet_open(&n, &c, &s);
    exchange(&n, c, s, 0, 1000);
    n.relays[0].dead = true;
    vcl_session_set_paths(n.session, n.now, n.peer.paths, 1);
    testnet_write(&n, c, 1000, 1000, 1);
    while (info_of(n.session).state != VCL_PATH_DEAD)
        wait_for_a_turn(&n, MS);
    uint64_t nb = stats_of(n.client).resumes_sent;
    testnet_run(&n, n.now + SECOND);
    assert_int_equal(stats_of(n.client).resumes_sent, nb);
    testnet_stop(&n);
}

/* S14: nor is one that waited sent under the id with which its session starts over: no server knows that yet. */
static void a_resume_that_waits_goes_with_its_id(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s;
    uint8_t token[PMW_TOKEN_BYTES], key[PMW_KEY_BYTES];
    testnet_init(&n, 1);
    n.client_config.tombstone_us = 10 * MS;
    testnet_start(&n);
    testnet_open(&n, &c, &s);
    exchange(&n, c, s, 0, 1000);
    n.relays[0].dead = true;
    testnet_write(&n, c, 1000, 1000, 1);
    while (info_of(n.session).state == VCL_PATH_ACTIVE)
        wait_for_a_turn(&n, MS);
    vcl_conn_abort(c, n.now);
    c->peer_knows_reset = true; /* else its tombstone stays until the session gives up (C7) */
    vcl_conn_release(c, n.now);
    while (vcl__session_in_use(n.session))
        wait_for_a_turn(&n, MS);
    assert_true(list_linked(&n.session->dial->resuming));
    testnet_token(&n, 1700000000, 600, token, key);
    assert_int_equal(vcl_session_set_token(n.session, token, key), VCL_OK);
    uint64_t id = n.session->id, nb = stats_of(n.client).resumes_sent;
    assert_int_equal(vcl_conn_open(n.session, n.now, &c), VCL_OK);
    assert_int_not_equal(n.session->id, id);
    testnet_run(&n, n.now + MS);
    assert_int_equal(stats_of(n.client).resumes_sent, nb);
    testnet_stop(&n);
}

static int resume_in(struct testnet *n, uint32_t epoch)
{
    struct pmw_resume r = {.session_id = n->session->id, .nonce = 99, .epoch = epoch, .server_id = TESTNET_SERVER_ID};
    uint8_t buf[PMW_RESUME_FIXED_BYTES];
    int len = pmw_resume_encode(buf, sizeof(buf), &r);
    pmw_control_seal(buf, (size_t)len, n->session->keys.mac_c2s);
    return vcl_engine_receive(n->server, n->now, &n->client_addr, buf, (size_t)len);
}

/* One for which there is no room changes nothing: those of its session that wait have their turn all the same. */
static void a_resume_without_room_overtakes_nothing(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s;
    testnet_init(&n, 0);
    n.server_config.resumes_per_ms_max = 1;
    testnet_start(&n);
    testnet_open(&n, &c, &s);
    testnet_run(&n, n.now + MS);
    assert_int_equal(resume_in(&n, 2), 0); /* its turn is now */
    assert_int_equal(info_of(vcl_conn_session(s)).epoch, 2);
    for (int i = 0; i < RESUMES_WAITING_MAX; i++)
        assert_int_equal(resume_in(&n, 3), 0);
    assert_int_equal(resume_in(&n, 4), VCL_DROP_LIMIT);
    testnet_run(&n, n.now + 10 * MS);
    assert_int_equal(info_of(vcl_conn_session(s)).epoch, 3);
    testnet_stop(&n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(case_23_planned_move_resends_nothing),
        cmocka_unit_test(planned_move_to_a_dead_path_stays),
        cmocka_unit_test(a_server_that_is_ahead_is_caught_up_with),
        cmocka_unit_test(case_21_told_elsewhere_while_moving),
        cmocka_unit_test(case_22_taken_away_while_leaving),
        cmocka_unit_test(a_thousand_busy_connections_fail_over),
        cmocka_unit_test(a_resume_of_a_session_that_gave_up_has_no_turn),
        cmocka_unit_test(a_resume_that_waits_goes_with_its_id),
        cmocka_unit_test(a_resume_without_room_overtakes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
