/* SPDX-License-Identifier: Apache-2.0
 *
 * Lost or late (C4): hosts that stand still for some milliseconds make nobody send again; what is lost goes again.
 */
#include "endpoint_kit.h"

enum { CONNS = 32, STALL_US_MAX = 8 * MS };

enum { CLIENT, SERVER, BETWEEN, NB_PLACES, STALLS = 60 };
struct stalls { /* each place stands still for a while, now and then: all in order, but late */
    uint64_t begins[NB_PLACES][STALLS], ends[NB_PLACES][STALLS];
};

static void plan_stalls(struct stalls *x, uint64_t now, uint64_t seed)
{
    for (int place = 0; place < NB_PLACES; place++)
        for (int i = 0; i < STALLS; i++) {
            x->begins[place][i] = (i == 0 ? now : x->ends[place][i - 1]) + below(&seed, 20 * MS);
            x->ends[place][i] = x->begins[place][i] + below(&seed, STALL_US_MAX);
        }
}

static uint64_t after_stall(const struct stalls *x, int place, uint64_t at)
{
    for (int i = 0; i < STALLS; i++)
        if (at > x->begins[place][i] && at < x->ends[place][i])
            return x->ends[place][i];
    return at;
}

static enum verdict stall(struct testnet *n, struct flight *f)
{
    const struct stalls *x = n->filter_ctx;
    f->at = after_stall(x, BETWEEN, f->at);
    f->at = after_stall(x, pmw_addr_equal(&f->to, &n->client_addr) ? CLIENT : SERVER, f->at);
    return DELIVER;
}

static void stalls_send_nothing_again(void **state)
{
    static struct vcl_conn *c[CONNS], *s[CONNS];
    uint64_t asked[CONNS], heard[CONNS], answered[CONNS];
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct testnet n;
        testnet_init(&n, 0);
        testnet_start(&n);
        for (int i = 0; i < CONNS; i++) {
            testnet_open(&n, &c[i], &s[i]);
            asked[i] = testnet_write(&n, c[i], 0, 64, 1);
            heard[i] = answered[i] = 0;
        }
        struct stalls x;
        plan_stalls(&x, n.now, seed);
        n.filter = stall;
        n.filter_ctx = &x;
        for (int round = 0; round < 5000; round++) {
            n.client_asleep_until = after_stall(&x, CLIENT, n.now);
            n.server_asleep_until = after_stall(&x, SERVER, n.now);
            testnet_run(&n, n.now + 100);
            for (int i = 0; i < CONNS; i++) {
                uint64_t got = testnet_read(&n, s[i], heard[i], 1);
                heard[i] += got;
                testnet_write(&n, s[i], heard[i] - got, got, 2);
                answered[i] += testnet_read(&n, c[i], answered[i], 2);
                if (answered[i] == asked[i])
                    asked[i] += testnet_write(&n, c[i], asked[i], 64, 1);
            }
        }
        assert_int_equal(COUNT(n.client, frames_resent) + COUNT(n.server, frames_resent), 0);
        assert_true(COUNT(n.client, ptos) > 0 && COUNT(n.server, ptos) > 0); /* they were long enough to doubt */
        assert_int_equal(COUNT(n.client, path_moves), 0);
        testnet_stop(&n);
    }
}

struct loss { /* of the next frame with stream bytes, and of every question asked about it */
    uint64_t left, questions_lost;
    bool of_questions;
};

static enum verdict lose(struct testnet *n, struct flight *f)
{
    struct loss *x = n->filter_ctx;
    int type = pmw_type_of(f->bytes, f->len);
    if (x->of_questions && (type == PMW_PROBE || type == PMW_PATH_CHALLENGE)) {
        x->questions_lost++;
        return DROP;
    }
    if (x->left == 0 || type != PMW_DATA)
        return DELIVER;
    x->left--;
    return DROP;
}

/* How long the last bytes of a stream take of which the only frame was lost. */
static uint64_t repaired_us(bool from_server, bool of_questions, struct loss *x)
{
    struct testnet n;
    struct vcl_conn *c, *s, *idle[2];
    start(&n, 0, &c, &s);
    testnet_open(&n, &idle[0], &idle[1]);
    carry(&n, c, s, 0, 1000, n.now + SECOND);
    carry(&n, s, c, 0, 1000, n.now + SECOND);
    testnet_run(&n, n.now + 2 * MS);
    *x = (struct loss){.left = 1, .of_questions = of_questions};
    n.filter = lose;
    n.filter_ctx = x;
    uint64_t began = n.now;
    carry(&n, from_server ? s : c, from_server ? c : s, 1000, 100, n.now + SECOND);
    uint64_t us = n.now - began;
    assert_int_equal(COUNT(n.client, frames_resent), from_server ? 0 : 1);
    assert_int_equal(COUNT(n.server, frames_resent), from_server ? 1 : 0);
    testnet_stop(&n);
    return us;
}

/* One PTO, three questions, the peer's delay after the first. */
static void what_an_answer_overtakes_goes_again(void **state)
{
    struct loss x;
    for (int from_server = 0; from_server < 2; from_server++)
        assert_true(repaired_us(from_server, false, &x) <= 2 * 5 * MS + MS);
}

struct late { /* who has the frame answers questions, and comes to acknowledge it only after the second */
    int answer;
    unsigned nb_answers;
    uint64_t second_at; /* when the second answer left */
};

static enum verdict hold_acks(struct testnet *n, struct flight *f)
{
    struct late *x = n->filter_ctx;
    int type = pmw_type_of(f->bytes, f->len);
    if (type == x->answer && ++x->nb_answers == 2)
        x->second_at = n->now;
    return type == PMW_ACK ? DROP : DELIVER;
}

/* C4: a process may lose its processor between the answer and the acknowledgements that it sends with it: 0.35 ms here.
 */
static void an_acknowledgement_may_follow_the_second_answer(void **state)
{
    for (int from_server = 0; from_server < 2; from_server++) {
        struct testnet n;
        struct vcl_conn *c, *s;
        start(&n, 0, &c, &s);
        carry(&n, c, s, 0, 1000, n.now + SECOND);
        carry(&n, s, c, 0, 1000, n.now + SECOND);
        testnet_run(&n, n.now + 2 * MS);
        struct late x = {.answer = from_server ? PMW_PATH_RESPONSE : PMW_ECHO};
        n.filter = hold_acks;
        n.filter_ctx = &x;
        struct vcl_conn *from = from_server ? s : c, *to = from_server ? c : s;
        testnet_write(&n, from, 1000, 100, 1);
        while (x.second_at == 0)
            testnet_run(&n, n.now + 50);
        testnet_run(&n, x.second_at + 350);
        n.filter = NULL;
        testnet_write(&n, to, 1000, 100, 1); /* acknowledges too */
        testnet_run(&n, n.now + 20 * MS);
        assert_int_equal(COUNT(n.client, frames_resent) + COUNT(n.server, frames_resent), 0);
        assert_int_equal(COUNT(from_server ? n.server : n.client, lost_by_time), 0);
        testnet_stop(&n);
    }
}

static uint64_t distance_us;

static enum verdict lose_one_far_away(struct testnet *n, struct flight *f)
{
    f->at = n->now + distance_us;
    return lose(n, f);
}

/* C4: one frame that is lost at the end says nothing of congestion, and nothing of sizes: three answers take longer
 * than two PTOs, but a path that answers is not silent. */
static void one_lost_frame_cuts_no_window(void **state)
{
    for (distance_us = 1 * MS; distance_us <= 40 * MS; distance_us += 3 * MS) {
        struct testnet n;
        struct vcl_conn *c, *s;
        struct loss x = {.left = 0};
        testnet_init(&n, 0);
        n.filter = lose_one_far_away;
        n.filter_ctx = &x;
        testnet_start(&n);
        testnet_open(&n, &c, &s);
        for (uint64_t at = 0; at < 20000; at += 1000)
            carry(&n, c, s, at, 1000, n.now + SECOND);
        testnet_run(&n, n.now + 2 * distance_us + 2 * MS);
        uint32_t window = c->cc.window;
        uint64_t before = COUNT(n.client, frames_resent); /* while nothing was known of the distance */
        x.left = 1;
        carry(&n, c, s, 20000, 1280, n.now + SECOND);
        testnet_run(&n, n.now + 2 * distance_us + 2 * MS);
        assert_int_equal(COUNT(n.client, frames_resent) - before, 1);
        assert_true(c->cc.window >= window);
        assert_int_equal(COUNT(n.client, mtu_falls), 0);
        testnet_stop(&n);
    }
}

/* 5 + 10 + 20 ms: three PTOs. */
static void without_answers_it_goes_at_the_third_pto(void **state)
{
    struct loss x;
    for (int from_server = 0; from_server < 2; from_server++) {
        uint64_t us = repaired_us(from_server, true, &x);
        assert_true(us >= 30 * MS && us <= 40 * MS);
        assert_true(x.questions_lost >= 2);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stalls_send_nothing_again),
        cmocka_unit_test(what_an_answer_overtakes_goes_again),
        cmocka_unit_test(an_acknowledgement_may_follow_the_second_answer),
        cmocka_unit_test(one_lost_frame_cuts_no_window),
        cmocka_unit_test(without_answers_it_goes_at_the_third_pto),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
