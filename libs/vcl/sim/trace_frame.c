/* SPDX-License-Identifier: Apache-2.0
 * Datagrams as text, one function for each family of frames: see trace_frame.h. */
#include "trace_frame.h"

#include "hosts.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

/* A bounded string being written. */
struct line {
    char *text;
    size_t used, cap;
};

__attribute__((format(printf, 2, 3))) static void add(struct line *l, const char *format, ...)
{
    if (l->used + 1 >= l->cap)
        return;
    va_list args;
    va_start(args, format);
    int n = vsnprintf(l->text + l->used, l->cap - l->used, format, args);
    va_end(args);
    l->used = l->used + (size_t)n < l->cap ? l->used + (size_t)n : l->cap - 1;
}

static void add_flow(const struct trace *t, struct line *l, const uint8_t *buf, size_t len)
{
    struct pmw_frame f;
    char cid[24];
    if (pmw_frame_decode(buf, len, &f) < 0)
        return;
    add(l, "%s %s", f.type == PMW_DATA ? "DATA" : "ACK ", trace_cid_text(t, f.cid, cid));
    if (f.type == PMW_DATA)
        add(l, " seq %" PRIu32 " len %u", f.seq, f.payload_len);
    add(l, " ack %" PRIu32 " win %u ep %u tx %u", f.ack, f.window, f.epoch8, f.tx);
    if (f.flags & PMW_F_FIN)
        add(l, " FIN");
    if (f.flags & PMW_F_RESEND)
        add(l, " R");
    if (f.flags & PMW_F_URGENT)
        add(l, " U");
    for (int i = 0; i < f.nb_sacks; i++)
        add(l, " sack %" PRIu32 "+%u", f.sacks[i].start, f.sacks[i].len);
}

static void add_open(const struct trace *t, struct line *l, const uint8_t *buf, size_t len, int type)
{
    char cid[24];
    struct pmw_open open;
    struct pmw_open_ack ack;
    struct pmw_refused refused;
    if (type == PMW_OPEN && pmw_open_decode(buf, len, &open) >= 0)
        add(l, "OPEN s%04x nonce %04x port %u rwnd %" PRIu32 " ep %" PRIu32, (unsigned)(open.session_id & 0xffff),
            (unsigned)(open.open_nonce & 0xffff), open.client_port, open.rwnd, open.epoch);
    else if (type == PMW_OPEN_ACK && pmw_open_ack_decode(buf, len, &ack) >= 0)
        add(l, "OPEN_ACK s%04x nonce %04x %s rwnd %" PRIu32 " ep %" PRIu32, (unsigned)(ack.session_id & 0xffff),
            (unsigned)(ack.open_nonce & 0xffff), trace_cid_text(t, ack.cid, cid), ack.rwnd, ack.epoch);
    else if (type == PMW_REFUSED && pmw_refused_decode(buf, len, &refused) >= 0)
        add(l, "REFUSED s%04x nonce %04x reason %u", (unsigned)(refused.session_id & 0xffff),
            (unsigned)(refused.open_nonce & 0xffff), refused.reason);
}

static void add_resume(const struct trace *t, struct line *l, const uint8_t *buf, size_t len)
{
    struct pmw_resume f;
    char cid[24];
    if (pmw_resume_decode(buf, len, &f) < 0)
        return;
    add(l, "RESUME s%04x ep %" PRIu32 " path %u nonce %04x", (unsigned)(f.session_id & 0xffff), f.epoch, f.helper_id,
        (unsigned)(f.nonce & 0xffff));
    for (int i = 0; i < f.nb_conns; i++)
        add(l, " (%s rcv %" PRIu64 " una %" PRIu64 " nxt %" PRIu64 ")", trace_cid_text(t, f.conns[i].cid, cid),
            f.conns[i].rcv_nxt, f.conns[i].snd_una, f.conns[i].snd_nxt);
}

static void add_resume_ack(const struct trace *t, struct line *l, const uint8_t *buf, size_t len)
{
    struct pmw_resume_ack f;
    char cid[24];
    if (pmw_resume_ack_decode(buf, len, &f) < 0)
        return;
    add(l, "RESUME_ACK s%04x ep %" PRIu32 " nonce %04x", (unsigned)(f.session_id & 0xffff), f.epoch,
        (unsigned)(f.nonce & 0xffff));
    for (int i = 0; i < f.nb_conns; i++) {
        add(l, " (%s", trace_cid_text(t, f.conns[i].cid, cid));
        if (f.conns[i].window == PMW_WINDOW_GONE)
            add(l, " gone)");
        else
            add(l, " rcv %" PRIu64 " una %" PRIu64 " win %" PRIu32 ")", f.conns[i].rcv_nxt, f.conns[i].snd_una,
                f.conns[i].window);
    }
}

static void add_probe(struct line *l, const uint8_t *buf, size_t len, int type)
{
    struct pmw_probe f;
    if (pmw_probe_decode(buf, len, &f) < 0)
        return;
    add(l, "%s s%04x nonce %04x ep %" PRIu32 " path %u",
        type == PMW_PROBE  ? "PROBE"
        : type == PMW_PONG ? "PONG"
                           : "ECHO",
        (unsigned)(f.session_id & 0xffff), (unsigned)(f.nonce & 0xffff), f.epoch, f.helper_id);
    if (type == PMW_PONG)
        add(l, " inc %" PRIu32 "%s", f.incarnation, f.state ? " draining" : "");
}

static void add_reset(const struct trace *t, struct line *l, const uint8_t *buf, size_t len)
{
    struct pmw_reset f;
    char cid[24];
    if (pmw_reset_decode(buf, len, &f) >= 0)
        add(l, "RESET %s offset %" PRIu64 " reason %u ep %" PRIu32, trace_cid_text(t, f.cid, cid), f.offset, f.reason,
            f.epoch);
}

static void add_frame(const struct trace *t, struct line *l, const uint8_t *buf, size_t len);

static void add_trunk(const struct trace *t, struct line *l, const uint8_t *buf, size_t len)
{
    struct pmw_trunk h;
    if (pmw_trunk_decode(buf, len, &h) < 0)
        return;
    add(l, "TRUNK #%" PRIu32 " inc %" PRIu32 " n %u {", h.batch_seq, h.incarnation, h.nb_entries);
    size_t at = PMW_TRUNK_HEADER_BYTES;
    struct pmw_any_entry entry;
    int got;
    while ((got = pmw_entry_next(buf, len - PMW_TRUNK_TAG_BYTES, &at, &entry)) == 1) {
        if (entry.kind != PMW_ENTRY_LONG_V4 && entry.kind != PMW_ENTRY_LONG_V6) {
            add(l, " kind %02x,", entry.kind);
            continue;
        }
        unsigned host = host_of_addr(&entry.as_long.client);
        add(l, " %s:", host == HOST_NONE ? "?" : host_name(host));
        add_frame(t, l, entry.as_long.frame, entry.as_long.frame_len);
        add(l, ",");
    }
    add(l, got < 0 ? " bad entry }" : " }");
}

static void add_frame(const struct trace *t, struct line *l, const uint8_t *buf, size_t len)
{
    int type = pmw_type_of(buf, len);
    size_t before = l->used;
    switch (type) {
    case PMW_DATA:
    case PMW_ACK:
        add_flow(t, l, buf, len);
        break;
    case PMW_OPEN:
    case PMW_OPEN_ACK:
    case PMW_REFUSED:
        add_open(t, l, buf, len, type);
        break;
    case PMW_RESUME:
        add_resume(t, l, buf, len);
        break;
    case PMW_RESUME_ACK:
        add_resume_ack(t, l, buf, len);
        break;
    case PMW_PROBE:
    case PMW_PONG:
    case PMW_ECHO:
        add_probe(l, buf, len, type);
        break;
    case PMW_RESET:
        add_reset(t, l, buf, len);
        break;
    default:
        break;
    }
    if (l->used == before)
        add(l, "%zu bytes that do not decode (type %d)", len, type);
}

void trace_frame_text(const struct trace *t, const uint8_t *buf, size_t len, char *text, size_t cap)
{
    struct line l = {.text = text, .cap = cap};
    text[0] = 0;
    if (pmw_type_of(buf, len) == PMW_TRUNK)
        add_trunk(t, &l, buf, len);
    if (l.used == 0)
        add_frame(t, &l, buf, len);
}
