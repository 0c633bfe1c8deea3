/* SPDX-License-Identifier: Apache-2.0
 *
 * Who is to blame, what a move costs, and what proves a path (S3, S9, S10, S18-S20, S22). Time is virtual: the bounds
 * asserted here are exact, not measurements.
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

static struct vcl_stats stats_of(const struct vcl_engine *e)
{
    struct vcl_stats st;
    vcl_engine_stats(e, &st);
    return st;
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

/* Both directions, offset by offset; the first exchange proves the first path (S18). */
static void exchange(struct testnet *n, struct vcl_conn *c, struct vcl_conn *s, uint64_t offset, uint64_t len)
{
    testnet_write(n, c, offset, len, 1);
    testnet_write(n, s, offset, len, 2);
    read_until(n, s, offset, len, 1);
    read_until(n, c, offset, len, 2);
}

static int type_of(const struct flight *f)
{
    int type = pmw_type_of(f->bytes, f->len);
    struct pmw_any_entry entry;
    size_t at = PMW_TRUNK_HEADER_BYTES;
    if (type != PMW_TRUNK || pmw_entry_next(f->bytes, f->len - PMW_TRUNK_TAG_BYTES, &at, &entry) <= 0 ||
        (entry.kind != PMW_ENTRY_LONG_V4 && entry.kind != PMW_ENTRY_LONG_V6))
        return type;
    return pmw_type_of(entry.as_long.frame, entry.as_long.frame_len);
}

/* --- S22: who is to blame --------------------------------------------------------------------------- */
static uint64_t lost_cid;

static enum verdict lose_short_frames_of_one(struct testnet *n, struct flight *f)
{
    struct pmw_frame frame;
    if (pmw_type_of(f->bytes, f->len) > PMW_ACK || pmw_frame_decode(f->bytes, f->len, &frame) < 0)
        return DELIVER;
    return frame.cid == lost_cid && (frame.flags & PMW_F_SHORT) != 0 ? DROP : DELIVER;
}

static void case_12_one_flow_is_lost(void **state)
{
    struct testnet n;
    struct vcl_conn *c[2], *s[2];
    struct vcl_conn_info info;
    start(&n, 2, &c[0], &s[0]);
    testnet_open(&n, &c[1], &s[1]);
    vcl_conn_info(c[0], &info);
    lost_cid = info.cid;
    n.filter = lose_short_frames_of_one;
    for (uint64_t at = 0; at < 4000; at += 100) {
        uint64_t begun = n.now;
        testnet_write(&n, c[0], at, 100, 1);
        testnet_write(&n, c[1], at, 100, 2);
        assert_true(read_until(&n, s[1], at, 100, 2) - begun <= 2 * MS);
        assert_true(read_until(&n, s[0], at, 100, 1) - begun <= RECOVERY_US_MAX);
    }
    assert_int_equal(info_of(n.session).epoch, 1);
    testnet_stop(&n);
}

static void case_28_server_stands_still(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s;
    start(&n, 2, &c, &s);
    exchange(&n, c, s, 0, 1000);
    testnet_write(&n, c, 1000, 5000, 1);
    struct vcl_engine *server = n.server;
    n.server = NULL;
    testnet_run(&n, n.now + 2 * SECOND);
    assert_true(info_of(n.session).epoch <= 4);
    n.server = server;
    assert_true(read_until(&n, s, 1000, 5000, 1) - n.now <= 200 * MS);
    assert_int_equal(vcl_conn_error(c), VCL_OK);
    testnet_stop(&n);
}

static uint64_t pause_ends;

static enum verdict helper_is_paused(struct testnet *n, struct flight *f)
{
    if (pmw_addr_equal(&f->to, &n->relays[0].addr) && f->at < pause_ends)
        f->at = pause_ends;
    return DELIVER;
}

/* A pause of the helper that is shorter than suspect_silence_us_min moves nobody. */
static void a_neighbours_time_slice_is_no_death(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s;
    start(&n, 2, &c, &s);
    uint64_t at = 0;
    n.filter = helper_is_paused;
    for (int i = 0; i < 50; i++, at += 200) {
        pause_ends = n.now + 9 * MS;
        testnet_write(&n, c, at, 200, 1);
        testnet_run(&n, n.now + 60 * MS);
    }
    assert_int_equal(info_of(n.session).epoch, 1);
    assert_int_equal(testnet_read(&n, s, 0, 1), at);
    testnet_stop(&n);
}

/* --- S7, S9, S10: moves after failures ---------------------------------------------------------------- */
static void case_18_two_helpers_die_in_a_row(void **state)
{
    for (uint64_t delay = 0; delay <= 20 * MS; delay += MS) {
        struct testnet n;
        struct vcl_conn *c, *s;
        start(&n, 2, &c, &s);
        exchange(&n, c, s, 0, 1000);
        n.relays[0].dead = true;
        uint64_t killed = n.now;
        testnet_write(&n, c, 1000, 3000, 1);
        testnet_run(&n, n.now + delay);
        n.relays[1].dead = true;
        assert_true(read_until(&n, s, 1000, 3000, 1) - killed <= 2 * RECOVERY_US_MAX);
        exchange(&n, c, s, 4000, 100);
        assert_int_equal(info_of(n.session).active_helper_id, 0);
        testnet_stop(&n);
    }
}

static void case_24_a_helper_flaps(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s;
    start(&n, 2, &c, &s);
    uint64_t at = 0, until = n.now + 4 * SECOND;
    for (int i = 0; n.now < until; i++, at += 100) {
        n.relays[0].dead = i % 2 == 1;
        testnet_write(&n, c, at, 100, 1);
        testnet_run(&n, n.now + 30 * MS);
    }
    testnet_run(&n, n.now + 100 * MS);
    assert_int_equal(testnet_read(&n, s, 0, 1), at);
    assert_int_equal(info_of(n.session).active_helper_id, 101); /* S10: held down for 5 s */
    assert_true(info_of(n.session).moves <= 2);
    testnet_stop(&n);
}

struct lose {
    int type, nb;
};

static enum verdict lose_some(struct testnet *n, struct flight *f)
{
    struct lose *l = n->filter_ctx;
    return type_of(f) == l->type && l->nb-- > 0 ? DROP : DELIVER;
}

/* One helper dies while `lost` datagrams of the type do too; returns how long the stream stood. */
static uint64_t fail_over(struct testnet *n, int type, int nb_lost)
{
    struct vcl_conn *c, *s;
    static struct lose lose;
    lose = (struct lose){type, nb_lost};
    start(n, 2, &c, &s);
    exchange(n, c, s, 0, 1000);
    n->filter = lose_some;
    n->filter_ctx = &lose;
    n->relays[0].dead = true;
    uint64_t killed = n->now;
    testnet_write(n, c, 1000, 3000, 1);
    uint64_t took = read_until(n, s, 1000, 3000, 1) - killed;
    testnet_write(n, s, 1000, 3000, 2);
    read_until(n, c, 1000, 3000, 2);
    assert_int_equal(info_of(n->session).epoch, info_of(vcl_conn_session(s)).epoch);
    return took;
}

static void case_32_resume_is_lost_twice(void **state)
{
    struct testnet n;
    assert_true(fail_over(&n, PMW_RESUME, 2) <= RECOVERY_US_MAX);
    assert_int_equal(info_of(n.session).active_helper_id, 101);
    testnet_stop(&n);
}

static void case_33_resume_ack_is_lost(void **state)
{
    struct testnet n;
    assert_true(fail_over(&n, PMW_RESUME_ACK, 1) <= RECOVERY_US_MAX);
    assert_int_equal(info_of(n.session).epoch, 2);
    assert_int_equal(stats_of(n.server).path_moves, 1);
    testnet_stop(&n);
}

static struct flight kept;

static enum verdict keep_resume(struct testnet *n, struct flight *f)
{
    if (pmw_type_of(f->bytes, f->len) == PMW_RESUME)
        kept = *f;
    return DELIVER;
}

/* Gives the server the kept RESUME of a direct session again, as if from `from`. */
static int give_again(struct testnet *n, const struct pmw_addr *from)
{
    return vcl_engine_receive(n->server, n->now, from, kept.bytes, kept.len);
}

/* A session whose last RESUME was on the direct path, and is kept. */
static void move_to_direct(struct testnet *n, struct vcl_conn **c, struct vcl_conn **s)
{
    start(n, 1, c, s);
    exchange(n, *c, *s, 0, 1000);
    n->filter = keep_resume;
    n->relays[0].dead = true;
    exchange(n, *c, *s, 1000, 1000);
    n->filter = NULL;
    assert_int_equal(info_of(n->session).active_helper_id, 0);
}

static void case_34_resume_comes_a_hundred_times(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s;
    move_to_direct(&n, &c, &s);
    uint64_t moves = stats_of(n.server).path_moves;
    for (int i = 0; i < 100; i++)
        give_again(&n, &n.client_addr);
    exchange(&n, c, s, 2000, 1000);
    assert_int_equal(stats_of(n.server).path_moves, moves);
    assert_int_equal(info_of(vcl_conn_session(s)).active_helper_id, 0);
    testnet_stop(&n);
}

static void case_35_resume_comes_after_the_next_one(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s;
    move_to_direct(&n, &c, &s);
    struct flight old;
    memcpy(&old, &kept, sizeof(old));
    n.relays[0].dead = false;
    testnet_run(&n, n.now + 20 * SECOND); /* S15: home, by an epoch of its own */
    assert_int_equal(info_of(n.session).active_helper_id, 100);
    assert_int_equal(vcl_engine_receive(n.server, n.now, &n.client_addr, old.bytes, old.len), VCL_DROP_STALE_EPOCH);
    assert_int_equal(info_of(vcl_conn_session(s)).active_helper_id, 100);
    exchange(&n, c, s, 2000, 1000);
    testnet_stop(&n);
}

/* --- S18: what proves a path ---------------------------------------------------------------------------- */
static struct pmw_addr liar;
static uint64_t nb_bytes_to_liar, nb_bytes_from_liar;

static enum verdict copy_resume_first(struct testnet *n, struct flight *f)
{
    if (pmw_addr_equal(&f->to, &liar)) {
        nb_bytes_to_liar += f->len;
        return DROP;
    }
    if (pmw_type_of(f->bytes, f->len) == PMW_RESUME && nb_bytes_from_liar == 0 &&
        pmw_addr_equal(&f->to, &n->server_addr)) {
        vcl_engine_receive(n->server, n->now, &liar, f->bytes, f->len);
        nb_bytes_from_liar = f->len;
    }
    return DELIVER;
}

static void case_38_valid_resume_from_a_wrong_address(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s;
    start(&n, 1, &c, &s);
    exchange(&n, c, s, 0, 1000);
    liar = n.client_addr;
    liar.port = 6666;
    nb_bytes_to_liar = nb_bytes_from_liar = 0;
    n.filter = copy_resume_first;
    testnet_write(&n, s, 1000, 100000, 2);
    testnet_run(&n, n.now + 50);
    n.relays[0].dead = true;
    testnet_write(&n, c, 1000, 1000, 1);
    read_until(&n, s, 1000, 1000, 1);
    read_until(&n, c, 1000, 100000, 2);
    assert_true(nb_bytes_from_liar > 0);
    assert_true(nb_bytes_to_liar > 0);
    assert_true(nb_bytes_to_liar <= 3 * nb_bytes_from_liar); /* I6 */
    testnet_stop(&n);
}

static void case_39_path_response_is_lost(void **state)
{
    struct testnet n;
    fail_over(&n, PMW_PATH_RESPONSE, 3);
    testnet_run(&n, n.now + 200 * MS);
    assert_int_equal(stats_of(n.server).trials_failed, 1);
    assert_true(info_of(n.session).epoch >= 3); /* back, and again */
    testnet_stop(&n);
}

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(case_12_one_flow_is_lost),
        cmocka_unit_test(case_28_server_stands_still),
        cmocka_unit_test(a_neighbours_time_slice_is_no_death),
        cmocka_unit_test(case_18_two_helpers_die_in_a_row),
        cmocka_unit_test(case_24_a_helper_flaps),
        cmocka_unit_test(case_32_resume_is_lost_twice),
        cmocka_unit_test(case_33_resume_ack_is_lost),
        cmocka_unit_test(case_34_resume_comes_a_hundred_times),
        cmocka_unit_test(case_35_resume_comes_after_the_next_one),
        cmocka_unit_test(case_38_valid_resume_from_a_wrong_address),
        cmocka_unit_test(case_39_path_response_is_lost),
        cmocka_unit_test(case_23_planned_move_resends_nothing),
        cmocka_unit_test(planned_move_to_a_dead_path_stays),
        cmocka_unit_test(case_21_told_elsewhere_while_moving),
        cmocka_unit_test(case_22_taken_away_while_leaving),
        cmocka_unit_test(a_thousand_busy_connections_fail_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
