/* SPDX-License-Identifier: Apache-2.0
 *
 * Any bytes as a trunk batch: the walk stays inside, ends, and what decodes as a whole encodes to the same bytes. What
 * a short entry carries is a frame, and comes back from it.
 */
#include <string.h>

#include "postman/wire.h"
#include "require.h"

static int short_again(uint8_t *buf, size_t cap, const struct pmw_short *e)
{
    uint8_t frame[PMW_SHORT_HEADER_BYTES + UINT8_MAX + PMW_SEAL_BYTES];
    struct pmw_short back;
    int len = pmw_short_to_frame(frame, sizeof(frame), e, 0x0102030405060708);
    REQUIRE(len > 0 && pmw_short_of_frame(frame, (size_t)len, &back));
    back.index = e->index;
    back.generation = e->generation;
    return pmw_short_encode(buf, cap, &back);
}

static int entry_again(uint8_t *buf, size_t cap, const struct pmw_any_entry *e)
{
    switch (e->kind) {
    case PMW_ENTRY_SHORT:
        return short_again(buf, cap, &e->as_short);
    case PMW_ENTRY_BIND:
        return pmw_bind_encode(buf, cap, &e->bind);
    case PMW_ENTRY_BIND_ACK:
    case PMW_ENTRY_BIND_ERR:
    case PMW_ENTRY_UNBIND:
        return pmw_bind_ref_encode(buf, cap, (enum pmw_entry_kind)e->kind, &e->ref);
    case PMW_ENTRY_NACK:
        return pmw_nack_encode(buf, cap, &e->nack);
    default:
        REQUIRE(e->kind == PMW_ENTRY_LONG_V4 || e->kind == PMW_ENTRY_LONG_V6);
        REQUIRE(e->as_long.frame_len > 0 && e->as_long.frame_len <= PMW_FRAME_BYTES_BASE);
        return pmw_entry_encode(buf, cap, &e->as_long);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pmw_trunk h;
    if (pmw_trunk_decode(data, size, &h) != 0)
        return 0;
    uint8_t again[PMW_TRUNK_BYTES_MAX] = {0};
    size_t end = size - PMW_TRUNK_TAG_BYTES, at = PMW_TRUNK_HEADER_BYTES, to = PMW_TRUNK_HEADER_BYTES;
    REQUIRE(pmw_trunk_encode(again, sizeof(again), &h) == PMW_TRUNK_HEADER_BYTES);
    struct pmw_any_entry e;
    int rc;
    for (size_t before = at; (rc = pmw_entry_next(data, end, &at, &e)) == 1; before = at) {
        REQUIRE(at > before && at <= end);
        int len = entry_again(again + to, end - to, &e);
        REQUIRE(len > 0 && (to += (size_t)len) == at);
    }
    REQUIRE(rc == 0 || rc == PMW_ERR_ENTRY);
    if (rc == 0)
        REQUIRE(at == end && memcmp(again, data, end) == 0);

    uint8_t key[16] = {1};
    memcpy(again, data, size);
    pmw_trunk_seal(again, size, key, h.batch_seq);
    REQUIRE(pmw_trunk_check(again, size, key, h.batch_seq));
    REQUIRE(pmw_trunk_check(data, size, key, h.batch_seq) == (memcmp(again, data, size) == 0));
    return 0;
}
