/* SPDX-License-Identifier: Apache-2.0 */
#include "sendbuf.h"
#include "testkit.h"

static void keeps_what_is_not_acknowledged(void **state)
{
    enum { MAX = 5000 };
    uint64_t seed = 3, written = 0;
    struct heap h;
    struct sendbuf b;
    heap_init(&h);
    vcl__sendbuf_init(&b, MAX);
    while (written < 200000) {
        uint8_t in[3000], out[3000];
        size_t want = below(&seed, sizeof(in));
        for (size_t i = 0; i < want; i++)
            in[i] = (uint8_t)((written + i) * 7 + ((written + i) >> 9));
        uint32_t space = vcl__sendbuf_space(&b);
        int64_t took = vcl__sendbuf_write(&b, &h.mem, in, want);
        assert_int_equal(took, want < space ? want : space);
        written += (uint64_t)took;
        assert_true(b.end - b.una <= MAX && b.ring.cap <= 8192);
        if (b.end > b.una) {
            uint64_t from = b.una + below(&seed, b.end - b.una);
            uint32_t len = (uint32_t)below(&seed, b.end - from + 1);
            len = len > sizeof(out) ? sizeof(out) : len;
            vcl__sendbuf_copy(&b, from, out, len);
            for (uint32_t i = 0; i < len; i++)
                assert_int_equal(out[i], (uint8_t)((from + i) * 7 + ((from + i) >> 9)));
        }
        vcl__sendbuf_ack(&b, &h.mem, b.una + below(&seed, b.end - b.una + 1));
    }
    vcl__sendbuf_ack(&b, &h.mem, b.end);
    assert_true(b.ring.cap <= RING_BYTES_FIRST); /* large storage is given back */
    vcl__sendbuf_free(&b, &h.mem);
    assert_int_equal(h.allocated, 0);
}

static void without_memory_nothing_is_taken(void **state)
{
    struct heap h;
    struct sendbuf b;
    heap_init(&h);
    h.left = 1;
    vcl__sendbuf_init(&b, 100000);
    assert_int_equal(vcl__sendbuf_write(&b, &h.mem, "abc", 3), 3);
    char big[2000] = {0};
    assert_int_equal(vcl__sendbuf_write(&b, &h.mem, big, sizeof(big)), -1);
    assert_int_equal(b.end, 3);
    vcl__sendbuf_free(&b, &h.mem);
    assert_int_equal(h.allocated, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_what_is_not_acknowledged),
        cmocka_unit_test(without_memory_nothing_is_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
