/* SPDX-License-Identifier: Apache-2.0
 *
 * One JSON object written into a buffer of fixed size. What does not fit is cut off, and `cut` says so.
 */
#ifndef POSTMAN_REPLY_H
#define POSTMAN_REPLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct reply {
    char *text;
    size_t cap, len;
    bool comma, cut;
};

void reply_begin(struct reply *r, char *text, size_t cap);
void reply_open(struct reply *r, const char *key, char bracket); /* '{' or '['; key NULL: an element or the top */
void reply_close(struct reply *r, char bracket);                 /* '}' or ']' */
void reply_number(struct reply *r, const char *key, uint64_t value);
void reply_share(struct reply *r, const char *key, double value); /* 0 to 1, four digits */
void reply_bool(struct reply *r, const char *key, bool value);
void reply_string(struct reply *r, const char *key, const char *value);

#endif
