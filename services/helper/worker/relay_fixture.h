/* SPDX-License-Identifier: Apache-2.0
 *
 * For the relay's tests: a sink that records what is sent (each buffer of exactly the size asked for, so that the
 * sanitizer sees an overrun), one client, servers with keys, frames that look like a client's.
 */
#ifndef POSTMAN_RELAY_FIXTURE_H
#define POSTMAN_RELAY_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "relay.h"

enum { SENT_MAX = 4096, TRUNK_BYTES = 1440, HOLD_US = 100, HELPER_ID = 3, INCARNATION = 9 };

struct sent {
    uint8_t *buf;
    size_t len;
    struct pmw_addr to;
    bool to_server;
};
struct sink {
    struct sent sent[SENT_MAX];
    int nb_sent, nb_out; /* nb_out: buffers allocated and neither sent nor released */
    bool exhausted;      /* alloc fails */
};

static const struct pmw_addr CLIENT = {.ip = {198, 18, 0, 1}, .port = 4000, .family = 4};
static const struct pmw_addr CLIENT_V6 = {.ip = {0x20, 1, 0xd, 0xb8, [15] = 1}, .port = 4000, .family = 6};
static const uint8_t CID_KEY[16] = "fixture cid key";

static uint8_t *sink_alloc(void *ctx, size_t cap)
{
    struct sink *sink = ctx;

    if (sink->exhausted)
        return NULL;
    sink->nb_out++;
    return malloc(cap);
}

static void sink_release(void *ctx, uint8_t *buf)
{
    ((struct sink *)ctx)->nb_out--;
    free(buf);
}

static void sink_send(void *ctx, uint8_t *buf, size_t len, const struct pmw_addr *to, bool to_server)
{
    struct sink *sink = ctx;

    assert_true(sink->nb_sent < SENT_MAX);
    sink->nb_out--;
    sink->sent[sink->nb_sent++] = (struct sent){.buf = buf, .len = len, .to = *to, .to_server = to_server};
}

static inline void sink_forget(struct sink *sink)
{
    while (sink->nb_sent > 0)
        free(sink->sent[--sink->nb_sent].buf);
}

static inline void *zeroed(size_t size)
{
    return calloc(1, size);
}

static inline struct relay_config config_for(struct sink *sink)
{
    struct relay_config config = {
        .helper_id = HELPER_ID,
        .worker = 1,
        .incarnation = INCARNATION,
        .flows_max = 1024,
        .servers_max = 16,
        .flow_idle_us = 30000000,
        .trunk_bytes_max = TRUNK_BYTES,
        .hold_us_max = HOLD_US,
        .batch_entries_max = PMW_TRUNK_ENTRIES_MAX,
        .sink = {.ctx = sink, .alloc = sink_alloc, .send = sink_send, .release = sink_release},
        .alloc = zeroed,
        .free = free,
    };
    memcpy(config.cid_key, CID_KEY, sizeof(config.cid_key));
    return config;
}

static inline struct relay_server server_named(uint16_t server_id, uint8_t shard)
{
    struct relay_server s = {.server_id = server_id, .shard = shard};

    s.addr = (struct pmw_addr){.ip = {198, 18, 1, (uint8_t)server_id}, .port = (uint16_t)(9000 + shard), .family = 4};
    memset(s.trunk_key_to_server, server_id & 0xff, sizeof(s.trunk_key_to_server));
    memset(s.trunk_key_to_helper, ~server_id & 0xff, sizeof(s.trunk_key_to_helper));
    return s;
}

static inline uint64_t cid_of(uint16_t server_id, uint8_t shard, uint32_t slot)
{
    const struct pmw_cid cid = {.server_id = server_id, .shard = shard, .slot = slot, .generation = 1};
    return pmw_cid_seal(&cid, CID_KEY);
}

/* A DATA frame; the check is the endpoints' business. */
static inline size_t data_frame(uint8_t *buf, uint64_t cid, uint16_t payload_len, uint8_t flags)
{
    static const uint8_t payload[PMW_PAYLOAD_BYTES_BASE] = "payload";
    const struct pmw_frame f = {
        .type = PMW_DATA, .flags = PMW_F_CHECK | flags, .epoch8 = 1, .cid = cid, .payload_len = payload_len};
    int len = pmw_frame_encode(buf, PMW_FRAME_BYTES_BASE, &f, payload);

    assert_true(len > 0);
    return (size_t)len;
}

static inline size_t probe_frame(uint8_t *buf, uint16_t server_id)
{
    const struct pmw_probe f = {.session_id = 11,
                                .nonce = 22,
                                .epoch = 1,
                                .server_id = server_id,
                                .helper_id = HELPER_ID,
                                .bytes = PMW_PROBE_BYTES};
    return (size_t)pmw_probe_encode(buf, PMW_FRAME_BYTES_BASE, PMW_PROBE, &f);
}

/* Opens a recorded batch as its server would: tag, header, each entry; returns the number of entries. */
static inline int open_batch(const struct sent *sent, const struct relay_server *s, struct pmw_trunk *header,
                             struct pmw_entry *entries)
{
    struct pmw_any_entry entry;
    size_t at = PMW_TRUNK_HEADER_BYTES;
    int nb_entries = 0;

    assert_true(sent->to_server);
    assert_true(pmw_addr_equal(&sent->to, &s->addr));
    assert_true(pmw_trunk_check(sent->buf, sent->len, s->trunk_key_to_server, 0));
    assert_int_equal(pmw_trunk_decode(sent->buf, sent->len, header), 0);
    while (pmw_entry_next(sent->buf, sent->len - PMW_TRUNK_TAG_BYTES, &at, &entry) > 0) {
        assert_true(entry.kind == PMW_ENTRY_LONG_V4 || entry.kind == PMW_ENTRY_LONG_V6);
        entries[nb_entries++] = entry.as_long;
    }
    assert_int_equal(at, sent->len - PMW_TRUNK_TAG_BYTES);
    assert_int_equal(nb_entries, header->nb_entries);
    return nb_entries;
}

/* A batch from the server: nb_entries copies of one frame to the client. */
static inline size_t server_batch(uint8_t *buf, const struct relay_server *s, uint64_t seq,
                                  const struct pmw_entry *entry, int nb_entries)
{
    const struct pmw_trunk header = {.nb_entries = (uint16_t)nb_entries, .incarnation = 1, .batch_seq = (uint32_t)seq};
    size_t len = (size_t)pmw_trunk_encode(buf, PMW_TRUNK_BYTES_MAX, &header);

    for (int i = 0; i < nb_entries; i++)
        len += (size_t)pmw_entry_encode(buf + len, PMW_TRUNK_BYTES_MAX - len, entry);
    len += PMW_TRUNK_TAG_BYTES;
    pmw_trunk_seal(buf, len, s->trunk_key_to_helper, (uint32_t)(seq >> 32));
    return len;
}

#endif
