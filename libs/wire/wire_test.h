/* SPDX-License-Identifier: Apache-2.0
 *
 * What the tests of the codecs share: inputs that end at a guard page, so that an over-read faults; random fields
 * from a fixed seed; and the rules that every strict decoder obeys.
 */
#ifndef POSTMAN_WIRE_TEST_H
#define POSTMAN_WIRE_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "postman/wire.h"

/* A copy of data whose last byte is the last one mapped. Valid until the next call. */
const uint8_t *guarded(const void *data, size_t len);

/* Fills buf from a generator that starts at the same seed in every run. */
void random_fill(void *buf, size_t len);
uint64_t random_below(uint64_t bound);

typedef int decode_fn(const uint8_t *buf, size_t len);
struct reserved {
    size_t from, to; /* bytes [from, to) have one legal value */
};
/* bytes decode; every truncation, one byte more, and each reserved bit changed do not. */
void assert_strict(decode_fn *decode, const uint8_t *bytes, size_t len, const struct reserved *reserved, size_t nb);

#endif
