/* SPDX-License-Identifier: Apache-2.0
 *
 * When a frame may leave as a short one (W10): its numbers must decode at the peer, and the peer must have heard enough
 * of the window, of which a short frame says nothing.
 */
#include "testkit.h"

#include "state.h"

#include <string.h>

enum { WINDOW = 65536, LEN = 100 };

static struct vcl_engine engine;
static struct vcl_session session;

static struct vcl_conn *fresh(void)
{
    static struct vcl_conn c;
    memset(&engine, 0, sizeof(engine));
    memset(&session, 0, sizeof(session));
    memset(&c, 0, sizeof(c));
    engine.now = 1000000;
    session.e = &engine;
    session.limits = (struct rtt_limits){.pto_initial_us = 10000, .pto_min_us = 5000, .pto_max_us = 100000};
    c.e = &engine;
    c.s = &session;
    c.state = CONN_ESTABLISHED;
    c.features = PMW_FEATURE_SHORT;
    c.edge_sent = WINDOW;
    vcl__short_begin(&c);
    return &c;
}

/* A DATA of LEN bytes; true: it is short. */
static bool sends_short(struct vcl_conn *c, uint64_t seq, uint8_t flags)
{
    struct pmw_frame f = {
        .type = PMW_DATA, .flags = PMW_F_CHECK | flags, .tx = (flags & PMW_F_RESEND) != 0, .payload_len = LEN};
    vcl__short_or_long(c, &f, seq, WINDOW);
    assert_int_equal((f.flags & PMW_F_SHORT) != 0, f.window == PMW_WINDOW_SILENT);
    return (f.flags & PMW_F_SHORT) != 0;
}

static void w10_only_numbers_that_decode(void **state)
{
    struct vcl_conn *c = fresh();
    assert_true(sends_short(c, SHORT_SPAN_BYTES - LEN - 1, 0));
    assert_false(sends_short(c, SHORT_SPAN_BYTES - LEN, 0)); /* 2^14 in flight */
    c->rcv.nxt = SHORT_SPAN_BYTES - 1;
    assert_true(sends_short(c, 0, 0));
    c->rcv.nxt = SHORT_SPAN_BYTES; /* so much acknowledged since the last long one */
    c->snd.una = 0;
    assert_false(sends_short(c, 0, 0));
    assert_true(sends_short(c, LEN, 0));
}

static void w10_nothing_that_was_sent_twice_is_unacknowledged(void **state)
{
    struct vcl_conn *c = fresh();
    assert_false(sends_short(c, 0, PMW_F_RESEND));
    assert_false(sends_short(c, LEN, 0));
    c->snd.una = LEN;
    assert_true(sends_short(c, LEN, 0));
}

/* The application has read: the edge is new. It is heard when DATA that carried it is acknowledged. */
static void w10_an_edge_is_heard_when_its_bytes_are_acknowledged(void **state)
{
    struct vcl_conn *c = fresh();
    c->rcv.nxt = c->shorts.ack_heard = WINDOW / 2;
    assert_false(sends_short(c, 0, 0)); /* half open, by what is known to be heard */
    assert_false(sends_short(c, LEN, 0));
    c->snd.una = LEN;
    assert_true(sends_short(c, 2 * LEN, 0));
}

/* Bytes that are sent again carry the new edge, their first copy had the old one; whose acknowledgement it is nobody
 * knows. */
static void w10_an_edge_in_a_repetition_is_not_heard_by_that(void **state)
{
    struct vcl_conn *c = fresh();
    assert_true(sends_short(c, 0, 0));
    c->rcv.nxt = c->shorts.ack_heard = WINDOW / 2;
    assert_false(sends_short(c, 0, PMW_F_RESEND));
    c->snd.una = LEN;
    assert_false(sends_short(c, LEN, 0));
    c->snd.una = 2 * LEN;
    assert_true(sends_short(c, 2 * LEN, 0));
}

/* Acknowledgements alone are acknowledged by nobody: four of them count as heard. */
static void w10_an_edge_is_heard_after_four_long_frames(void **state)
{
    struct vcl_conn *c = fresh();
    c->rcv.nxt = c->shorts.ack_heard = WINDOW / 2;
    for (int i = 0; i < SHORT_TELLS; i++)
        assert_false(sends_short(c, 0, 0));
    assert_true(sends_short(c, 0, 0));
}

/* After RESUME: for a PTO, and then until one frame has told the edge again. */
static void w10_long_after_resume(void **state)
{
    struct vcl_conn *c = fresh();
    vcl__short_pause(c);
    assert_false(sends_short(c, 0, 0));
    assert_false(sends_short(c, 0, 0));
    engine.now += vcl__session_pto(&session);
    assert_true(sends_short(c, 0, 0));
    vcl__short_pause(c);
    engine.now += vcl__session_pto(&session);
    assert_false(sends_short(c, 0, 0)); /* the first, however late */
    assert_true(sends_short(c, 0, 0));
}

static void w10_an_urgent_frame_is_answered_by_a_long_one(void **state)
{
    struct vcl_conn *c = fresh();
    vcl__short_on_frame(c, &(struct pmw_frame){.flags = PMW_F_CHECK | PMW_F_URGENT});
    assert_false(sends_short(c, 0, 0));
    assert_true(sends_short(c, 0, 0));
}

/* Loss that goes on, as if of the short frames: they are tried again each 64 s at least. */
static void s22_distrust_has_an_end(void **state)
{
    struct vcl_conn *c = fresh();
    const struct sentmap_ack late = {.repeated = true, .tx_echo = 1};
    uint64_t longest_us = 0;
    for (int i = 0; i < 20; i++) {
        for (int k = 0; k < SHORT_LOST_MAX; k++) {
            c->shorts.asked = true;
            vcl__short_on_delivered(c, &late);
        }
        assert_true(c->shorts.distrusted_until > engine.now);
        if (c->shorts.distrusted_until - engine.now > longest_us)
            longest_us = c->shorts.distrusted_until - engine.now;
        engine.now = c->shorts.distrusted_until;
    }
    assert_int_equal(longest_us, 64000000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(w10_only_numbers_that_decode),
        cmocka_unit_test(w10_nothing_that_was_sent_twice_is_unacknowledged),
        cmocka_unit_test(w10_an_edge_is_heard_when_its_bytes_are_acknowledged),
        cmocka_unit_test(w10_an_edge_in_a_repetition_is_not_heard_by_that),
        cmocka_unit_test(w10_an_edge_is_heard_after_four_long_frames),
        cmocka_unit_test(w10_long_after_resume),
        cmocka_unit_test(w10_an_urgent_frame_is_answered_by_a_long_one),
        cmocka_unit_test(s22_distrust_has_an_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
