/* SPDX-License-Identifier: Apache-2.0
 *
 * Connections at rest, of which nobody has heard for long: what they are told late, and what must not be concluded from
 * their silence (S14, C7, C11).
 */
#include "testkit.h"

#include "state.h"
#include "testnet.h"

enum { MS = 1000, SECOND = 1000000 };

static void start(struct testnet *n, int nb_relays, struct vcl_conn **c, struct vcl_conn **s)
{
    testnet_init(n, nb_relays);
    testnet_start(n);
    testnet_open(n, c, s);
    assert_int_equal(testnet_write(n, *c, 0, 1000, 1), 1000);
    testnet_run(n, n->now + 100 * MS);
    assert_int_equal(testnet_read(n, *s, 0, 1), 1000);
}

static uint64_t one_way_us;

static enum verdict far_away(struct testnet *n, struct flight *f)
{
    if (pmw_addr_equal(&f->from, &n->client_addr) || pmw_addr_equal(&f->to, &n->client_addr))
        f->at += one_way_us;
    return DELIVER;
}

/* S14: the helper died while both ends rested. What the server then has to say arrives by another path. */
static void s14_a_push_after_a_rest_survives_a_dead_helper(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s;
    start(&n, 1, &c, &s);
    testnet_run(&n, n.now + 90 * (uint64_t)SECOND);
    n.relays[0].dead = true;
    testnet_write(&n, s, 0, 1000, 2);
    testnet_run(&n, n.now + 6 * SECOND); /* S12: it is noticed with the next keepalive at the latest */
    assert_int_equal(testnet_read(&n, c, 0, 2), 1000);
    assert_int_equal(vcl_conn_error(s), VCL_OK);
    testnet_stop(&n);
}

/* S14: the first words of a server after a rest, to a client much further away than the first guess of a PTO. */
static void s14_a_first_push_to_a_far_client(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s;
    one_way_us = 150 * MS;
    testnet_init(&n, 0);
    n.filter = far_away;
    testnet_start(&n);
    testnet_open(&n, &c, &s);
    testnet_run(&n, n.now + 90 * (uint64_t)SECOND);
    testnet_write(&n, s, 0, 1000, 2);
    testnet_run(&n, n.now + 2 * SECOND);
    assert_int_equal(testnet_read(&n, c, 0, 2), 1000);
    assert_int_equal(vcl_conn_error(s), VCL_OK);
    testnet_stop(&n);
}

/* S14: a server that stood still has heard the client just before it looks; how long it stood still does not count. */
static void s14_a_standstill_of_the_server_puts_nothing_off(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s;
    start(&n, 0, &c, &s);
    struct vcl_engine *client = n.client;
    testnet_run(&n, n.now + 45 * (uint64_t)SECOND);
    n.server_asleep_until = n.now + 50 * (uint64_t)SECOND; /* it looks after 70 s */
    testnet_run(&n, n.now + 51 * (uint64_t)SECOND);
    n.client = NULL;
    testnet_run(&n, n.now + 75 * (uint64_t)SECOND);
    assert_int_equal(vcl_conn_error(s), VCL_ERR_TIMEOUT);
    n.client = client;
    testnet_stop(&n);
}

static enum verdict no_data_to_server(struct testnet *n, struct flight *f)
{
    return pmw_type_of(f->bytes, f->len) == PMW_DATA && pmw_addr_equal(&f->to, &n->server_addr) ? DROP : DELIVER;
}

/* C11: a RESUME that lists the connection answers its keepalives. */
static void c11_a_resume_answers_keepalives(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s;
    start(&n, 1, &c, &s);
    vcl_conn_set_keepalive(s, n.now, 1000);
    s->nb_keepalives = 3;
    n.relays[0].dead = true;
    n.filter = no_data_to_server;
    testnet_write(&n, c, 1000, 1000, 1); /* makes the client move, and list it */
    testnet_flush(&n);
    while (vcl_conn_error(s) == VCL_OK && s->nb_keepalives == 3 && n.now < 100 * (uint64_t)SECOND)
        testnet_run(&n, n.now + 100);
    assert_int_equal(s->nb_keepalives, 0);
    assert_int_equal(vcl_conn_error(s), VCL_OK);
    testnet_stop(&n);
}

/* C11: the end whose keepalives fail says RESET, also when the other one never sends anything. */
static void c11_both_ends_hear_of_failed_keepalives(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s;
    start(&n, 1, &c, &s);
    vcl_session_set_paths(n.session, n.now, n.peer.paths, 1); /* no direct path */
    vcl_conn_set_keepalive(c, n.now, 1000);
    n.relays[0].dead = true;
    testnet_run(&n, n.now + 8 * SECOND);
    assert_int_equal(vcl_conn_error(c), VCL_ERR_TIMEOUT);
    assert_int_equal(vcl_conn_error(s), VCL_OK);
    n.relays[0].dead = false;
    testnet_run(&n, n.now + 6 * SECOND);
    assert_int_equal(vcl_conn_error(s), VCL_ERR_RESET);
    testnet_stop(&n);
}

/* C7, S16: RESET meets an outage that is longer than a tombstone, and the other end has nothing to say that would show
 * it. One of three connections ends, at one end or the other, or all at the server: RESUME lists only one at rest. */
static void c7_a_reset_outlives_an_outage(void **state)
{
    enum { BY_CLIENT, BY_SERVER, ALL_BY_SERVER };
    for (int how = BY_CLIENT; how <= ALL_BY_SERVER; how++) {
        struct testnet n;
        struct vcl_conn *c[3], *s[3];
        struct vcl_stats st;
        start(&n, 1, &c[0], &s[0]);
        for (int i = 1; i < 3; i++)
            testnet_open(&n, &c[i], &s[i]);
        vcl_session_set_paths(n.session, n.now, n.peer.paths, 1);
        testnet_run(&n, n.now + SECOND);
        testnet_write(&n, s[0], 0, 1000, 2); /* arrives when RESET has been said: that proves nothing of RESET */
        n.relays[0].dead_to_server = true;
        for (int i = 0; i < 3; i++) {
            if (how != ALL_BY_SERVER && i != 1)
                continue;
            vcl_conn_abort(how == BY_CLIENT ? c[i] : s[i], n.now);
            vcl_conn_release(how == BY_CLIENT ? c[i] : s[i], n.now);
        }
        n.relays[0].dead = true;
        testnet_run(&n, n.now + 34 * SECOND);
        n.relays[0].dead = n.relays[0].dead_to_server = false;
        testnet_run(&n, n.now + 5 * SECOND);
        for (int i = 0; i < 3; i++) {
            int expected = how == ALL_BY_SERVER || i == 1 ? VCL_ERR_RESET : VCL_OK;
            assert_int_equal(vcl_conn_error(how == BY_CLIENT ? s[i] : c[i]), expected);
        }
        testnet_run(&n, n.now + 11 * SECOND);
        vcl_engine_stats(how == BY_CLIENT ? n.client : n.server, &st);
        assert_int_equal(st.nb_conns, how == ALL_BY_SERVER ? 0 : 2); /* nothing stays longer than it has to */
        testnet_stop(&n);
    }
}

static unsigned nb_resets;

static enum verdict count_resets(struct testnet *n, struct flight *f)
{
    nb_resets += pmw_type_of(f->bytes, f->len) == PMW_RESET;
    return pmw_type_of(f->bytes, f->len) == PMW_RESET ? DROP : DELIVER;
}

/* C7: also where the round trip seems to be a second, for what came before was an outage. */
static void c7_a_reset_is_repeated_on_a_slow_path(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s;
    start(&n, 0, &c, &s);
    s->s->rtt = (struct rtt){.sampled = true, .srtt_us = SECOND, .rttvar_us = SECOND / 2};
    n.filter = count_resets;
    nb_resets = 0;
    vcl_conn_abort(s, n.now);
    testnet_run(&n, n.now + 10 * SECOND);
    assert_in_range(nb_resets, 7, 12);
    testnet_stop(&n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(s14_a_push_after_a_rest_survives_a_dead_helper),
        cmocka_unit_test(s14_a_standstill_of_the_server_puts_nothing_off),
        cmocka_unit_test(s14_a_first_push_to_a_far_client),
        cmocka_unit_test(c11_a_resume_answers_keepalives),
        cmocka_unit_test(c11_both_ends_hear_of_failed_keepalives),
        cmocka_unit_test(c7_a_reset_outlives_an_outage),
        cmocka_unit_test(c7_a_reset_is_repeated_on_a_slow_path),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
