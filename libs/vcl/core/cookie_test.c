/* SPDX-License-Identifier: Apache-2.0
 *
 * OPEN under load (S17): cookies, quotas, and that nothing a stranger sends takes room or makes a server talk more than
 * it was told.
 */
#include "state.h"
#include "testkit.h"
#include "testnet.h"

#include <string.h>

enum { MS = 1000, SECOND = 1000000, MINUTE = 60 * SECOND };

static struct pmw_addr stranger(uint32_t number)
{
    return (struct pmw_addr){.ip = {203, 0, (uint8_t)(number >> 8), (uint8_t)number},
                             .port = (uint16_t)(1024 + (number >> 16)),
                             .family = 4};
}

/* An OPEN as a client with the peer's token would send it. */
static size_t make_open(const struct testnet *n, uint64_t session_id, uint64_t nonce, const uint8_t *cookie,
                        uint8_t buf[PMW_OPEN_BYTES])
{
    struct pmw_session_keys keys;
    struct pmw_open o = {.session_id = session_id,
                         .open_nonce = nonce,
                         .epoch = 1,
                         .rwnd = 65536,
                         .server_id = TESTNET_SERVER_ID,
                         .client_port = 40000};
    memcpy(o.token, n->peer.token, PMW_TOKEN_BYTES);
    if (cookie != NULL)
        memcpy(o.cookie, cookie, PMW_COOKIE_BYTES);
    int len = pmw_open_encode(buf, PMW_OPEN_BYTES, &o);
    assert_true(len > 0);
    pmw_session_keys_derive(&keys, n->peer.token_key, session_id);
    pmw_control_seal(buf, (size_t)len, keys.mac_c2s);
    return (size_t)len;
}

struct talk { /* what a server did with what it was told */
    uint64_t bytes_in, bytes_out;
    int type; /* of its last answer, -1 = none */
    uint8_t cookie[PMW_COOKIE_BYTES];
};

static void tell(struct testnet *n, const struct pmw_addr *from, const uint8_t *buf, size_t len, struct talk *t)
{
    struct vcl_datagram out;
    t->type = -1;
    t->bytes_in += len;
    vcl_engine_receive(n->server, n->now, from, buf, len);
    while (vcl_engine_send(n->server, n->now, &out)) {
        if (!pmw_addr_equal(&out.to, from))
            continue;
        t->bytes_out += out.len;
        t->type = pmw_type_of(out.bytes, out.len);
        struct pmw_open_cookie k;
        if (t->type == PMW_OPEN_COOKIE && pmw_open_cookie_decode(out.bytes, out.len, &k) >= 0)
            memcpy(t->cookie, k.cookie, sizeof(t->cookie));
    }
}

static int open_from(struct testnet *n, const struct pmw_addr *from, uint64_t id, const uint8_t *cookie, struct talk *t)
{
    uint8_t buf[PMW_OPEN_BYTES];
    size_t len = make_open(n, id, id, cookie, buf);
    tell(n, from, buf, len, t);
    return t->type;
}

static struct vcl_stats stats_of(struct vcl_engine *e)
{
    struct vcl_stats st;
    vcl_engine_stats(e, &st);
    return st;
}

/* The 1,000 of this second are taken. */
static void load(struct testnet *n)
{
    n->server->cookies.opens = (struct rate){n->now, COOKIE_FREE_OPENS_MAX};
}

/* Above 1,000 a second a server keeps nothing and asks; the second after it is as before. */
static void s17_a_thousand_a_second_are_free(void **state)
{
    struct testnet n;
    struct talk t = {0};
    struct vcl_conn *c;
    testnet_init(&n, 0);
    testnet_start(&n);
    for (uint32_t i = 0; i < COOKIE_FREE_OPENS_MAX; i++) {
        struct pmw_addr from = stranger(i);
        assert_int_equal(open_from(&n, &from, 0x10000 + i, NULL, &t), PMW_OPEN_ACK);
        assert_int_equal(vcl_conn_accept(n.server, &c), VCL_OK);
        vcl_conn_release(c, n.now);
    }
    uint32_t before = stats_of(n.server).nb_sessions;
    assert_int_equal(before, COOKIE_FREE_OPENS_MAX);
    for (uint32_t i = 2000; i < 3000; i++) {
        struct pmw_addr from = stranger(i);
        assert_int_equal(open_from(&n, &from, 0x10000 + i, NULL, &t), PMW_OPEN_COOKIE);
    }
    assert_int_equal(stats_of(n.server).nb_sessions, before);
    assert_int_equal(stats_of(n.server).open_cookies, 1000);
    assert_true(t.bytes_out < t.bytes_in);
    n.now += SECOND;
    struct pmw_addr from = stranger(9);
    assert_int_equal(open_from(&n, &from, 5, NULL, &t), PMW_OPEN_ACK);
    testnet_stop(&n);
}

/* Half of the backlog taken is load, too. */
static void s17_half_a_backlog_is_load(void **state)
{
    struct testnet n;
    struct talk t = {0};
    testnet_init(&n, 0);
    n.server_config.backlog_max = 10;
    testnet_start(&n);
    struct pmw_addr from = stranger(1);
    for (uint64_t i = 0; i < 5; i++)
        assert_int_equal(open_from(&n, &from, 100 + i, NULL, &t), PMW_OPEN_ACK);
    assert_int_equal(open_from(&n, &from, 200, NULL, &t), PMW_OPEN_COOKIE);
    assert_int_equal(open_from(&n, &from, 200, t.cookie, &t), PMW_OPEN_ACK);
    testnet_stop(&n);
}

/* Bound to address, port, session, nonce and minute: this one and the last; the secret changes meanwhile. */
static void s17_a_cookie_is_good_for_what_it_was_made_for(void **state)
{
    for (uint64_t start = 0; start < 4; start++) {
        struct testnet n;
        struct talk t = {0};
        uint8_t cookie[PMW_COOKIE_BYTES];
        testnet_init(&n, 0);
        n.now = start * 45 * SECOND + 50 * SECOND; /* secrets turn at different points of the cookie's life */
        testnet_start(&n);
        load(&n);
        struct pmw_addr from = stranger(5000), port = from, host = stranger(5001);
        port.port++;
        assert_int_equal(open_from(&n, &from, 7, NULL, &t), PMW_OPEN_COOKIE);
        memcpy(cookie, t.cookie, sizeof(cookie));
        assert_int_equal(open_from(&n, &port, 7, cookie, &t), PMW_OPEN_COOKIE);
        assert_int_equal(open_from(&n, &host, 7, cookie, &t), PMW_OPEN_COOKIE);
        assert_int_equal(open_from(&n, &from, 8, cookie, &t), PMW_OPEN_COOKIE);
        uint64_t made = n.now;
        n.now = made - made % MINUTE + 2 * (uint64_t)MINUTE - 1; /* the last moment of the next minute */
        load(&n);
        assert_int_equal(open_from(&n, &from, 7, cookie, &t), PMW_OPEN_ACK);
        struct pmw_addr late = stranger(6000);
        n.now = made;
        testnet_stop(&n);

        testnet_init(&n, 0);
        n.now = made;
        testnet_start(&n);
        load(&n);
        assert_int_equal(open_from(&n, &late, 9, NULL, &t), PMW_OPEN_COOKIE);
        memcpy(cookie, t.cookie, sizeof(cookie));
        n.now = made - made % MINUTE + 2 * (uint64_t)MINUTE; /* the minute after that */
        load(&n);
        assert_int_equal(open_from(&n, &late, 9, cookie, &t), PMW_OPEN_COOKIE);
        testnet_stop(&n);
    }
}

static enum verdict under_load(struct testnet *n, struct flight *f)
{
    if (pmw_type_of(f->bytes, f->len) == PMW_OPEN && n->filter_ctx != NULL)
        load(n);
    return DELIVER;
}

/* A client repeats its OPEN with the cookie at once: two round trips instead of one, no error, no PTO. */
static void s17_a_client_opens_under_load(void **state)
{
    for (int nb_relays = 0; nb_relays < 2; nb_relays++) {
        struct testnet n;
        struct vcl_conn *c, *s;
        testnet_init(&n, nb_relays);
        n.filter = under_load;
        n.filter_ctx = &n;
        testnet_start(&n);
        testnet_open(&n, &c, &s);
        assert_int_equal(stats_of(n.server).open_cookies, 1);
        assert_int_equal(stats_of(n.client).ptos, 0);
        assert_true(vcl_conn_session(s)->trial.has_validated); /* S18 */
        testnet_write(&n, c, 0, 1000, 1);
        testnet_run(&n, n.now + 5 * MS);
        assert_int_equal(testnet_read(&n, s, 0, 1), 1000);
        struct vcl_conn *c2, *s2; /* the session was heard by now: its address needs no cookie */
        testnet_open(&n, &c2, &s2);
        assert_int_equal(stats_of(n.server).open_cookies, 1);
        testnet_stop(&n);
    }
}

enum { FAR_US = 40000 };

static enum verdict far_and_under_load(struct testnet *n, struct flight *f)
{
    f->at += FAR_US;
    return under_load(n, f);
}

/* C4, Karn: on a path longer than the first guess of a PTO the OPEN was repeated. The second COOKIE answers the second
 * OPEN, not the one with the first cookie that left a moment ago. */
static void c4_an_open_that_was_repeated_gives_no_round_trip(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s;
    testnet_init(&n, 0);
    n.filter = far_and_under_load;
    n.filter_ctx = &n;
    testnet_start(&n);
    testnet_open(&n, &c, &s);
    testnet_run(&n, n.now + SECOND);
    assert_true(stats_of(n.server).open_cookies > 1);
    assert_in_range(n.session->rtt.min_us, 2 * FAR_US, 3 * FAR_US);
    testnet_stop(&n);
}

static uint32_t nb_opens;

static enum verdict cookies_again(struct testnet *n, struct flight *f)
{
    int type = pmw_type_of(f->bytes, f->len);
    nb_opens += type == PMW_OPEN;
    if (type == PMW_OPEN_ACK)
        return DROP;
    if (type != PMW_OPEN_COOKIE)
        return under_load(n, f);
    for (int i = 0; i < 200; i++)
        vcl_engine_receive(n->client, n->now, &f->from, f->bytes, f->len);
    return DELIVER;
}

/* Somebody repeats a cookie 200 times: the client says OPEN a few times more, not 200. */
static void s17_repeated_cookies_move_a_client_little(void **state)
{
    struct testnet n;
    struct vcl_conn *c;
    testnet_init(&n, 0);
    n.filter = cookies_again;
    n.filter_ctx = &n;
    testnet_start(&n);
    nb_opens = 0;
    assert_int_equal(vcl_conn_open(n.session, n.now, &c), VCL_OK);
    testnet_run(&n, n.now + 5 * MS);
    assert_in_range(nb_opens, 2, 1 + COOKIE_REPEATS_MAX);
    testnet_stop(&n);
}

/* Sessions of one client id: so many, and one more when one of them has ended. Of another id: its own. */
static void s17_a_client_has_so_many_sessions(void **state)
{
    struct testnet n;
    struct talk t = {0};
    testnet_init(&n, 0);
    n.server_config.sessions_per_client_max = 3;
    testnet_start(&n);
    struct pmw_addr from = stranger(1);
    for (uint64_t i = 0; i < 3; i++)
        assert_int_equal(open_from(&n, &from, 100 + i, NULL, &t), PMW_OPEN_ACK);
    assert_int_equal(open_from(&n, &from, 200, NULL, &t), PMW_REFUSED);
    assert_int_equal(stats_of(n.server).nb_sessions, 3);
    testnet_run(&n, n.now + 400 * (uint64_t)SECOND); /* S14: silent sessions end */
    assert_int_equal(stats_of(n.server).nb_sessions, 0);
    testnet_token(&n, 1700000000 + 300, 600, n.peer.token, n.peer.token_key);
    assert_int_equal(open_from(&n, &from, 300, NULL, &t), PMW_OPEN_ACK);
    testnet_stop(&n);
}

/* A client that comes as one short process after the other is not refused: its sessions without connections make room.
 */
static void s17_sessions_left_behind_make_room(void **state)
{
    struct testnet n;
    struct talk t = {0};
    struct vcl_conn *c;
    testnet_init(&n, 0);
    n.server_config.sessions_per_client_max = 20;
    testnet_start(&n);
    struct pmw_addr from = stranger(1);
    for (uint64_t i = 0; i < 100; i++) {
        assert_int_equal(open_from(&n, &from, 100 + i, NULL, &t), PMW_OPEN_ACK);
        assert_int_equal(vcl_conn_accept(n.server, &c), VCL_OK);
        vcl_conn_abort(c, n.now);
        vcl_conn_release(c, n.now);
        testnet_run(&n, n.now + SECOND); /* ten of them have tombstones */
        assert_true(stats_of(n.server).nb_sessions <= 20);
    }
    testnet_stop(&n);
}

/* Connections that one client begins and drops use up no more than its part of the resting ids (W5). */
static void s17_one_client_cannot_use_up_the_ids(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s;
    testnet_init(&n, 0);
    n.server_config.conns_max = 50;
    testnet_start(&n);
    int opened = 0;
    for (int i = 0; i < 120; i++) {
        assert_int_equal(vcl_conn_open(n.session, n.now, &c), VCL_OK);
        testnet_run(&n, n.now + MS);
        if (vcl_conn_accept(n.server, &s) == VCL_OK) {
            vcl_conn_abort(s, n.now);
            vcl_conn_release(s, n.now);
            opened++;
        }
        vcl_conn_release(c, n.now);
        testnet_run(&n, n.now + MS);
    }
    assert_int_equal(opened, 50);
    testnet_run(&n, n.now + 11 * SECOND);
    testnet_open(&n, &c, &s);
    testnet_stop(&n);
}

/* 48. 200,000 OPENs in a fifth of a second, each from another address: copies of a genuine one, foreign tokens, broken
 * MACs, and genuine ones that only the holder of a token can make. Meanwhile an honest client opens connections. */
static void case_48_open_flood(void **state)
{
    struct testnet n;
    struct talk t = {0};
    struct vcl_conn *c, *s;
    uint8_t genuine[PMW_OPEN_BYTES], buf[PMW_OPEN_BYTES];
    uint64_t random = 48;
    testnet_init(&n, 0);
    testnet_start(&n);
    make_open(&n, 77, 77, NULL, genuine);
    for (uint32_t i = 0; i < 200000; i++) {
        struct pmw_addr from = stranger((uint32_t)draw(&random));
        size_t len = PMW_OPEN_BYTES;
        memcpy(buf, genuine, len);
        if (i % 4 == 1)
            buf[40 + below(&random, PMW_TOKEN_BYTES)] ^= 1;
        else if (i % 4 == 2)
            buf[len - 1 - below(&random, PMW_MAC_BYTES)] ^= 1;
        else if (i % 4 == 3)
            len = make_open(&n, draw(&random), i, NULL, buf);
        tell(&n, &from, buf, len, &t);
        n.now++;
        if (i % 20000 == 19999) {
            struct vcl_conn_info info;
            uint64_t began = n.now;
            assert_int_equal(vcl_conn_open(n.session, n.now, &c), VCL_OK);
            do {
                testnet_run(&n, n.now + 100);
                vcl_conn_info(c, &info);
                while (info.cid == 0 && vcl_conn_accept(n.server, &s) == VCL_OK)
                    vcl_conn_release(s, n.now); /* what the flood left, but by the backlog's order */
            } while (info.cid == 0 && n.now < began + 50 * MS);
            assert_true(info.cid != 0);
        }
    }
    struct vcl_stats st = stats_of(n.server);
    assert_true(t.bytes_out <= t.bytes_in); /* of every single one: 76 or 56 for 136 */
    assert_true(st.nb_sessions <= COOKIE_FREE_OPENS_MAX + 2);
    assert_true(st.drops[VCL_DROP_TOKEN] >= 50000 && st.drops[VCL_DROP_MAC] >= 50000);
    assert_true(st.open_cookies > 0);
    testnet_stop(&n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(s17_a_thousand_a_second_are_free),
        cmocka_unit_test(s17_half_a_backlog_is_load),
        cmocka_unit_test(s17_a_cookie_is_good_for_what_it_was_made_for),
        cmocka_unit_test(s17_a_client_opens_under_load),
        cmocka_unit_test(c4_an_open_that_was_repeated_gives_no_round_trip),
        cmocka_unit_test(s17_repeated_cookies_move_a_client_little),
        cmocka_unit_test(s17_a_client_has_so_many_sessions),
        cmocka_unit_test(s17_sessions_left_behind_make_room),
        cmocka_unit_test(s17_one_client_cannot_use_up_the_ids),
        cmocka_unit_test(case_48_open_flood),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
