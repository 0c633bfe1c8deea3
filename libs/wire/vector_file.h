/* SPDX-License-Identifier: Apache-2.0
 *
 * Reader of the golden vectors for tests (format: vectors/README.md). Anything wrong in a file fails the test.
 */
#ifndef POSTMAN_WIRE_VECTOR_FILE_H
#define POSTMAN_WIRE_VECTOR_FILE_H

#include <stddef.h>
#include <stdint.h>

enum { VECTOR_LINES_MAX = 256, VECTOR_LINE_CHARS_MAX = 4096 };

struct vector {
    char name[64], kind[32];
    size_t nb_lines;
    struct {
        char *key, *value;
    } lines[VECTOR_LINES_MAX];
};

/* Calls visit for every vector of the file; returns how many there were. */
size_t vectors_each(const char *path, void (*visit)(const struct vector *v));

uint64_t vector_integer(const struct vector *v, const char *key);
/* Byte string of a field, its repetitions joined; at most cap. Returns the length. */
size_t vector_octets(const struct vector *v, const char *key, uint8_t *out, size_t cap);
/* A byte string of exactly len bytes. */
void vector_octets_exact(const struct vector *v, const char *key, uint8_t *out, size_t len);
/* The index-th line of that key, or NULL. */
const char *vector_line(const struct vector *v, const char *key, size_t index);
size_t hex_decode(const char *hex, size_t chars, uint8_t *out, size_t cap);

#endif
