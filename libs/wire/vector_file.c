/* SPDX-License-Identifier: Apache-2.0
 *
 * See vector_file.h.
 */
#define _GNU_SOURCE
#include "vector_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wire_test.h"

static void vector_clear(struct vector *v)
{
    for (size_t i = 0; i < v->nb_lines; i++) {
        free(v->lines[i].key);
        free(v->lines[i].value);
    }
    *v = (struct vector){0};
}

static void vector_add(struct vector *v, const char *key, const char *value)
{
    assert_true(v->nb_lines < VECTOR_LINES_MAX);
    v->lines[v->nb_lines].key = strdup(key);
    v->lines[v->nb_lines].value = strdup(value);
    assert_non_null(v->lines[v->nb_lines].key);
    assert_non_null(v->lines[v->nb_lines].value);
    v->nb_lines++;
}

size_t vectors_each(const char *path, void (*visit)(const struct vector *v))
{
    char line[VECTOR_LINE_CHARS_MAX];
    struct vector v = {0};
    size_t nb = 0;
    FILE *file = fopen(path, "r");
    if (file == NULL)
        fail_msg("cannot open %s", path);
    while (fgets(line, sizeof(line), file) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        if (line[0] == '#' || line[0] == '\0')
            continue;
        char *value = strchr(line, ' ');
        assert_non_null(value);
        *value++ = '\0';
        if (strcmp(line, "vector") != 0) {
            vector_add(&v, line, value);
            continue;
        }
        if (nb++ > 0)
            visit(&v);
        vector_clear(&v);
        assert_int_equal(sscanf(value, "%63s %31s", v.name, v.kind), 2);
    }
    fclose(file);
    if (nb > 0)
        visit(&v);
    vector_clear(&v);
    return nb;
}

const char *vector_line(const struct vector *v, const char *key, size_t index)
{
    for (size_t i = 0; i < v->nb_lines; i++) {
        if (strcmp(v->lines[i].key, key) == 0 && index-- == 0)
            return v->lines[i].value;
    }
    return NULL;
}

uint64_t vector_integer(const struct vector *v, const char *key)
{
    const char *text = vector_line(v, key, 0);
    if (text == NULL)
        fail_msg("%s has no %s", v->name, key);
    char *end;
    uint64_t value = strtoull(text, &end, 0);
    assert_int_equal(*end, '\0');
    return value;
}

size_t hex_decode(const char *hex, size_t chars, uint8_t *out, size_t cap)
{
    assert_true(chars % 2 == 0 && chars / 2 <= cap);
    for (size_t i = 0; i < chars / 2; i++) {
        unsigned byte;
        assert_int_equal(sscanf(hex + 2 * i, "%2x", &byte), 1);
        out[i] = (uint8_t)byte;
    }
    return chars / 2;
}

size_t vector_octets(const struct vector *v, const char *key, uint8_t *out, size_t cap)
{
    size_t len = 0;
    const char *hex;
    for (size_t i = 0; (hex = vector_line(v, key, i)) != NULL; i++)
        len += hex_decode(hex, strlen(hex), out + len, cap - len);
    return len;
}

void vector_octets_exact(const struct vector *v, const char *key, uint8_t *out, size_t len)
{
    size_t found = vector_octets(v, key, out, len);
    if (found != len)
        fail_msg("%s: %s has %zu bytes, not %zu", v->name, key, found, len);
}
