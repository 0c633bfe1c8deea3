/* SPDX-License-Identifier: Apache-2.0
 *
 * The heap against a plain array that is searched: 100,000 seeded random steps.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "due_heap.h"

enum { SLOTS = 37, STEPS = 100000 };

static uint64_t random_next(uint64_t *seed)
{
    *seed ^= *seed << 13; /* xorshift64, Marsaglia 2003 */
    *seed ^= *seed >> 7;
    return *seed ^= *seed << 17;
}

static uint64_t least(const uint64_t *model)
{
    uint64_t found = DUE_NONE;

    for (int i = 0; i < SLOTS; i++)
        found = model[i] < found ? model[i] : found;
    return found;
}

static void test_matches_a_plain_search(void **state)
{
    uint64_t model[SLOTS], seed = 20260101;
    struct due_heap heap;
    void *mem = calloc(1, due_heap_bytes(SLOTS));
    uint32_t slot;

    due_heap_init(&heap, mem, SLOTS);
    for (int i = 0; i < SLOTS; i++)
        model[i] = DUE_NONE;
    for (int step = 0; step < STEPS; step++) {
        uint32_t at = random_next(&seed) % SLOTS;
        if (random_next(&seed) % 3) {
            model[at] = random_next(&seed) % 50; /* few values: many ties */
            due_heap_set(&heap, at, model[at]);
        } else {
            model[at] = DUE_NONE;
            due_heap_remove(&heap, at);
        }
        uint64_t first = due_heap_first(&heap, &slot);
        assert_true(first == least(model));
        if (first != DUE_NONE)
            assert_true(model[slot] == first);
    }
    free(mem);
}

static void test_drains_in_order(void **state)
{
    struct due_heap heap;
    void *mem = calloc(1, due_heap_bytes(SLOTS));
    uint64_t last = 0, due;
    uint32_t slot, nb = 0;

    due_heap_init(&heap, mem, SLOTS);
    assert_true(due_heap_first(&heap, &slot) == DUE_NONE);
    due_heap_remove(&heap, 3); /* absent */
    for (uint32_t i = 0; i < SLOTS; i++)
        due_heap_set(&heap, i, (i * 7919) % 101);
    while ((due = due_heap_first(&heap, &slot)) != DUE_NONE) {
        assert_true(due >= last);
        last = due;
        due_heap_remove(&heap, slot);
        nb++;
    }
    assert_int_equal(nb, SLOTS);
    free(mem);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_matches_a_plain_search),
        cmocka_unit_test(test_drains_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
