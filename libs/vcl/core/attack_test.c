/* SPDX-License-Identifier: Apache-2.0
 *
 * What an attacker can do with frames that he saw, or can make: copies from elsewhere, copies later, forged RESUME, ids
 * of other connections. And the two ways in which a server comes to an end of its own: other keys, another process.
 */
#include "state.h"
#include "testkit.h"
#include "testnet.h"

#include <string.h>

enum { MS = 1000, SECOND = 1000000, CAPTURED_MAX = 2000 };

static const struct pmw_addr elsewhere = {.ip = {203, 0, 113, 66}, .port = 6666, .family = 4};

static struct vcl_stats stats_of(struct vcl_engine *e)
{
    struct vcl_stats st;
    vcl_engine_stats(e, &st);
    return st;
}

static uint64_t to_elsewhere; /* bytes that the server sent there */

static enum verdict count_elsewhere(struct testnet *n, struct flight *f)
{
    to_elsewhere += pmw_addr_equal(&f->to, &elsewhere) ? f->len : 0;
    return DELIVER;
}

static void talk(struct testnet *n, struct vcl_conn *c, struct vcl_conn *s, uint64_t *offset)
{
    testnet_write(n, c, *offset, 100, 1);
    testnet_write(n, s, *offset, 100, 2);
    testnet_run(n, n->now + 300 * MS);
    assert_int_equal(testnet_read(n, s, *offset, 1), 100);
    assert_int_equal(testnet_read(n, c, *offset, 2), 100);
    *offset += 100;
}

static struct flight captured[CAPTURED_MAX];
static uint32_t nb_captured;

static enum verdict capture(struct testnet *n, struct flight *f)
{
    if (pmw_addr_equal(&f->to, &n->server_addr) && nb_captured < CAPTURED_MAX)
        captured[nb_captured++] = *f;
    return DELIVER;
}

/* 36. Everything that a client ever said, OPEN, DATA, PROBE and two RESUMEs, again from another address a minute later:
 * the path stays, nothing is delivered twice, and that address gets fewer bytes than it sent. */
static void case_36_replay_from_elsewhere(void **state)
{
    for (int nb_relays = 0; nb_relays < 2; nb_relays++) {
        struct testnet n;
        struct vcl_conn *c, *s;
        struct vcl_session_info before, after;
        uint64_t offset = 0, sent = 0;
        bool resumes = false;
        testnet_init(&n, nb_relays);
        n.filter = capture;
        nb_captured = 0;
        testnet_start(&n);
        testnet_open(&n, &c, &s);
        talk(&n, c, s, &offset);
        for (int i = 0; i < 2; i++) {
            vcl_session_info(n.session, &before);
            vcl_session_hint(n.session, n.now, before.active_helper_id, VCL_HINT_DRAIN);
            n.client_addr.port += nb_relays == 0; /* the only path: another port makes it silent */
            talk(&n, c, s, &offset);
        }
        n.filter = count_elsewhere;
        to_elsewhere = 0;
        testnet_run(&n, n.now + 60 * (uint64_t)SECOND);
        vcl_session_info(n.session, &before);
        struct vcl_stats old = stats_of(n.server);
        for (uint32_t i = 0; i < nb_captured; i++) {
            resumes |= pmw_type_of(captured[i].bytes, captured[i].len) == PMW_RESUME;
            vcl_engine_receive(n.server, n.now, &elsewhere, captured[i].bytes, captured[i].len);
            sent += captured[i].len;
            testnet_run(&n, n.now + MS);
        }
        assert_true(resumes);
        vcl_session_info(n.session, &after);
        assert_int_equal(after.epoch, before.epoch);
        assert_int_equal(after.active_helper_id, before.active_helper_id);
        assert_int_equal(stats_of(n.server).path_moves, old.path_moves);
        assert_int_equal(stats_of(n.server).nb_conns, 1);
        assert_int_equal(stats_of(n.server).nb_sessions, 1);
        assert_true(to_elsewhere <= sent);
        talk(&n, c, s, &offset);
        testnet_stop(&n);
    }
}

static int resume_from(struct testnet *n, const struct pmw_addr *from, uint32_t epoch, uint16_t server_id,
                       uint16_t helper_id, int cut, int flip)
{
    struct vcl_session *s = n->session;
    struct pmw_resume r = {
        .session_id = s->id, .nonce = 99, .epoch = epoch, .server_id = server_id, .helper_id = helper_id};
    uint8_t buf[PMW_RESUME_FIXED_BYTES];
    int len = pmw_resume_encode(buf, sizeof(buf), &r);
    assert_int_equal(len, PMW_RESUME_FIXED_BYTES);
    pmw_control_seal(buf, (size_t)len, s->keys.mac_c2s);
    if (flip >= 0)
        buf[flip] ^= 0x20;
    return vcl_engine_receive(n->server, n->now, from, buf, (size_t)(len - cut));
}

/* 37. */
static void case_37_forged_resume(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s;
    uint64_t offset = 0;
    testnet_init(&n, 0);
    testnet_start(&n);
    testnet_open(&n, &c, &s);
    talk(&n, c, s, &offset);
    struct route before = n.server->sessions.count > 0 ? vcl_conn_session(s)->route : (struct route){0};
    for (int i = 0; i < PMW_RESUME_FIXED_BYTES; i++) /* any byte */
        assert_true(resume_from(&n, &elsewhere, 2, TESTNET_SERVER_ID, 0, 0, i) > 0);
    for (int cut = 1; cut <= PMW_RESUME_FIXED_BYTES; cut++)
        assert_true(resume_from(&n, &elsewhere, 2, TESTNET_SERVER_ID, 0, cut, -1) > 0);
    /* With the keys of the session: made for another server, or for a helper by which it did not come. */
    assert_int_equal(resume_from(&n, &elsewhere, 2, TESTNET_SERVER_ID + 1, 0, 0, -1), VCL_DROP_MAC);
    assert_int_equal(resume_from(&n, &elsewhere, 2, TESTNET_SERVER_ID, 100, 0, -1), VCL_DROP_MAC);
    assert_int_equal(resume_from(&n, &elsewhere, 0, TESTNET_SERVER_ID, 0, 0, -1), VCL_DROP_STALE_EPOCH);
    struct vcl_datagram out;
    assert_int_equal(vcl_engine_send(n.server, n.now, &out), 0);
    assert_int_equal(vcl_conn_session(s)->epoch, 1);
    assert_true(pmw_addr_equal(&vcl_conn_session(s)->route.addr, &before.addr));
    talk(&n, c, s, &offset);
    testnet_stop(&n);
}

/* Clocks that differ by a minute, each way: OPEN is refused, a living session is moved all the same (K4). */
static void clocks_differ(void)
{
    for (int skew = -1; skew <= 1; skew += 2) {
        struct testnet n;
        struct vcl_conn *c, *s, *c2;
        uint64_t offset = 0;
        testnet_init(&n, 1);
        testnet_token(&n, skew < 0 ? 1700000000 - 500 : 1700000000, 600, n.peer.token, n.peer.token_key);
        testnet_start(&n);
        testnet_open(&n, &c, &s);
        talk(&n, c, s, &offset);
        /* the server's clock jumps out of the token's life */
        n.server->cfg.unix_offset_us += (skew < 0 ? 200 : -60) * (int64_t)SECOND;
        assert_int_equal(vcl_conn_open(n.session, n.now, &c2), VCL_OK);
        testnet_run(&n, n.now + 100 * MS);
        assert_true(stats_of(n.server).drops[VCL_DROP_TOKEN_EXPIRED] > 0);
        assert_int_equal(stats_of(n.server).nb_conns, 1);
        uint64_t moves = stats_of(n.server).path_moves;
        vcl_session_hint(n.session, n.now, 100, VCL_HINT_DRAIN);
        talk(&n, c, s, &offset);
        assert_true(stats_of(n.server).path_moves > moves);
        testnet_stop(&n);
    }
}

/* The key of the server is changed mid-session, twice: tokens of the key before open until their end, RESUME needs
 * none.
 */
static void keys_are_changed(void)
{
    struct testnet n;
    struct vcl_conn *c, *s, *c2, *s2;
    struct vcl_server_key keys[2] = {{.key_id = 2, .key = {77}}};
    uint64_t offset = 0;
    testnet_init(&n, 1);
    testnet_start(&n);
    keys[1] = n.server_config.keys[0];
    testnet_open(&n, &c, &s);
    assert_int_equal(vcl_engine_set_keys(n.server, keys, 2), VCL_OK); /* K1: both are valid */
    testnet_open(&n, &c2, &s2);
    assert_int_equal(vcl_engine_set_keys(n.server, keys, 1), VCL_OK); /* the first one is gone */
    vcl_session_hint(n.session, n.now, 100, VCL_HINT_DRAIN);
    talk(&n, c, s, &offset);
    vcl_session_hint(n.session, n.now, 100, VCL_HINT_UP);
    assert_int_equal(vcl_conn_open(n.session, n.now, &c2), VCL_OK);
    testnet_run(&n, n.now + 100 * MS);
    assert_true(stats_of(n.server).drops[VCL_DROP_TOKEN] > 0); /* its token has no key any more */
    assert_int_equal(stats_of(n.server).nb_conns, 2);
    talk(&n, c, s, &offset);
    testnet_stop(&n);
}

/* 49. */
static void case_49_expired_token_skew_and_rotation(void **state)
{
    clocks_differ();
    keys_are_changed();
}

/* 50. Slots are few and used again and again: no id comes twice, within a tombstone or after it, and a frame of a
 * connection that is over reaches none that lives. */
static void case_50_ids_are_not_reused(void **state)
{
    enum { ROUNDS = 60 };
    struct testnet n;
    struct vcl_conn *c, *s;
    struct vcl_conn_info info;
    uint64_t cids[ROUNDS];
    testnet_init(&n, 0);
    n.server_config.conns_max = 8;
    testnet_start(&n);
    n.filter = capture;
    nb_captured = 0;
    testnet_open(&n, &c, &s);
    testnet_write(&n, c, 0, 100, 9);
    testnet_run(&n, n.now + 2 * MS);
    n.filter = NULL;
    uint32_t nb_late = nb_captured;
    for (int i = 0; i < ROUNDS; i++) {
        vcl_conn_info(c, &info);
        cids[i] = info.cid;
        for (int k = 0; k < i; k++)
            assert_true(cids[k] != cids[i]);
        for (uint32_t k = 0; k < nb_late && i > 0; k++)
            vcl_engine_receive(n.server, n.now, &n.client_addr, captured[k].bytes, captured[k].len);
        if (i > 0) {
            testnet_write(&n, c, 0, 50, (uint8_t)i);
            testnet_run(&n, n.now + 2 * MS);
            assert_int_equal(testnet_read(&n, s, 0, (uint8_t)i), 50);
        }
        vcl_conn_abort(c, n.now);
        vcl_conn_release(c, n.now);
        vcl_conn_release(s, n.now);
        testnet_run(&n, n.now + (i % 6 == 5 ? 11 * SECOND : 50 * MS));
        struct vcl_session_info session;
        vcl_session_info(n.session, &session);
        testnet_open(&n, &c, &s);
    }
    testnet_stop(&n);
}

/* 61. The client's address changes under it (a NAT's port, another network): frames of known connections are taken from
 * anywhere, but the server's answers move only by RESUME; a stranger's datagram moves nothing. */
static void case_61_rebinding_of_a_client(void **state)
{
    for (int nb_relays = 0; nb_relays < 2; nb_relays++) {
        struct testnet n;
        struct vcl_conn *c, *s;
        uint64_t offset = 0;
        testnet_init(&n, nb_relays);
        testnet_start(&n);
        testnet_open(&n, &c, &s);
        talk(&n, c, s, &offset);
        for (int i = 0; i < 3; i++) {
            uint8_t junk[PMW_FRAME_HEADER_BYTES + PMW_CHECK_BYTES] = {PMW_FIRST_BYTE(PMW_ACK), PMW_F_CHECK};
            for (int k = 0; k < 8; k++)
                junk[4 + k] = (uint8_t)(c->cid >> (56 - 8 * k));
            struct pmw_addr was = vcl_conn_session(s)->route.addr;
            assert_true(vcl_engine_receive(n.server, n.now, &elsewhere, junk, sizeof(junk)) > 0);
            assert_true(pmw_addr_equal(&vcl_conn_session(s)->route.addr, &was));
            n.client_addr.port++;
            talk(&n, c, s, &offset);
            assert_true(pmw_addr_equal(&vcl_conn_session(s)->route.addr, &n.client_addr));
        }
        testnet_stop(&n);
    }
}

/* --- the end of a server process ------------------------------------------------------------------ */

static void restart(struct testnet *n, bool knows_predecessor)
{
    struct vcl_config *k = &n->server_config;
    vcl_engine_free(n->server);
    k->nb_predecessors = knows_predecessor ? 1 : 0;
    k->predecessors[0].server_id = TESTNET_SERVER_ID;
    pmw_reset_key(k->predecessors[0].reset_key, k->trunk_secret);
    k->server_id = TESTNET_SERVER_ID + 1;
    k->incarnation++;
    memset(k->trunk_secret, 99, sizeof(k->trunk_secret));
    memset(k->keys[0].key, 98, sizeof(k->keys[0].key));
    assert_int_equal(vcl_engine_new(&n->server, k), VCL_OK);
}

/* 29. A server's process is killed and another takes its address. The client's connections, busy and idle, end with
 * ECONNRESET as soon as one of their frames comes there directly; nothing is opened again in silence. Without the
 * registry's word the same takes until T_hold. */
static void case_29_server_restart_resets(void **state)
{
    for (int i = 0; i < 4; i++) {
        int nb_relays = i % 2, writes = i / 2;
        struct testnet n;
        struct vcl_conn *busy, *idle, *s;
        testnet_init(&n, nb_relays);
        testnet_start(&n);
        testnet_open(&n, &busy, &s);
        testnet_open(&n, &idle, &s);
        testnet_run(&n, n.now + 30 * SECOND);
        restart(&n, true);
        if (writes)
            testnet_write(&n, busy, 0, 1000, 1);
        testnet_run(&n, n.now + 20 * SECOND);
        assert_int_equal(vcl_conn_error(busy), VCL_ERR_RESET);
        assert_int_equal(vcl_conn_error(idle), VCL_ERR_RESET);
        assert_int_equal(stats_of(n.server).nb_conns, 0);
        assert_int_equal(stats_of(n.server).nb_sessions, 0);
        assert_int_equal(testnet_count(n.client_events, n.nb_client_events, VCL_EV_CONN_CLOSED), 2);
        testnet_stop(&n);
    }
}

static enum verdict forge_reset(struct testnet *n, struct flight *f)
{
    if (pmw_type_of(f->bytes, f->len) == PMW_STATELESS_RESET)
        f->bytes[12 + *(int *)n->filter_ctx] ^= 1;
    return DELIVER;
}

/* C9: 128 bits or nothing; a guess ends no connection. */
static void c9_a_wrong_token_resets_nothing(void **state)
{
    for (int byte = 0; byte < 16; byte++) {
        struct testnet n;
        struct vcl_conn *c, *s;
        testnet_init(&n, 0);
        testnet_start(&n);
        testnet_open(&n, &c, &s);
        testnet_run(&n, n.now + SECOND);
        restart(&n, true);
        n.filter = forge_reset;
        n.filter_ctx = &byte;
        testnet_write(&n, c, 0, 1000, 1);
        testnet_run(&n, n.now + 2 * SECOND);
        assert_int_equal(vcl_conn_error(c), VCL_OK);
        assert_true(stats_of(n.client).drops[VCL_DROP_MAC] > 0);
        n.filter = NULL;
        testnet_run(&n, n.now + 2 * SECOND);
        assert_int_equal(vcl_conn_error(c), VCL_ERR_RESET);
        testnet_stop(&n);
    }
}

static int ask(struct testnet *n, size_t payload, uint64_t cid)
{
    struct vcl_datagram out;
    uint8_t buf[256], bytes[200] = {0};
    struct pmw_frame f = {.type = PMW_DATA, .flags = PMW_F_CHECK, .cid = cid, .payload_len = (uint16_t)payload};
    int len = pmw_frame_encode(buf, sizeof(buf), &f, bytes), got = 0;
    assert_true(len > 0);
    vcl_engine_receive(n->server, n->now, &elsewhere, buf, (size_t)len);
    while (vcl_engine_send(n->server, n->now, &out)) {
        assert_int_equal(pmw_type_of(out.bytes, out.len), PMW_STATELESS_RESET);
        assert_true(out.len < (size_t)len);
        got++;
    }
    return got;
}

/* C9: at most 100 a second, shorter than what caused it, for ids of predecessors only, and only the engine that has
 * their address by the registry's word. */
static void c9_limits_of_a_successor(void **state)
{
    struct testnet n;
    testnet_init(&n, 0);
    testnet_start(&n);
    struct pmw_cid plain = {.server_id = TESTNET_SERVER_ID, .slot = 5};
    uint64_t cid = pmw_cid_seal(&plain, n.server_config.cid_key);
    assert_int_equal(ask(&n, 50, cid), 0); /* its own ids are not a predecessor's */
    restart(&n, false);
    assert_int_equal(ask(&n, 50, cid), 0);
    restart(&n, true); /* again TESTNET_SERVER_ID is what it knows */
    n.now += SECOND;
    int answers = 0;
    for (int i = 0; i < 300; i++)
        answers += ask(&n, 50, cid);
    assert_int_equal(answers, 100);
    n.now += SECOND;
    assert_int_equal(ask(&n, 50, cid + 1), 0); /* some other server's, or nobody's */
    assert_int_equal(ask(&n, 1, cid), 1);
    assert_int_equal(ask(&n, 0, cid), 0); /* 28 bytes: as long as the answer would be */
    testnet_stop(&n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(case_29_server_restart_resets),   cmocka_unit_test(case_36_replay_from_elsewhere),
        cmocka_unit_test(case_37_forged_resume),           cmocka_unit_test(case_49_expired_token_skew_and_rotation),
        cmocka_unit_test(case_50_ids_are_not_reused),      cmocka_unit_test(case_61_rebinding_of_a_client),
        cmocka_unit_test(c9_a_wrong_token_resets_nothing), cmocka_unit_test(c9_limits_of_a_successor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
