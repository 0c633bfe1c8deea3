/* SPDX-License-Identifier: Apache-2.0
 *
 * Tokens: forged, expired, renewed; sessions that outlive them (K2-K4, S14).
 */
#include "testkit.h"
#include "testnet.h"

#include <string.h>

enum { MS = 1000, SECOND = 1000000 };

static enum vcl_drop open_with(struct testnet *n, void (*change)(struct pmw_token *t))
{
    struct vcl_conn *c;
    struct vcl_datagram out;
    struct pmw_token t;
    testnet_init(n, 0);
    pmw_token_decode(n->peer.token, &t);
    change(&t);
    pmw_token_encode(n->peer.token, &t);
    testnet_start(n);
    assert_int_equal(vcl_conn_open(n->session, n->now, &c), VCL_OK);
    assert_int_equal(vcl_engine_send(n->client, n->now, &out), 1);
    enum vcl_drop drop = (enum vcl_drop)vcl_engine_receive(n->server, n->now, &n->client_addr, out.bytes, out.len);
    struct vcl_stats st;
    vcl_engine_stats(n->server, &st);
    assert_int_equal(st.nb_sessions + st.nb_conns, 0);
    assert_int_equal(vcl_engine_send(n->server, n->now, &out), 0); /* not even an answer */
    testnet_stop(n);
    return drop;
}

static void other_server(struct pmw_token *t)
{
    t->server_id++;
}

static void other_key(struct pmw_token *t)
{
    t->key_id++;
}

static void longer_life(struct pmw_token *t)
{
    t->lifetime_s++;
}

static void forged_tokens_leave_no_state(void **state)
{
    struct testnet n;
    assert_int_equal(open_with(&n, other_server), VCL_DROP_TOKEN);
    assert_int_equal(open_with(&n, other_key), VCL_DROP_TOKEN);
    assert_int_equal(open_with(&n, longer_life), VCL_DROP_TOKEN);
}

/* K4: refused with the reason; a renewed token opens; without one it ends. */
static void an_expired_token_is_renewed(void **state)
{
    for (int renew = 0; renew < 2; renew++) {
        struct testnet n;
        struct vcl_conn *c;
        uint8_t token[PMW_TOKEN_BYTES], key[PMW_KEY_BYTES];
        testnet_init(&n, 0);
        testnet_token(&n, 1700000000 - 700, 600, n.peer.token, n.peer.token_key);
        testnet_start(&n);
        assert_int_equal(vcl_conn_open(n.session, n.now, &c), VCL_OK);
        testnet_run(&n, n.now + 50 * MS);
        assert_int_equal(testnet_count(n.client_events, n.nb_client_events, VCL_EV_TOKEN_WANTED), 1);
        struct vcl_stats st;
        vcl_engine_stats(n.server, &st);
        assert_int_equal(st.nb_sessions, 0);
        assert_int_equal(st.drops[VCL_DROP_TOKEN_EXPIRED], 1);
        if (renew) {
            testnet_token(&n, 1700000000, 600, token, key);
            assert_int_equal(vcl_session_set_token(n.session, token, key), VCL_OK);
        }
        testnet_run(&n, n.now + 11 * SECOND);
        assert_int_equal(vcl_conn_error(c), renew ? VCL_OK : VCL_ERR_TOKEN);
        assert_int_equal(testnet_count(n.client_events, n.nb_client_events, VCL_EV_CONN_OPENED), renew);
        testnet_stop(&n);
    }
}

/* The skew of K4, both ends of a lifetime. */
static void lifetimes_have_thirty_seconds_of_skew(void **state)
{
    struct {
        int64_t not_before;
        bool opens;
    } table[] = {{-629, true}, {-632, false}, {31, true}, {32, false}}; /* the test's time begins at 1 s */
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct testnet n;
        struct vcl_conn *c;
        testnet_init(&n, 0);
        testnet_token(&n, (uint32_t)(1700000000 + table[i].not_before), 600, n.peer.token, n.peer.token_key);
        testnet_start(&n);
        assert_int_equal(vcl_conn_open(n.session, n.now, &c), VCL_OK);
        testnet_run(&n, n.now + 50 * MS);
        assert_int_equal(testnet_count(n.client_events, n.nb_client_events, VCL_EV_CONN_OPENED), table[i].opens);
        testnet_stop(&n);
    }
}

/* Asked for once, a minute before its end, and only when it was used. */
static void renewal_is_asked_for_in_time(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s;
    testnet_init(&n, 0);
    testnet_start(&n);
    testnet_run(&n, n.now + 10 * SECOND);
    testnet_open(&n, &c, &s);
    testnet_run(&n, 539 * (uint64_t)SECOND);
    assert_int_equal(testnet_count(n.client_events, n.nb_client_events, VCL_EV_TOKEN_WANTED), 0);
    testnet_run(&n, 541 * (uint64_t)SECOND);
    assert_int_equal(testnet_count(n.client_events, n.nb_client_events, VCL_EV_TOKEN_WANTED), 1);
    testnet_run(&n, 2000 * (uint64_t)SECOND);
    assert_int_equal(testnet_count(n.client_events, n.nb_client_events, VCL_EV_TOKEN_WANTED), 1);
    testnet_stop(&n);
}

/* K4: the end of a token ends nothing; a renewed one opens more connections of the same session, under its first keys.
 */
static void a_live_session_outlives_its_token(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s, *c2, *s2;
    struct vcl_session_info before, after;
    uint8_t token[PMW_TOKEN_BYTES], key[PMW_KEY_BYTES];
    testnet_init(&n, 0);
    testnet_start(&n);
    testnet_open(&n, &c, &s);
    vcl_session_info(n.session, &before);
    testnet_run(&n, n.now + 1000 * (uint64_t)SECOND);
    testnet_write(&n, c, 0, 100, 1);
    testnet_run(&n, n.now + MS);
    assert_int_equal(testnet_read(&n, s, 0, 1), 100);
    testnet_token(&n, 1700000000 + 1000, 600, token, key);
    assert_int_equal(vcl_session_set_token(n.session, token, key), VCL_OK);
    testnet_open(&n, &c2, &s2);
    vcl_session_info(n.session, &after);
    assert_int_equal(after.id, before.id);
    assert_ptr_equal(vcl_conn_session(s), vcl_conn_session(s2));
    testnet_stop(&n);
}

/* The server has forgotten an idle session; a renewed token opens a fresh one. */
static void an_idle_session_starts_over(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s;
    uint8_t token[PMW_TOKEN_BYTES], key[PMW_KEY_BYTES];
    testnet_init(&n, 0);
    testnet_start(&n);
    for (int i = 1; i < 4; i++) {
        testnet_open(&n, &c, &s);
        vcl_conn_release(c, n.now);
        vcl_conn_release(s, n.now);
        testnet_run(&n, n.now + 400 * (uint64_t)SECOND);
        struct vcl_stats st;
        vcl_engine_stats(n.server, &st);
        assert_int_equal(st.nb_sessions, 0);
        testnet_token(&n, 1700000000 + (uint32_t)i * 400, 600, token, key);
        assert_int_equal(vcl_session_set_token(n.session, token, key), VCL_OK);
    }
    testnet_stop(&n);
}

static enum verdict drop_opens(struct testnet *n, struct flight *f)
{
    return pmw_type_of(f->bytes, f->len) == PMW_OPEN ? DROP : DELIVER;
}

/* A token that is renewed while the first OPEN is on its way leaves no ghost at the server; one whose key the server
 * does not know (all its OPENs are in vain) is not waited for. */
static void a_renewal_meets_the_first_open(void **state)
{
    for (int silent = 0; silent < 2; silent++) {
        struct testnet n;
        struct vcl_conn *c, *s, *c2, *s2;
        struct vcl_session_info first, later;
        struct vcl_stats st;
        uint8_t token[PMW_TOKEN_BYTES], key[PMW_KEY_BYTES];
        testnet_init(&n, 0);
        testnet_start(&n);
        n.filter = silent ? drop_opens : NULL;
        assert_int_equal(vcl_conn_open(n.session, n.now, &c), VCL_OK);
        vcl_session_info(n.session, &first);
        testnet_flush(&n);
        testnet_token(&n, 1700000000, 600, token, key);
        assert_int_equal(vcl_session_set_token(n.session, token, key), VCL_OK);
        testnet_run(&n, n.now + 100 * MS);
        vcl_session_info(n.session, &later);
        assert_true((later.id != first.id) == silent);
        n.filter = NULL;
        testnet_run(&n, n.now + 500 * MS);
        vcl_engine_stats(n.server, &st);
        assert_int_equal(st.nb_sessions, 1);
        assert_int_equal(st.nb_conns, 1);
        assert_int_equal(vcl_conn_accept(n.server, &s), VCL_OK);
        assert_int_equal(testnet_count(n.client_events, n.nb_client_events, VCL_EV_CONN_OPENED), 1);
        testnet_open(&n, &c2, &s2);
        assert_ptr_equal(vcl_conn_session(s), vcl_conn_session(s2));
        testnet_stop(&n);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forged_tokens_leave_no_state),          cmocka_unit_test(an_expired_token_is_renewed),
        cmocka_unit_test(lifetimes_have_thirty_seconds_of_skew), cmocka_unit_test(renewal_is_asked_for_in_time),
        cmocka_unit_test(a_live_session_outlives_its_token),     cmocka_unit_test(an_idle_session_starts_over),
        cmocka_unit_test(a_renewal_meets_the_first_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
