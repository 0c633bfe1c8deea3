/* SPDX-License-Identifier: Apache-2.0
 *
 * Any bytes as a trunk batch: the walk stays inside, ends, and what decodes as a whole encodes to the same bytes.
 */
#include <string.h>

#include "postman/wire.h"
#include "require.h"

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
        REQUIRE(e.frame > data && e.frame_len > 0 && e.frame + e.frame_len <= data + end);
        int len = pmw_entry_encode(again + to, end - to, &e);
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
