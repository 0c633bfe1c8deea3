/* SPDX-License-Identifier: Apache-2.0 */
#include "sentmap.h"
#include "testkit.h"

static void push(struct sentmap *m, struct heap *h, int nb)
{
    for (int i = 0; i < nb; i++) {
        uint64_t offset = m->count == 0 ? 0 : 100 * (uint64_t)m->next_order;
        assert_true(vcl__sentmap_reserve(m, &h->mem));
        vcl__sentmap_push(m, 1000 + m->next_order, offset, 100, false);
    }
}

static void acknowledgement_frees_in_order(void **state)
{
    struct heap h;
    struct sentmap m = {.count = 0};
    struct sentmap_ack r = {.nb_delivered = 0};
    heap_init(&h);
    push(&m, &h, 20); /* grows while it wraps */
    vcl__sentmap_ack(&m, 500, &r);
    assert_int_equal(r.nb_delivered, 5);
    assert_true(r.rtt_known);
    assert_int_equal(r.rtt_sent_at, 1004);
    assert_int_equal(r.bytes_delivered, 500);
    assert_int_equal(m.count, 15);
    assert_int_equal(m.bytes_in_flight, 1500);
    vcl__sentmap_ack(&m, 550, &r); /* half of a frame */
    assert_int_equal(vcl__sentmap_oldest(&m)->offset, 550);
    assert_int_equal(vcl__sentmap_oldest(&m)->len, 50);
    vcl__sentmap_ack(&m, 2000, &r);
    assert_int_equal(m.count, 0);
    assert_null(vcl__sentmap_oldest(&m));
    vcl__sentmap_free(&m, &h.mem);
    assert_int_equal(h.allocated, 0);
}

/* C4: an RTT sample is of the transmission that the acknowledgement names. */
static void tx_echo_names_the_transmission(void **state)
{
    struct heap h;
    struct sentmap m = {.count = 0};
    heap_init(&h);
    push(&m, &h, 3);
    vcl__sentmap_mark_lost(&m, vcl__sentmap_oldest(&m));
    vcl__sentmap_sent_again(&m, vcl__sentmap_next_lost(&m), 5000);
    assert_int_equal(vcl__sentmap_oldest(&m)->tx, 1);
    struct sentmap copy = m; /* the frames are shared: look at one outcome at a time */
    struct sentmap_ack late = {.now = 5100, .min_rtt_us = 50, .tx_echo = 0};
    struct sent first = *vcl__sentmap_oldest(&m);
    vcl__sentmap_ack(&copy, 100, &late); /* the first transmission was slow, not lost */
    assert_false(late.rtt_known);
    assert_true(late.repeated);
    assert_int_equal(late.first_sent_at, 1000);
    assert_int_equal(late.newest_order, 0); /* which says nothing of the repetition */
    m.frames[m.head] = first;
    struct sentmap_ack again = {.now = 5100, .min_rtt_us = 50, .tx_echo = 1};
    vcl__sentmap_ack(&m, 300, &again);
    assert_true(again.rtt_known);
    assert_int_equal(again.rtt_sent_at, 5000);
    assert_int_equal(again.newest_order, 4);
    vcl__sentmap_free(&m, &h.mem);
    assert_int_equal(h.allocated, 0);
}

/* S21: cut anew when it must be sent again by a path that carries less. */
static void a_lost_frame_is_cut(void **state)
{
    struct heap h;
    struct sentmap m = {.count = 0};
    heap_init(&h);
    assert_true(vcl__sentmap_reserve(&m, &h.mem));
    vcl__sentmap_push(&m, 1, 0, 1000, false);
    assert_true(vcl__sentmap_reserve(&m, &h.mem));
    vcl__sentmap_push(&m, 2, 1000, 8832, true);
    for (int i = 0; i < 6; i++) { /* fill the ring: cutting grows it */
        assert_true(vcl__sentmap_reserve(&m, &h.mem));
        vcl__sentmap_push(&m, 3, 9833 + 10 * (uint64_t)i, 10, false);
    }
    vcl__sentmap_mark_lost(&m, vcl__sentmap_at(&m, 1));
    uint64_t at = 1000, end = 0;
    for (int pieces = 1; pieces <= 7; pieces++) {
        struct sent *f = vcl__sentmap_next_lost(&m);
        if (f->len > 1280)
            f = vcl__sentmap_cut(&m, &h.mem, f, 1280);
        assert_non_null(f);
        assert_int_equal(f->offset, at);
        assert_int_equal(f->fin, pieces == 7);
        at += f->len;
        end = sent_end(f);
        vcl__sentmap_sent_again(&m, f, 10);
        assert_int_equal(f->tx, 1);
    }
    assert_int_equal(end, 9833);
    assert_int_equal(m.nb_lost, 0);
    assert_int_equal(m.count, 14);
    assert_int_equal(m.bytes_in_flight, 1000 + 8832 + 60);
    vcl__sentmap_mark_lost(&m, vcl__sentmap_oldest(&m));
    h.left = 0;
    while (m.count < m.cap) {
        assert_true(vcl__sentmap_reserve(&m, &h.mem));
        vcl__sentmap_push(&m, 4, 9893 + m.count - 14, 1, false);
    }
    assert_null(vcl__sentmap_cut(&m, &h.mem, vcl__sentmap_oldest(&m), 500)); /* no memory: nothing has changed */
    assert_int_equal(vcl__sentmap_oldest(&m)->len, 1000);
    vcl__sentmap_free(&m, &h.mem);
    assert_int_equal(h.allocated, 0);
}

static void a_new_path_resends_what_is_not_sacked(void **state)
{
    struct heap h;
    struct sentmap m = {.count = 0};
    struct sentmap_ack r = {.nb_delivered = 0};
    heap_init(&h);
    push(&m, &h, 5);
    vcl__sentmap_sack(&m, 200, 300, &r);
    vcl__sentmap_mark_all_lost(&m, 9000);
    assert_int_equal(m.nb_lost, 4);
    assert_int_equal(m.bytes_in_flight, 0);
    uint64_t expected[] = {0, 100, 300, 400};
    for (int i = 0; i < 4; i++) {
        struct sent *f = vcl__sentmap_next_lost(&m);
        assert_int_equal(f->offset, expected[i]);
        assert_int_equal(f->first_sent_at, 9000);
        vcl__sentmap_sent_again(&m, f, 9000);
    }
    assert_null(vcl__sentmap_next_lost(&m));
    vcl__sentmap_free(&m, &h.mem);
}

/* Random events against the definition of each counter. */
static void counters_hold(void **state)
{
    uint64_t seed = 4, offset = 0, una = 0;
    struct heap h;
    struct sentmap m = {.count = 0};
    heap_init(&h);
    for (int i = 0; i < 20000; i++) {
        struct sentmap_ack r = {.nb_delivered = 0};
        uint64_t span = offset - una;
        switch (below(&seed, 6)) {
        case 0:
        case 1:
            if (m.count < 300 && vcl__sentmap_reserve(&m, &h.mem)) {
                uint32_t len = 1 + (uint32_t)below(&seed, 50);
                vcl__sentmap_push(&m, (uint64_t)i, offset, len, false);
                offset += len;
            }
            break;
        case 2:
            una += span > 0 ? below(&seed, span / 4 + 1) : 0;
            vcl__sentmap_ack(&m, una, &r);
            break;
        case 3:
            if (span > 2) {
                uint64_t start = una + 1 + below(&seed, span - 1);
                vcl__sentmap_sack(&m, start, start + below(&seed, offset - start + 1), &r);
            }
            if (m.count > 0)
                vcl__sentmap_mark_lost(&m, vcl__sentmap_at(&m, (uint32_t)below(&seed, m.count)));
            break;
        case 4:
            while (m.nb_lost > 0 && below(&seed, 8) != 0) {
                struct sent *f = vcl__sentmap_next_lost(&m);
                if (f->len > 10 && below(&seed, 4) == 0)
                    f = vcl__sentmap_cut(&m, &h.mem, f, 1 + (uint32_t)below(&seed, f->len - 1u));
                vcl__sentmap_sent_again(&m, f, (uint64_t)i);
            }
            break;
        default:
            if (below(&seed, 50) == 0)
                vcl__sentmap_mark_all_lost(&m, (uint64_t)i);
        }
        uint32_t lost = 0, flying = 0, sacked = 0;
        uint64_t at = una;
        for (uint32_t k = 0; k < m.count; k++) {
            struct sent *f = &m.frames[(m.head + k) & (m.cap - 1)];
            lost += f->state == SENT_LOST;
            sacked += f->state == SENT_SACKED;
            flying += f->state == SENT_IN_FLIGHT ? f->len : 0u;
            assert_int_equal(f->offset, at);
            at = sent_end(f);
        }
        assert_int_equal(at, offset);
        assert_int_equal(lost, m.nb_lost);
        assert_int_equal(flying, m.bytes_in_flight);
        assert_int_equal(sacked, m.nb_sacked);
    }
    vcl__sentmap_free(&m, &h.mem);
    assert_int_equal(h.allocated, 0);
}

static void is_bounded(void **state)
{
    struct heap h;
    struct sentmap m = {.count = 0};
    heap_init(&h);
    push(&m, &h, SENTMAP_FRAMES_MAX);
    assert_false(vcl__sentmap_reserve(&m, &h.mem));
    vcl__sentmap_free(&m, &h.mem);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(acknowledgement_frees_in_order),
        cmocka_unit_test(tx_echo_names_the_transmission),
        cmocka_unit_test(a_lost_frame_is_cut),
        cmocka_unit_test(a_new_path_resends_what_is_not_sacked),
        cmocka_unit_test(counters_hold),
        cmocka_unit_test(is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
