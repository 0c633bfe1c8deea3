/* SPDX-License-Identifier: Apache-2.0
 *
 * For the relay's tests: the server end of a trunk. It opens what the relay sent, entries of every kind, and writes
 * batches of its own, entry by entry.
 */
#ifndef POSTMAN_FAKE_SERVER_H
#define POSTMAN_FAKE_SERVER_H

#include "relay_fixture.h"

struct fake_server {
    struct relay_server is;
    struct pmw_trunk header; /* of the batch that is being written */
    uint8_t buf[PMW_TRUNK_BYTES_MAX];
    size_t len;
    uint64_t seq; /* of the last batch written */
};

struct taken { /* a batch from the relay */
    struct pmw_trunk header;
    struct pmw_any_entry entries[PMW_TRUNK_ENTRIES_MAX];
};

static inline struct fake_server fake_server_named(uint16_t server_id)
{
    return (struct fake_server){.is = server_named(server_id, 0)};
}

/* --- what the relay sent ----------------------------------------------------------------------------------------- */

/* The i-th datagram that was sent must be a sound batch to this server. */
static inline struct taken fake_take(const struct fake_server *s, const struct sink *sink, int i)
{
    struct taken taken;
    size_t at = PMW_TRUNK_HEADER_BYTES, end;
    int nb = 0;

    assert_true(i < sink->nb_sent && sink->sent[i].to_server);
    assert_true(pmw_addr_equal(&sink->sent[i].to, &s->is.addr));
    assert_true(pmw_trunk_check(sink->sent[i].buf, sink->sent[i].len, s->is.trunk_key_to_server, 0));
    assert_int_equal(pmw_trunk_decode(sink->sent[i].buf, sink->sent[i].len, &taken.header), 0);
    end = sink->sent[i].len - PMW_TRUNK_TAG_BYTES;
    while (nb < PMW_TRUNK_ENTRIES_MAX && pmw_entry_next(sink->sent[i].buf, end, &at, &taken.entries[nb]) > 0)
        nb++;
    assert_int_equal(at, end);
    assert_int_equal(nb, taken.header.nb_entries);
    return taken;
}

/* Everything held is sent, and the last datagram taken. */
static inline struct taken fake_take_last(const struct fake_server *s, struct sink *sink, struct relay *r, uint64_t now)
{
    relay_flush_due(r, now);
    assert_true(sink->nb_sent > 0);
    return fake_take(s, sink, sink->nb_sent - 1);
}

/* --- what it answers --------------------------------------------------------------------------------------------- */

static inline void fake_begin(struct fake_server *s)
{
    s->header = (struct pmw_trunk){.incarnation = 1, .batch_seq = (uint32_t)++s->seq, .shard = s->is.shard};
    s->len = PMW_TRUNK_HEADER_BYTES;
}

static inline void fake_added(struct fake_server *s, int len)
{
    assert_true(len > 0);
    s->len += (size_t)len;
    s->header.nb_entries++;
}

static inline void fake_put_long(struct fake_server *s, const struct pmw_addr *client, const uint8_t *frame, size_t len)
{
    const struct pmw_entry entry = {.client = *client, .frame = frame, .frame_len = (uint16_t)len};
    fake_added(s, pmw_entry_encode(s->buf + s->len, sizeof(s->buf) - s->len, &entry));
}

static inline void fake_put_short(struct fake_server *s, uint32_t index, uint8_t generation, const uint8_t *frame,
                                  size_t len)
{
    struct pmw_short entry;

    assert_true(pmw_short_of_frame(frame, len, &entry));
    entry.index = index;
    entry.generation = generation & 0x0f;
    fake_added(s, pmw_short_encode(s->buf + s->len, sizeof(s->buf) - s->len, &entry));
}

static inline void fake_put_ref(struct fake_server *s, enum pmw_entry_kind kind, uint32_t index, uint8_t generation)
{
    const struct pmw_bind_ref ref = {.index = index, .generation = generation};
    fake_added(s, pmw_bind_ref_encode(s->buf + s->len, sizeof(s->buf) - s->len, kind, &ref));
}

static inline void fake_put_nack(struct fake_server *s, uint32_t first, uint16_t count)
{
    const struct pmw_nack nack = {.first = first, .count = count};
    fake_added(s, pmw_nack_encode(s->buf + s->len, sizeof(s->buf) - s->len, &nack));
}

static inline void fake_credit(struct fake_server *s, uint32_t limit)
{
    s->header.flags |= PMW_TRUNK_CREDIT;
    s->header.credit = limit;
}

static inline void fake_ack(struct fake_server *s, uint32_t batch, uint32_t bits)
{
    s->header.flags |= PMW_TRUNK_ACKS;
    s->header.ack_batch = batch;
    s->header.ack_bits = bits;
}

/* Seals the batch and gives it to the relay, in memory of its exact size. */
static inline int fake_send(struct fake_server *s, struct relay *r, uint64_t now)
{
    size_t len = s->len + PMW_TRUNK_TAG_BYTES;
    uint8_t *exact = malloc(len);

    assert_int_equal(pmw_trunk_encode(s->buf, sizeof(s->buf), &s->header), PMW_TRUNK_HEADER_BYTES);
    memcpy(exact, s->buf, len);
    pmw_trunk_seal(exact, len, s->is.trunk_key_to_helper, (uint32_t)(s->seq >> 32));
    int reason = relay_trunk_datagram(r, now, &s->is.addr, exact, len, false);
    free(exact);
    return reason;
}

/* --- frames of a client ------------------------------------------------------------------------------------------ */

/* A short frame (W10). The check is the endpoints' business. */
static inline size_t short_frame(uint8_t *buf, uint8_t type, uint64_t cid, uint16_t seq, uint16_t payload_len,
                                 uint8_t flags)
{
    static const uint8_t payload[PMW_PAYLOAD_BYTES_BASE] = "short payload";
    const struct pmw_frame f = {.type = type,
                                .flags = (flags & PMW_F_SEALED ? 0 : PMW_F_CHECK) | PMW_F_SHORT | flags,
                                .epoch8 = 5,
                                .cid = cid,
                                .seq = seq,
                                .ack = 77,
                                .window = PMW_WINDOW_SILENT,
                                .payload_len = payload_len};
    int len = pmw_frame_encode(buf, PMW_FRAME_BYTES_BASE, &f, payload);

    assert_true(len > 0);
    return (size_t)len;
}

static inline int client_gives(struct relay *r, uint64_t now, const struct pmw_addr *from, const uint8_t *frame,
                               size_t len)
{
    uint8_t *exact = malloc(len);

    memcpy(exact, frame, len);
    int reason = relay_client_datagram(r, now, from, exact, len);
    free(exact);
    return reason;
}

static inline int client_gives_short(struct relay *r, uint64_t now, const struct pmw_addr *from, uint64_t cid,
                                     uint16_t seq)
{
    uint8_t frame[PMW_FRAME_BYTES_BASE];
    return client_gives(r, now, from, frame, short_frame(frame, PMW_DATA, cid, seq, 64, 0));
}

#endif
