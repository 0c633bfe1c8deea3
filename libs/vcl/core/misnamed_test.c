/* SPDX-License-Identifier: Apache-2.0
 *
 * A path that works, of which the server takes no RESUME: it knows the helper at that address by another name. Who is
 * on it notices, and goes elsewhere (S16, S18, S19).
 */
#include "paths_kit.h"
#include "state.h"

/* A connection by the first of two helpers, whose address was given the name 99. */
static void misnamed(struct testnet *n, enum verdict (*filter)(struct testnet *, struct flight *), struct vcl_conn **c,
                     struct vcl_conn **s)
{
    testnet_init(n, 2);
    n->peer.paths[0].helper_id = 99;
    n->filter = filter;
    testnet_start(n);
    testnet_open(n, c, s);
    assert_int_equal(info_of(n->session).active_helper_id, 99);
}

/* Nobody can prove that path; the client hears why. */
static void s18_a_path_of_another_name_is_left(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s;
    misnamed(&n, NULL, &c, &s);
    testnet_write(&n, s, 0, 8000, 2); /* more than the limit of S18, and the client says nothing */
    read_until(&n, c, 0, 8000, 2);
    assert_int_equal(info_of(n.session).active_helper_id, 101);
    assert_true(vcl_conn_session(s)->trial.has_validated);
    assert_int_equal(stats_of(n.server).trials_failed, 0);
    testnet_stop(&n);
}

static enum verdict no_challenge(struct testnet *n, struct flight *f)
{
    return pmw_type_of(f->bytes, f->len) == PMW_PATH_CHALLENGE ? DROP : DELIVER;
}

/* S16: nor is RESUME answered that asks whether the server still has a connection, whose bytes wait for that. */
static void s16_who_asks_in_vain_asks_elsewhere(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s;
    misnamed(&n, no_challenge, &c, &s); /* they would say so */
    exchange(&n, c, s, 0, 1000);
    vcl__resume_ask_all(n.session);
    testnet_write(&n, c, 1000, 1000, 1);
    testnet_run(&n, n.now + 3 * SECOND);
    assert_int_equal(testnet_read(&n, s, 1000, 1), 1000);
    assert_int_equal(info_of(n.session).active_helper_id, 101);
    assert_int_equal(info_of(n.session).epoch, info_of(vcl_conn_session(s)).epoch);
    testnet_stop(&n);
}

static enum verdict no_resume_ack(struct testnet *n, struct flight *f)
{
    return pmw_type_of(f->bytes, f->len) == PMW_RESUME_ACK ? DROP : DELIVER;
}

/* S19: such a path answers probes, but no RESUME that asks whether the session may stay. */
static void s19_a_path_that_answers_no_resume_is_left(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s;
    misnamed(&n, NULL, &c, &s);
    n.filter = no_resume_ack;
    vcl_session_hint(n.session, n.now, 99, VCL_HINT_DRAIN);
    while (n.session->dial->plan.state != PLAN_STAYS)
        testnet_run(&n, n.now + MS);
    n.filter = NULL;
    testnet_run(&n, n.now + SECOND);
    assert_int_equal(info_of(n.session).epoch, info_of(vcl_conn_session(s)).epoch);
    assert_true(info_of(n.session).active_helper_id != 99);
    assert_int_equal(info_of(n.session).active_helper_id, info_of(vcl_conn_session(s)).active_helper_id);
    exchange(&n, c, s, 0, 8000);
    testnet_stop(&n);
}

static uint64_t late_us;

static enum verdict late_resumes(struct testnet *n, struct flight *f)
{
    if (pmw_type_of(f->bytes, f->len) != PMW_RESUME)
        return DELIVER;
    if (pmw_addr_equal(&f->to, &n->relays[1].addr))
        return DROP;
    if (pmw_addr_equal(&f->to, &n->relays[0].addr))
        f->at = n->now + late_us;
    return DELIVER;
}

/* S19: the RESUMEs that ask whether the session may stay come after the one that asks the next candidate. */
static void s19_a_late_resume_takes_no_later_one_back(void **state)
{
    for (late_us = 35 * MS; late_us <= 45 * MS; late_us += 100) /* some come within its round trip */ {
        struct testnet n;
        struct vcl_conn *c, *s;
        uint64_t at = 0;
        testnet_init(&n, 2);
        testnet_start(&n);
        testnet_open(&n, &c, &s);
        n.filter = late_resumes;
        vcl_session_hint(n.session, n.now, 100, VCL_HINT_DRAIN);
        for (uint64_t until = n.now + SECOND; n.now < until; at += 100)
            exchange(&n, c, s, at, 100);
        assert_int_equal(info_of(n.session).epoch, info_of(vcl_conn_session(s)).epoch);
        assert_int_equal(info_of(n.session).active_helper_id, info_of(vcl_conn_session(s)).active_helper_id);
        testnet_stop(&n);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(s18_a_path_of_another_name_is_left),
        cmocka_unit_test(s16_who_asks_in_vain_asks_elsewhere),
        cmocka_unit_test(s19_a_path_that_answers_no_resume_is_left),
        cmocka_unit_test(s19_a_late_resume_takes_no_later_one_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
