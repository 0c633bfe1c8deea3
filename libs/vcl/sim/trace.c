/* SPDX-License-Identifier: Apache-2.0
 * Hash and lines of a run: see trace.h. What a frame looks like is in trace_frame.c. */
#include "trace.h"

#include "hosts.h"
#include "rng.h"
#include "trace_frame.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void trace_init(struct trace *t, bool print)
{
    memset(t, 0, sizeof *t);
    t->print = print;
}

static void hash_number(struct trace *t, uint64_t number)
{
    t->hash = mix64(t->hash ^ number);
}

static void hash_bytes(struct trace *t, const void *buf, size_t len)
{
    hash_number(t, (uint64_t)pmw_crc32c(0, buf, len) << 32 | len);
}

static size_t name_slot(const struct trace *t, uint64_t cid)
{
    size_t slot = mix64(cid) % TRACE_CIDS_MAX;
    while (t->names[slot].connection != 0 && t->names[slot].cid != cid)
        slot = (slot + 1) % TRACE_CIDS_MAX;
    return slot;
}

void trace_name(struct trace *t, uint64_t cid, uint32_t connection)
{
    size_t slot = name_slot(t, cid);
    if (t->names[slot].connection == 0) {
        if (t->nb_names == TRACE_CIDS_MAX / 2)
            return; /* the rest keeps its hexadecimal id */
        t->nb_names++;
    }
    t->names[slot].cid = cid;
    t->names[slot].connection = connection + 1;
}

const char *trace_cid_text(const struct trace *t, uint64_t cid, char text[24])
{
    size_t slot = name_slot(t, cid);
    if (t->names[slot].connection != 0)
        snprintf(text, 24, "k%u", t->names[slot].connection - 1);
    else
        snprintf(text, 24, "%016llx", (unsigned long long)cid);
    return text;
}

static void print_time(uint64_t now)
{
    printf("%4llu.%06llu ", (unsigned long long)(now / 1000000), (unsigned long long)(now % 1000000));
}

void trace_datagram(struct trace *t, uint64_t now, unsigned from_host, unsigned to_host, const uint8_t *buf, size_t len,
                    enum origin origin, enum fate fate, bool altered, uint64_t flight_us)
{
    hash_number(t, now);
    hash_number(t, (uint64_t)from_host << 48 | (uint64_t)to_host << 40 | (uint64_t)origin << 32 | (uint64_t)fate << 8 |
                       altered);
    hash_number(t, flight_us);
    hash_bytes(t, buf, len);
    if (!t->print)
        return;
    static const char *const fates[] = {"", "[lost]", "[cut]", "[queue full]", "[no such host]"};
    static const char *const origins[] = {"", " [duplicate]", " [replay]", " [junk]"};
    char text[8192], flight[32] = "";
    trace_frame_text(t, buf, len, text, sizeof text);
    if (fate == FATE_DELIVERED)
        snprintf(flight, sizeof flight, "+%lluus", (unsigned long long)flight_us);
    print_time(now);
    printf("%-3s > %-3s %s  %s%s%s%s\n", host_name(from_host), host_name(to_host), text, flight, fates[fate],
           altered ? " [corrupted]" : "", origins[origin]);
}

void trace_drop(struct trace *t, uint64_t now, unsigned from_host, unsigned to_host, const char *reason)
{
    hash_number(t, now);
    hash_bytes(t, reason, strlen(reason));
    if (!t->print)
        return;
    print_time(now);
    printf("%-3s < %-3s dropped: %s\n", host_name(to_host), host_name(from_host), reason);
}

void trace_note(struct trace *t, uint64_t now, unsigned host, const char *subject, const char *format, ...)
{
    hash_number(t, now);
    hash_number(t, host);
    char text[256];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    hash_bytes(t, text, len < (int)sizeof text ? (size_t)len : sizeof text - 1);
    if (!t->print)
        return;
    print_time(now);
    printf("%-3s * %-5s %s\n", host_name(host), subject, text);
}
