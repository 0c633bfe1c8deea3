/* SPDX-License-Identifier: Apache-2.0 */
#include "recvbuf.h"
#include "testkit.h"

#include <stdbool.h>
#include <string.h>

enum { STREAM = 20000 };

static uint8_t byte_at(uint64_t offset)
{
    return (uint8_t)(offset * 31 + (offset >> 8));
}

static enum recvbuf_result put(struct recvbuf *b, struct heap *h, uint64_t from, uint64_t to, bool fin)
{
    uint8_t bytes[4096];
    uint64_t duplicates = 0;
    for (uint64_t i = from; i < to; i++)
        bytes[i - from] = byte_at(i);
    return vcl__recvbuf_put(b, &h->mem, from, bytes, (uint32_t)(to - from), fin, &duplicates);
}

/* Pieces of any size, in any order, repeated and overlapping: the reader sees the stream. */
static void any_order_yields_the_stream(void **state)
{
    uint64_t seed = 2;
    struct heap h;
    heap_init(&h);
    for (int round = 0; round < 40; round++) {
        struct recvbuf b;
        uint64_t read = 0;
        vcl__recvbuf_init(&b, 1 + (uint32_t)below(&seed, 6000));
        while (!vcl__recvbuf_complete(&b) || vcl__recvbuf_readable(&b) > 0) {
            uint64_t from = b.nxt + below(&seed, 3000), to;
            from = from > 1500 ? from - 1500 : 0;
            if (below(&seed, 3) == 0)
                from = b.nxt < STREAM ? b.nxt : STREAM;
            from = from > STREAM ? STREAM : from;
            to = from + below(&seed, 700);
            to = to > STREAM ? STREAM : to;
            bool fin = to == STREAM && below(&seed, 2) == 0;
            if (to == from && !fin)
                continue;
            uint64_t edge = b.read + b.bytes_max;
            enum recvbuf_result r = put(&b, &h, from, to, fin);
            assert_int_not_equal(r, RECVBUF_NO_MEMORY);
            if (to > edge && to > b.nxt)
                assert_true(r == RECVBUF_BEYOND || r == RECVBUF_DUPLICATE);
            uint8_t out[512];
            size_t want = below(&seed, sizeof(out) + 1);
            bool peek = below(&seed, 4) == 0;
            uint32_t n = vcl__recvbuf_read(&b, &h.mem, out, want, peek);
            for (uint32_t i = 0; i < n; i++)
                assert_int_equal(out[i], byte_at(read + i));
            read += peek ? 0 : n;
        }
        assert_int_equal(read, STREAM);
        assert_int_equal(b.nxt, STREAM + 1);
        vcl__recvbuf_free(&b, &h.mem);
        assert_int_equal(h.allocated, 0);
    }
}

static void says_what_happened(void **state)
{
    struct heap h;
    struct recvbuf b;
    heap_init(&h);
    vcl__recvbuf_init(&b, 1000);
    assert_int_equal(put(&b, &h, 100, 200, false), RECVBUF_OUT_OF_ORDER);
    assert_int_equal(put(&b, &h, 120, 180, false), RECVBUF_DUPLICATE);
    assert_int_equal(put(&b, &h, 0, 100, false), RECVBUF_ADVANCED);
    assert_int_equal(b.nxt, 200);
    assert_int_equal(put(&b, &h, 50, 200, false), RECVBUF_DUPLICATE);
    assert_int_equal(put(&b, &h, 900, 1001, false), RECVBUF_BEYOND);
    assert_int_equal(put(&b, &h, 900, 1000, false), RECVBUF_OUT_OF_ORDER);
    assert_int_equal(vcl__recvbuf_window(&b), 800);
    vcl__recvbuf_free(&b, &h.mem);
}

static void a_stream_has_one_end(void **state)
{
    struct heap h;
    struct recvbuf b;
    heap_init(&h);
    vcl__recvbuf_init(&b, 1000);
    assert_int_equal(put(&b, &h, 300, 400, false), RECVBUF_OUT_OF_ORDER);
    assert_int_equal(put(&b, &h, 200, 350, true), RECVBUF_BEYOND); /* bytes beyond it are here already */
    assert_int_equal(put(&b, &h, 400, 500, true), RECVBUF_OUT_OF_ORDER);
    assert_int_equal(put(&b, &h, 500, 501, false), RECVBUF_BEYOND);
    assert_int_equal(put(&b, &h, 400, 450, true), RECVBUF_BEYOND);
    assert_int_equal(put(&b, &h, 0, 300, false), RECVBUF_ADVANCED);
    assert_true(vcl__recvbuf_complete(&b));
    assert_int_equal(vcl__recvbuf_readable(&b), 500);
    assert_int_equal(put(&b, &h, 500, 500, true), RECVBUF_DUPLICATE);
    vcl__recvbuf_free(&b, &h.mem);
}

static void fin_fits_a_full_window(void **state)
{
    struct heap h;
    struct recvbuf b;
    heap_init(&h);
    vcl__recvbuf_init(&b, 100);
    assert_int_equal(put(&b, &h, 0, 100, false), RECVBUF_ADVANCED);
    assert_int_equal(vcl__recvbuf_window(&b), 0);
    assert_int_equal(put(&b, &h, 100, 100, true), RECVBUF_ADVANCED);
    assert_true(vcl__recvbuf_complete(&b));
    assert_int_equal(vcl__recvbuf_window(&b), 0);
    vcl__recvbuf_free(&b, &h.mem);
}

static void without_memory_it_is_as_if_lost(void **state)
{
    struct heap h;
    struct recvbuf b;
    heap_init(&h);
    vcl__recvbuf_init(&b, 100000);
    h.left = 0;
    assert_int_equal(put(&b, &h, 0, 100, true), RECVBUF_NO_MEMORY);
    assert_int_equal(b.nxt, 0);
    assert_int_equal(b.fin, RECVBUF_NO_FIN);
    h.left = 1;
    assert_int_equal(put(&b, &h, 10, 100, false), RECVBUF_NO_MEMORY); /* bytes, but no room for the range */
    assert_int_equal(b.ranges.count, 0);
    h.left = 10;
    assert_int_equal(put(&b, &h, 0, 100, true), RECVBUF_ADVANCED);
    vcl__recvbuf_free(&b, &h.mem);
    assert_int_equal(h.allocated, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_order_yields_the_stream),
        cmocka_unit_test(says_what_happened),
        cmocka_unit_test(a_stream_has_one_end),
        cmocka_unit_test(fin_fits_a_full_window),
        cmocka_unit_test(without_memory_it_is_as_if_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
