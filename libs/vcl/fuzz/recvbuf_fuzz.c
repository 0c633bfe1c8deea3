/* SPDX-License-Identifier: Apache-2.0
 *
 * The receiving half of a stream against an oracle that keeps one flag for each offset (C2): any frames in any order,
 * overlapping, beyond the window, contradicting the FIN, with memory running out. What is read is what was sent.
 */
#include <string.h>

#include "counted_mem.h"
#include "fuzz_input.h"
#include "recvbuf.h"

enum { STREAM_BYTES = 3072, WINDOW_BYTES = 1024, STEPS_MAX = 1000, FRAME_BYTES_MAX = 300 };
/* Near 2^32, so that offsets cross it: what the wire truncates is whole in here. */
static const uint64_t BASE = (1ull << 32) - 1500;

struct oracle {
    struct recvbuf buf;
    struct counted_mem mem;
    uint8_t has[STREAM_BYTES + FRAME_BYTES_MAX + 1]; /* by offset - BASE: stored in the buffer */
    uint64_t read, fin;                              /* relative; fin: UINT64_MAX when none was taken */
};

static uint8_t byte_at(uint64_t offset)
{
    return (uint8_t)(offset * 29 + (offset >> 8) * 7 + 3);
}

static uint64_t next_of(const struct oracle *o)
{
    uint64_t next = o->read;
    while (next < sizeof(o->has) && o->has[next])
        next++;
    return next;
}

static bool all_there(const struct oracle *o, uint64_t start, uint64_t end)
{
    for (uint64_t i = start; i < end; i++)
        if (i >= o->read && !o->has[i])
            return false;
    return true;
}

/* Where the last byte that is kept ends. */
static uint64_t kept_end(const struct oracle *o)
{
    uint64_t end = sizeof(o->has);
    while (end > o->read && !o->has[end - 1])
        end--;
    return end;
}

static void require_state(const struct oracle *o)
{
    uint64_t next = next_of(o);
    bool complete = o->fin != UINT64_MAX && next >= o->fin;
    REQUIRE(vcl__recvbuf_readable(&o->buf) == next - o->read);
    REQUIRE(vcl__recvbuf_complete(&o->buf) == complete);
    REQUIRE(o->buf.nxt == BASE + next + complete);
    REQUIRE(vcl__recvbuf_window(&o->buf) <= WINDOW_BYTES && o->buf.ranges.count <= RANGES_MAX);
    REQUIRE(kept_end(o) <= o->read + WINDOW_BYTES); /* W8: nothing beyond the edge is kept */
    REQUIRE(o->mem.blocks <= 2);
}

static void put(struct oracle *o, struct input *in)
{
    uint64_t at = take16(in) % STREAM_BYTES, duplicate = 0;
    uint32_t len = take16(in) % FRAME_BYTES_MAX;
    bool fin = take8(in) < 8;
    uint8_t payload[FRAME_BYTES_MAX];
    for (uint32_t i = 0; i < len; i++)
        payload[i] = byte_at(BASE + at + i);
    uint64_t end = at + len, next = next_of(o);
    if (len == 0 && !fin)
        return; /* never given: it has no stream bytes */
    bool known_end = o->fin != UINT64_MAX;
    bool contradicts = known_end ? (fin ? end != o->fin : end > o->fin) : fin && end < kept_end(o);
    enum recvbuf_result r = vcl__recvbuf_put(&o->buf, &o->mem.mem, BASE + at, payload, len, fin, &duplicate);
    REQUIRE(duplicate <= len);
    if (contradicts) {
        REQUIRE(r == RECVBUF_BEYOND);
        return;
    }
    bool nothing_new = all_there(o, at, end) && (!fin || known_end);
    switch (r) {
    case RECVBUF_DUPLICATE:
        REQUIRE(nothing_new);
        return;
    case RECVBUF_BEYOND:
        REQUIRE(end > o->read + WINDOW_BYTES);
        return;
    case RECVBUF_NO_MEMORY: /* or a gap too many */
        REQUIRE(o->mem.fails || o->buf.ranges.count == RANGES_MAX);
        return;
    case RECVBUF_ADVANCED:
        REQUIRE(at <= next);
        break;
    case RECVBUF_OUT_OF_ORDER:
        REQUIRE(at > next);
    }
    for (uint64_t i = at > o->read ? at : o->read; i < end; i++)
        o->has[i] = 1;
    if (fin)
        o->fin = end;
}

static void read_some(struct oracle *o, struct input *in)
{
    uint8_t out[WINDOW_BYTES];
    size_t want = take16(in) % sizeof(out);
    bool peek = take8(in) < 64;
    uint64_t there = next_of(o) - o->read;
    uint32_t got = vcl__recvbuf_read(&o->buf, &o->mem.mem, out, want, peek);
    REQUIRE(got == (there < want ? there : want));
    for (uint32_t i = 0; i < got; i++)
        REQUIRE(out[i] == byte_at(BASE + o->read + i));
    if (!peek)
        o->read += got;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, data + size};
    struct oracle o = {.fin = UINT64_MAX};
    counted_mem_init(&o.mem);
    vcl__recvbuf_init(&o.buf, WINDOW_BYTES);
    o.buf.read = o.buf.nxt = BASE;
    for (unsigned i = 0; i < STEPS_MAX && in.at < in.end; i++) {
        uint8_t what = take8(&in);
        o.mem.fails = what >= 0xf0;
        if (what % 4 == 3)
            read_some(&o, &in);
        else
            put(&o, &in);
        require_state(&o);
    }
    o.mem.fails = false;
    vcl__recvbuf_free(&o.buf, &o.mem.mem);
    REQUIRE(o.mem.blocks == 0);
    return 0;
}
