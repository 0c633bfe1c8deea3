/* SPDX-License-Identifier: Apache-2.0
 *
 * An invariant of a fuzzer: libFuzzer keeps the input that breaks it.
 */
#ifndef POSTMAN_FUZZ_REQUIRE_H
#define POSTMAN_FUZZ_REQUIRE_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define REQUIRE(condition)                                                                                             \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #condition);                                  \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
