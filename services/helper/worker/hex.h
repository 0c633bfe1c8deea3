/* SPDX-License-Identifier: Apache-2.0
 *
 * Keys as text: two hex digits a byte.
 */
#ifndef POSTMAN_HEX_H
#define POSTMAN_HEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* text_len digits must be exactly nb_bytes bytes. */
static inline bool hex_decode(const char *text, size_t text_len, uint8_t *out, size_t nb_bytes)
{
    if (text_len != 2 * nb_bytes)
        return false;
    for (size_t i = 0; i < nb_bytes; i++) {
        int high = hex_digit(text[2 * i]), low = hex_digit(text[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        out[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

#endif
