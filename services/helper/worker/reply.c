/* SPDX-License-Identifier: Apache-2.0
 *
 * A small JSON writer. See reply.h.
 */
#include "reply.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

static void add(struct reply *r, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    int len = vsnprintf(r->text + r->len, r->cap - r->len, format, args);
    va_end(args);
    if (len < 0 || (size_t)len >= r->cap - r->len) {
        r->text[r->len] = '\0';
        r->cut = true;
    } else {
        r->len += (size_t)len;
    }
}

static void begin_value(struct reply *r, const char *key)
{
    if (r->comma)
        add(r, ",");
    if (key)
        add(r, "\"%s\":", key);
    r->comma = true;
}

void reply_begin(struct reply *r, char *text, size_t cap)
{
    *r = (struct reply){.text = text, .cap = cap};
    text[0] = '\0';
}

void reply_open(struct reply *r, const char *key, char bracket)
{
    begin_value(r, key);
    add(r, "%c", bracket);
    r->comma = false;
}

void reply_close(struct reply *r, char bracket)
{
    add(r, "%c", bracket);
    r->comma = true;
}

void reply_number(struct reply *r, const char *key, uint64_t value)
{
    begin_value(r, key);
    add(r, "%" PRIu64, value);
}

void reply_share(struct reply *r, const char *key, double value)
{
    begin_value(r, key);
    add(r, "%.4f", value);
}

void reply_bool(struct reply *r, const char *key, bool value)
{
    begin_value(r, key);
    add(r, value ? "true" : "false");
}

void reply_string(struct reply *r, const char *key, const char *value)
{
    begin_value(r, key);
    add(r, "\"");
    for (; *value; value++) {
        unsigned char c = (unsigned char)*value;
        if (c == '"' || c == '\\')
            add(r, "\\%c", c);
        else if (c < 0x20 || c >= 0x7f)
            add(r, "\\u%04x", c);
        else
            add(r, "%c", c);
    }
    add(r, "\"");
}
