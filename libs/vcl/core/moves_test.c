/* SPDX-License-Identifier: Apache-2.0
 *
 * Moves beside plain failure: herds, OPEN on a dead path, hints, our own stalls, helpers that restart, many moves.
 */
#include "testkit.h"
#include "testnet.h"

#include <string.h>

enum { MS = 1000, SECOND = 1000000, RECOVERY_US_MAX = 50 * MS };

static struct vcl_session_info info_of(const struct vcl_session *s)
{
    struct vcl_session_info i;
    vcl_session_info(s, &i);
    return i;
}

static void start(struct testnet *n, int nb_relays, struct vcl_conn **c, struct vcl_conn **s)
{
    testnet_init(n, nb_relays);
    testnet_start(n);
    testnet_open(n, c, s);
}

/* Runs until `to` has read len bytes from offset; returns when. */
static uint64_t read_until(struct testnet *n, struct vcl_conn *to, uint64_t offset, uint64_t len, uint8_t salt)
{
    uint64_t got = 0, until = n->now + 100 * (uint64_t)SECOND;
    while (got < len) {
        assert_true(n->now < until);
        testnet_run(n, n->now + 100);
        got += testnet_read(n, to, offset + got, salt);
    }
    assert_int_equal(got, len);
    return n->now;
}

static uint64_t nb_resumes;

static enum verdict count_resumes(struct testnet *n, struct flight *f)
{
    struct pmw_resume r;
    if (pmw_type_of(f->bytes, f->len) == PMW_RESUME) {
        assert_true(pmw_resume_decode(f->bytes, f->len, &r) >= 0);
        nb_resumes++;
    }
    return DELIVER;
}

/* 1,000 busy connections of one session move together, 32 to a RESUME, and only what is missing is sent again. */
static void a_herd_moves_together(void **state)
{
    enum { NB = 1000 };
    static struct vcl_conn *c[NB], *s[NB];
    static uint64_t got[NB];
    struct testnet n;
    testnet_init(&n, 2);
    testnet_start(&n);
    for (int i = 0; i < NB; i++)
        testnet_open(&n, &c[i], &s[i]);
    nb_resumes = 0;
    n.filter = count_resumes;
    memset(got, 0, sizeof(got));
    for (int i = 0; i < NB; i++)
        testnet_write(&n, c[i], 0, 100, (uint8_t)i);
    testnet_run(&n, n.now + TESTNET_DELAY_US / 2); /* on their way to the helper */
    n.relays[0].dead = true;
    uint64_t killed = n.now;
    for (int nb_done = 0; nb_done < NB;) {
        assert_true(n.now - killed <= RECOVERY_US_MAX);
        testnet_run(&n, n.now + MS);
        for (int i = 0; i < NB; i++) {
            bool was_done = got[i] == 100;
            got[i] += testnet_read(&n, s[i], got[i], (uint8_t)i);
            nb_done += got[i] == 100 && !was_done;
        }
    }
    assert_true(nb_resumes <= NB / PMW_RESUME_CONNS_MAX + 2);
    struct vcl_stats st;
    vcl_engine_stats(n.server, &st);
    assert_int_equal(st.path_moves, 1);
    testnet_stop(&n);
}

static void open_goes_round_a_dead_helper(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s;
    testnet_init(&n, 2);
    testnet_start(&n);
    n.relays[0].dead = true;
    uint64_t begun = n.now;
    testnet_open(&n, &c, &s);
    assert_true(n.now - begun <= RECOVERY_US_MAX);
    assert_int_equal(info_of(n.session).active_helper_id, 101);
    assert_int_equal(info_of(n.session).epoch, 2);
    testnet_write(&n, c, 0, 100, 1);
    read_until(&n, s, 0, 100, 1);
    testnet_stop(&n);
}

/* S2: the first OPEN arrived, only its answers were lost: the next candidate finds the session there already. */
static void open_answers_are_lost(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s;
    testnet_init(&n, 2);
    testnet_start(&n);
    n.relays[0].dead_to_client = true;
    testnet_open(&n, &c, &s);
    testnet_write(&n, c, 0, 100, 1);
    testnet_write(&n, s, 0, 100, 2);
    read_until(&n, s, 0, 100, 1);
    read_until(&n, c, 0, 100, 2);
    assert_int_equal(info_of(n.session).active_helper_id, 101);
    assert_int_equal(info_of(vcl_conn_session(s)).epoch, info_of(n.session).epoch);
    assert_int_equal(testnet_count(n.server_events, n.nb_server_events, VCL_EV_CONN_ACCEPTED), 1);
    testnet_stop(&n);
}

static void hints_move_earlier(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s;
    start(&n, 2, &c, &s);
    testnet_write(&n, c, 0, 5000, 1);
    testnet_run(&n, n.now + 50 * MS);
    vcl_session_hint(n.session, n.now, 100, VCL_HINT_DRAIN);
    testnet_run(&n, n.now + 3 * MS); /* S20: jitter */
    assert_int_equal(info_of(n.session).active_helper_id, 101);
    assert_int_equal(info_of(n.session).state, VCL_PATH_ACTIVE);
    testnet_run(&n, n.now + 50 * MS);
    vcl_session_hint(n.session, n.now, 101, VCL_HINT_DOWN); /* a lie: the probe is answered */
    testnet_run(&n, n.now + 50 * MS);
    assert_int_equal(info_of(n.session).active_helper_id, 101);
    testnet_run(&n, n.now + 20 * SECOND); /* at rest: only keepalives */
    n.relays[1].dead = true;
    vcl_session_hint(n.session, n.now, 100, VCL_HINT_UP);
    vcl_session_hint(n.session, n.now, 101, VCL_HINT_DOWN);
    testnet_run(&n, n.now + 10 * MS);
    assert_int_equal(info_of(n.session).active_helper_id, 100);
    assert_int_equal(info_of(n.session).state, VCL_PATH_ACTIVE);
    testnet_stop(&n);
}

/* Our own stall of 40 ms is not the helper's: late timers move, and the answers that waited in the socket count. */
static void our_own_stall_is_no_verdict(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s;
    start(&n, 2, &c, &s);
    for (uint64_t i = 0; i < 20; i++) {
        testnet_write(&n, c, i * 100, 100, 1);
        testnet_flush(&n);
        uint64_t due = vcl_engine_next_timer(n.client), late = n.now + 40 * MS;
        struct vcl_engine *client = n.client;
        n.client = NULL; /* it sleeps; datagrams to it wait */
        uint32_t before = n.nb_flights;
        testnet_run(&n, n.now + 150);
        n.client = client;
        n.now = late;
        vcl_engine_on_timer(n.client, n.now, late - due);
        assert_true(before > 0);
        testnet_run(&n, n.now + 2 * MS);
    }
    testnet_run(&n, n.now + 50 * MS);
    assert_int_equal(info_of(n.session).epoch, 1);
    assert_int_equal(testnet_read(&n, s, 0, 1), 2000);
    testnet_stop(&n);
}

static void a_helper_restarts(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s;
    start(&n, 1, &c, &s);
    testnet_write(&n, c, 0, 100, 1);
    read_until(&n, s, 0, 100, 1);
    n.relays[0].incarnation++;
    n.relays[0].seq_out = 0;
    testnet_write(&n, c, 100, 100, 1);
    read_until(&n, s, 100, 100, 1);
    testnet_write(&n, s, 0, 100, 2); /* under the keys of the new incarnation */
    read_until(&n, c, 0, 100, 2);
    assert_int_equal(info_of(n.session).epoch, 1);
    n.relays[0].incarnation--; /* what the dead one still had in its queues */
    n.relays[0].seq_out = 50;
    struct vcl_stats before, after;
    vcl_engine_stats(n.server, &before);
    testnet_write(&n, c, 200, 100, 1);
    testnet_run(&n, n.now + 400);
    vcl_engine_stats(n.server, &after);
    assert_int_equal(after.trunk_batches_in, before.trunk_batches_in);
    assert_true(after.drops[VCL_DROP_TRUNK_REPLAY] > before.drops[VCL_DROP_TRUNK_REPLAY]);
    testnet_stop(&n);
}

/* The low 8 bits of the epoch wrap; the stream goes on (W3). */
static void case_40_three_hundred_moves(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s;
    start(&n, 2, &c, &s);
    uint64_t at = 0;
    for (int i = 0; i < 300; i++, at += 10) {
        uint16_t drained = info_of(n.session).active_helper_id;
        vcl_session_hint(n.session, n.now, drained, VCL_HINT_DRAIN);
        testnet_write(&n, c, at, 10, 1);
        testnet_write(&n, s, at, 10, 2);
        read_until(&n, s, at, 10, 1);
        read_until(&n, c, at, 10, 2);
        testnet_run(&n, n.now + 6 * SECOND);
        vcl_session_hint(n.session, n.now, drained, VCL_HINT_UP); /* while it drains, no planned move goes to it */
    }
    assert_true(info_of(n.session).epoch > 256);
    assert_int_equal(info_of(vcl_conn_session(s)).epoch, info_of(n.session).epoch);
    testnet_stop(&n);
}

/* More helper workers than the table holds: the longest unused goes, its sessions come back by RESUME or their next
 * OPEN. */
static void the_trunk_table_is_bounded(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s;
    testnet_init(&n, 2);
    n.server_config.trunks_max = 1;
    testnet_start(&n);
    testnet_open(&n, &c, &s);
    uint64_t at = 0;
    for (int i = 0; i < 6; i++, at += 100) {
        vcl_session_hint(n.session, n.now, info_of(n.session).active_helper_id, VCL_HINT_DRAIN);
        testnet_write(&n, c, at, 100, 1);
        testnet_write(&n, s, at, 100, 2);
        read_until(&n, s, at, 100, 1);
        read_until(&n, c, at, 100, 2);
        testnet_run(&n, n.now + 6 * SECOND);
    }
    testnet_stop(&n);
}

static struct flight kept;

static enum verdict keep_path_response(struct testnet *n, struct flight *f)
{
    if (pmw_type_of(f->bytes, f->len) != PMW_PATH_RESPONSE)
        return DELIVER;
    kept = *f;
    return DROP;
}

/* So many other helpers say their first word that only their trunks fit the server's table. */
static void other_helpers_fill_the_table(struct testnet *n)
{
    struct pmw_addr from = n->relays[0].addr;
    for (uint32_t i = 0; i < n->server_config.trunks_max; i++) {
        struct pmw_trunk h = {.helper_id = (uint16_t)(1000 + i), .incarnation = 1, .batch_seq = 1};
        struct pmw_trunk_keys keys;
        uint8_t batch[PMW_TRUNK_BYTES_MIN];
        from.port = (uint16_t)(5000 + i);
        pmw_trunk_encode(batch, sizeof(batch), &h);
        pmw_trunk_keys_derive(&keys, n->server_config.trunk_secret, h.helper_id, h.incarnation);
        pmw_trunk_seal(batch, sizeof(batch), keys.to_server, 0);
        assert_int_equal(vcl_engine_receive(n->server, n->now, &from, batch, sizeof(batch)), 0);
    }
}

/* S19: the session moved while its bytes waited for their turn on a trunk, and before their turn came the trunk was
 * evicted. No move follows, and no acknowledgement, that would remember them: they go where the session is now. */
static void bytes_that_an_evicted_trunk_held_go_where_the_session_went(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s;
    start(&n, 1, &c, &s);
    testnet_write(&n, c, 0, 100, 1); /* proves the path: else the move would be no planned one */
    read_until(&n, s, 0, 100, 1);
    kept.len = 0;
    n.filter = keep_path_response;
    vcl_session_hint(n.session, n.now, 100, VCL_HINT_DRAIN);
    testnet_run(&n, n.now + 10 * MS);
    assert_true(kept.len > 0);
    n.filter = NULL;
    assert_int_equal(info_of(vcl_conn_session(s)).active_helper_id, 100);
    testnet_write(&n, s, 0, 1000, 2);
    assert_int_equal(vcl_engine_receive(n.server, n.now, &n.client_addr, kept.bytes, kept.len), 0);
    assert_int_equal(info_of(vcl_conn_session(s)).active_helper_id, 0);
    other_helpers_fill_the_table(&n);
    testnet_run(&n, n.now + SECOND);
    assert_int_equal(testnet_read(&n, c, 0, 2), 1000);
    testnet_stop(&n);
}

/* S7: the session is still on the trunk that was evicted, and its client has only this helper: it finds the path silent
 * by a keepalive at the latest, and its RESUME brings the trunk back. */
static void bytes_that_an_evicted_trunk_held_go_when_it_is_heard_again(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s;
    testnet_init(&n, 1);
    n.peer.nb_paths = 1; /* no direct path */
    testnet_start(&n);
    testnet_open(&n, &c, &s);
    testnet_write(&n, c, 0, 100, 1);
    read_until(&n, s, 0, 100, 1);
    testnet_run(&n, n.now + 20 * SECOND); /* at rest: only keepalives */
    testnet_write(&n, s, 0, 1000, 2);
    other_helpers_fill_the_table(&n);
    uint64_t evicted = n.now;
    assert_true(read_until(&n, c, 0, 1000, 2) - evicted <= 5 * SECOND + RECOVERY_US_MAX);
    testnet_stop(&n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_herd_moves_together),
        cmocka_unit_test(open_goes_round_a_dead_helper),
        cmocka_unit_test(open_answers_are_lost),
        cmocka_unit_test(hints_move_earlier),
        cmocka_unit_test(our_own_stall_is_no_verdict),
        cmocka_unit_test(a_helper_restarts),
        cmocka_unit_test(case_40_three_hundred_moves),
        cmocka_unit_test(the_trunk_table_is_bounded),
        cmocka_unit_test(bytes_that_an_evicted_trunk_held_go_where_the_session_went),
        cmocka_unit_test(bytes_that_an_evicted_trunk_held_go_when_it_is_heard_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
