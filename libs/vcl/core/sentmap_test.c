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
    assert_int_equal(m.count, 15);
    assert_int_equal(m.nb_in_flight, 15);
    vcl__sentmap_ack(&m, 550, &r); /* half of a frame */
    assert_int_equal(vcl__sentmap_oldest(&m)->offset, 550);
    assert_int_equal(vcl__sentmap_oldest(&m)->len, 50);
    vcl__sentmap_ack(&m, 2000, &r);
    assert_int_equal(m.count, 0);
    assert_null(vcl__sentmap_oldest(&m));
    vcl__sentmap_free(&m, &h.mem);
    assert_int_equal(h.allocated, 0);
}

/* C4: three later transmissions arrived; two are not enough. */
static void loss_needs_three_later_ones(void **state)
{
    struct heap h;
    struct sentmap m = {.count = 0};
    struct sentmap_ack r = {.nb_delivered = 0};
    heap_init(&h);
    push(&m, &h, 6);
    vcl__sentmap_sack(&m, 100, 300, &r);
    vcl__sentmap_detect_lost(&m, &r);
    assert_int_equal(r.nb_lost, 0);
    vcl__sentmap_sack(&m, 300, 400, &r);
    vcl__sentmap_detect_lost(&m, &r);
    assert_int_equal(r.nb_lost, 1);
    assert_int_equal(r.lost_order, 1);
    struct sent *f = vcl__sentmap_next_lost(&m);
    assert_int_equal(f->offset, 0);
    vcl__sentmap_sent_again(&m, f, 5000);
    assert_int_equal(f->tx, 1);
    assert_null(vcl__sentmap_next_lost(&m));
    r = (struct sentmap_ack){.nb_delivered = 0};
    vcl__sentmap_detect_lost(&m, &r); /* the repetition is younger than all that arrived */
    assert_int_equal(r.nb_lost, 0);
    vcl__sentmap_ack(&m, 100, &r);
    assert_false(r.rtt_known); /* Karn */
    vcl__sentmap_free(&m, &h.mem);
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
    assert_int_equal(m.nb_in_flight, 0);
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
                vcl__sentmap_detect_lost(&m, &r);
            }
            break;
        case 4:
            while (m.nb_lost > 0 && below(&seed, 8) != 0)
                vcl__sentmap_sent_again(&m, vcl__sentmap_next_lost(&m), (uint64_t)i);
            break;
        default:
            if (below(&seed, 50) == 0)
                vcl__sentmap_mark_all_lost(&m, (uint64_t)i);
        }
        uint32_t lost = 0, flying = 0;
        uint64_t at = una;
        for (uint32_t k = 0; k < m.count; k++) {
            struct sent *f = &m.frames[(m.head + k) & (m.cap - 1)];
            lost += f->state == SENT_LOST;
            flying += f->state == SENT_IN_FLIGHT;
            assert_int_equal(f->offset, at);
            at = sent_end(f);
        }
        assert_int_equal(at, offset);
        assert_int_equal(lost, m.nb_lost);
        assert_int_equal(flying, m.nb_in_flight);
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
        cmocka_unit_test(loss_needs_three_later_ones),
        cmocka_unit_test(a_new_path_resends_what_is_not_sacked),
        cmocka_unit_test(counters_hold),
        cmocka_unit_test(is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
