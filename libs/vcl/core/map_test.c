/* SPDX-License-Identifier: Apache-2.0 */
#include "map.h"
#include "testkit.h"

enum { NB = 3000 };

static void finds_what_is_in(void **state)
{
    uint64_t seed = 6;
    struct heap h;
    struct map m;
    static struct map_node nodes[NB];
    static uint64_t keys[NB];
    heap_init(&h);
    assert_int_equal(vcl__map_init(&m, &h.mem, draw(&seed)), 0);
    for (int i = 0; i < NB; i++)
        keys[i] = i % 2 ? draw(&seed) : (uint64_t)i; /* random and adjacent ones */
    for (int i = 0; i < 40000; i++) {
        uint64_t k = below(&seed, NB);
        if (nodes[k].linked) {
            assert_ptr_equal(vcl__map_find(&m, keys[k]), &nodes[k]);
            vcl__map_remove(&m, &nodes[k]);
            assert_null(vcl__map_find(&m, keys[k]));
            vcl__map_remove(&m, &nodes[k]); /* harmless */
        } else {
            assert_null(vcl__map_find(&m, keys[k]));
            vcl__map_insert(&m, &nodes[k], keys[k]);
        }
    }
    vcl__map_free(&m);
    assert_int_equal(h.allocated, 0);
}

static void keys_may_repeat(void **state)
{
    struct heap h;
    struct map m;
    struct map_node a = {.key = 0}, b = {.key = 0};
    heap_init(&h);
    assert_int_equal(vcl__map_init(&m, &h.mem, 1), 0);
    vcl__map_insert(&m, &a, 7);
    vcl__map_insert(&m, &b, 7);
    struct map_node *first = vcl__map_find(&m, 7), *second = vcl__map_next(first);
    assert_true((first == &a && second == &b) || (first == &b && second == &a));
    assert_null(vcl__map_next(second));
    vcl__map_free(&m);
}

static void works_without_memory_to_grow(void **state)
{
    struct heap h;
    struct map m;
    static struct map_node nodes[NB];
    heap_init(&h);
    h.left = 1;
    assert_int_equal(vcl__map_init(&m, &h.mem, 1), 0);
    for (uint64_t i = 0; i < NB; i++)
        vcl__map_insert(&m, &nodes[i], i);
    for (uint64_t i = 0; i < NB; i++)
        assert_ptr_equal(vcl__map_find(&m, i), &nodes[i]);
    vcl__map_free(&m);
    h.left = 0;
    assert_int_equal(vcl__map_init(&m, &h.mem, 1), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_what_is_in),
        cmocka_unit_test(keys_may_repeat),
        cmocka_unit_test(works_without_memory_to_grow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
