/* SPDX-License-Identifier: Apache-2.0
 *
 * RESUME and what proves a path: lost, repeated, late, from elsewhere (S3, S18).
 */
#include "paths_kit.h"
#include "state.h"

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
    fail_over(&n, PMW_PATH_RESPONSE, 6);
    testnet_run(&n, n.now + 2 * (uint64_t)SECOND);
    assert_int_equal(stats_of(n.server).trials_failed, 1);
    assert_true(info_of(n.session).epoch >= 3); /* back, and again */
    testnet_stop(&n);
}

static uint64_t nb_bytes_to(struct testnet *n, const struct pmw_addr *to)
{
    struct vcl_datagram out;
    uint64_t nb = 0;
    while (vcl_engine_send(n->server, n->now, &out))
        nb += pmw_addr_equal(&out.to, to) ? out.len : 0;
    return nb;
}

static unsigned nb_data_to(struct testnet *n, const struct pmw_addr *to)
{
    struct vcl_datagram out;
    unsigned nb = 0;
    while (vcl_engine_send(n->server, n->now, &out))
        nb += pmw_addr_equal(&out.to, to) && pmw_type_of(out.bytes, out.len) == PMW_DATA;
    return nb;
}

static enum verdict drop_all(struct testnet *n, struct flight *f)
{
    return DROP;
}

/* Nothing is known of the new path's round trip: a far client's answer is not yet there after many first guesses. */
static void s18_a_far_path_has_time(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s;
    start(&n, 0, &c, &s);
    exchange(&n, c, s, 0, 1000);
    struct vcl_session *session = vcl_conn_session(s);
    struct route far = session->route;
    far.addr.port = 6666;
    session->route = far;
    vcl__rtt_forget(&session->rtt, &session->limits);
    n.server->frame_len = PMW_RESUME_FIXED_BYTES;
    vcl__trial_begin(session, &far);
    n.server->frame_len = 0;
    n.filter = drop_all; /* the client would choose another path meanwhile */
    testnet_run(&n, n.now + 200 * MS);
    assert_true(session->trial.running);
    testnet_run(&n, n.now + 2 * (uint64_t)SECOND);
    assert_false(session->trial.running);
    assert_int_equal(stats_of(n.server).trials_failed, 1);
    testnet_stop(&n);
}

/* C4, Karn: a RESUME that was repeated through an outage measures the outage. */
static void an_outage_is_no_round_trip(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s;
    start(&n, 1, &c, &s);
    exchange(&n, c, s, 0, 1000);
    n.filter = drop_all;
    testnet_write(&n, c, 1000, 1000, 1);
    while (n.session->dial->nb_ticks < 6 || n.session->dial->state == VCL_PATH_ACTIVE)
        testnet_run(&n, n.now + 100);
    assert_int_not_equal(n.session->dial->state, VCL_PATH_ACTIVE);
    n.filter = NULL;
    while (n.session->dial->state != VCL_PATH_ACTIVE)
        testnet_run(&n, n.now + 100);
    assert_true(vcl__session_pto(n.session) <= n.client_config.pto_max_us);
    read_until(&n, s, 1000, 1000, 1);
    testnet_stop(&n);
}

/* Bytes that the limit of a path on trial held back go by the proved path, when the session is there again. */
static void s18_what_did_not_fit_goes_on_by_the_proved_path(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s;
    start(&n, 0, &c, &s);
    exchange(&n, c, s, 0, 1000);
    struct vcl_session *session = vcl_conn_session(s);
    struct route proved = session->route, other = proved;
    other.addr.port = 6666;
    session->route = other;
    n.server->frame_len = PMW_PROBE_BYTES;
    vcl__trial_begin(session, &other);
    n.server->frame_len = 0;
    testnet_write(&n, s, 1000, 1000, 2);
    assert_int_equal(nb_data_to(&n, &other.addr), 0);
    session->route = proved;
    vcl__trial_begin(session, &proved);
    assert_true(nb_data_to(&n, &proved.addr) > 0);
    testnet_stop(&n);
}

/* S14: who has given up does not look alive. */
static void a_session_that_gave_up_answers_no_challenge(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s;
    start(&n, 0, &c, &s);
    exchange(&n, c, s, 0, 1000);
    struct vcl_session *session = vcl_conn_session(s);
    vcl__trial_ask(session);
    testnet_run(&n, n.now + 5 * MS);
    assert_int_equal(session->ask.sent_at, 0); /* answered */
    n.session->dial->state = VCL_PATH_DEAD;
    vcl__trial_ask(session);
    testnet_run(&n, n.now + 5 * MS);
    assert_int_not_equal(session->ask.sent_at, 0);
    const struct pmw_resume_ack late = {
        .session_id = n.session->id, .epoch = n.session->epoch, .nonce = n.session->dial->resume_nonce, .challenge = 1};
    uint8_t ack[PMW_FRAME_BYTES_BASE];
    int len = pmw_resume_ack_encode(ack, sizeof(ack), &late);
    pmw_control_seal(ack, (size_t)len, n.session->keys.mac_s2c);
    assert_int_equal(vcl_engine_receive(n.client, n.now, &n.server_addr, ack, (size_t)len), VCL_DROP_UNKNOWN_SESSION);
    testnet_stop(&n);
}

/* S22: a PONG ends a silence, not a series of probes that the server does not answer. */
static void s22_unanswered_probes_outweigh_silence(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s;
    start(&n, 1, &c, &s);
    exchange(&n, c, s, 0, 1000);
    struct dial *d = n.session->dial;
    vcl__dial_suspect(n.session, n.now, true);
    assert_true(d->suspect_waits && d->suspect_silent);
    vcl__dial_suspect(n.session, n.now, false);
    assert_true(d->suspect_waits && !d->suspect_silent);
    vcl__dial_suspect(n.session, n.now, true);
    assert_true(d->suspect_waits && !d->suspect_silent);
    testnet_stop(&n);
}

/* A client may tell a victim's address for its first path: DATA with a CID that it was told elsewhere proves nothing.
 */
static void s18_a_cid_that_went_elsewhere_proves_nothing(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s;
    start(&n, 0, &c, &s);
    struct vcl_session *session = vcl_conn_session(s);
    struct route victim = {.addr = n.client_addr}, elsewhere = victim;
    victim.addr.port = 6666;
    session->route = victim;
    session->trial = (struct trial){0};
    vcl__trial_first(session);
    vcl__trial_cid_told(session, &victim);
    vcl__trial_on_conn_frame(session, &elsewhere);
    assert_true(session->trial.running);
    vcl__trial_on_conn_frame(session, &victim);
    assert_false(session->trial.running);

    session->trial = (struct trial){0};
    vcl__trial_first(session);
    vcl__trial_cid_told(session, &elsewhere);
    vcl__trial_on_conn_frame(session, &victim);
    assert_true(session->trial.running);
    vcl__trial_begin(session, &victim); /* nor by a RESUME: the challenge does */
    vcl__trial_on_conn_frame(session, &victim);
    assert_true(session->trial.running);
    testnet_stop(&n);
}

/* Whatever is answered counts, a probe of epoch 0 and one of a size (S21) too. */
static void s18_every_control_frame_counts(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s;
    start(&n, 0, &c, &s);
    exchange(&n, c, s, 0, 1000);
    struct vcl_session *session = vcl_conn_session(s);
    uint8_t probe[PMW_PROBE_BYTES];
    struct pmw_probe p = {.session_id = session->id, .server_id = TESTNET_SERVER_ID, .bytes = PMW_PROBE_BYTES};
    pmw_probe_encode(probe, sizeof(probe), PMW_PROBE, &p);
    pmw_control_seal(probe, sizeof(probe), session->keys.mac_c2s);
    struct route victim = {.addr = n.client_addr};
    victim.addr.port = 6666;
    session->route = victim;
    n.server->frame_len = PMW_PROBE_BYTES;
    vcl__trial_begin(session, &victim);
    assert_int_equal(vcl__trial_room(session), 3 * PMW_PROBE_BYTES);
    vcl_engine_receive(n.server, n.now, &victim.addr, probe, sizeof(probe));
    assert_int_equal(vcl__trial_room(session), (3 * 2 - 1) * PMW_PROBE_BYTES);
    assert_int_equal(nb_bytes_to(&n, &victim.addr), PMW_PROBE_BYTES);
    vcl__mtu_want(session, UINT32_MAX);
    assert_int_equal(nb_bytes_to(&n, &victim.addr), 0);
    testnet_stop(&n);
}

/* C5: bytes that could leave at once when their connection became ready, and could not any more when its turn came: the
 * answer to the challenge told the round trip of the new path. They leave when the pace allows. */
static void c5_a_pace_that_came_with_the_answer(void **state)
{
    enum { RTT_US = 3000, PACE_US = 200000 };
    struct testnet n;
    struct vcl_conn *c, *s;
    start(&n, 0, &c, &s);
    exchange(&n, c, s, 0, 1000);
    testnet_run(&n, n.now + 10 * MS); /* all is acknowledged: nothing that follows is a sample */
    struct vcl_session *session = vcl_conn_session(s);
    vcl__rtt_forget(&session->rtt, &session->limits);
    testnet_write(&n, s, 1000, 1000, 2);
    assert_true(list_linked(&s->ready));
    vcl__rtt_sample(&session->rtt, &session->limits, n.now, RTT_US);
    s->pacing.clock = n.now + PACE_US;
    uint64_t began = n.now, end = read_until(&n, c, 1000, 1000, 2);
    assert_in_range(end - began, PACE_US / 2, PACE_US);
    testnet_stop(&n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(case_32_resume_is_lost_twice),
        cmocka_unit_test(case_33_resume_ack_is_lost),
        cmocka_unit_test(case_34_resume_comes_a_hundred_times),
        cmocka_unit_test(case_35_resume_comes_after_the_next_one),
        cmocka_unit_test(case_38_valid_resume_from_a_wrong_address),
        cmocka_unit_test(case_39_path_response_is_lost),
        cmocka_unit_test(s18_a_far_path_has_time),
        cmocka_unit_test(an_outage_is_no_round_trip),
        cmocka_unit_test(s18_what_did_not_fit_goes_on_by_the_proved_path),
        cmocka_unit_test(a_session_that_gave_up_answers_no_challenge),
        cmocka_unit_test(s22_unanswered_probes_outweigh_silence),
        cmocka_unit_test(s18_a_cid_that_went_elsewhere_proves_nothing),
        cmocka_unit_test(s18_every_control_frame_counts),
        cmocka_unit_test(c5_a_pace_that_came_with_the_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
