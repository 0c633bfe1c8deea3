/* SPDX-License-Identifier: Apache-2.0
 *
 * Any bytes as a DATA or ACK frame: what decodes encodes to the same bytes, and a helper can route it.
 */
#include <string.h>

#include "postman/wire.h"
#include "require.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pmw_frame f;
    struct pmw_route r;
    uint8_t again[PMW_FRAME_BYTES_MAX];
    const struct pmw_check_seed seed = {.secret = size};
    int rc = pmw_frame_decode(data, size, &f), routed = pmw_route_decode(data, size, &r);
    if (rc != 0) {
        REQUIRE(rc < 0 && rc >= PMW_ERR_SPACE);
        return 0;
    }
    REQUIRE(routed == 0 && r.id == f.cid && r.type == f.type && r.flags == f.flags && !r.session_scope);
    REQUIRE(f.payload_len == 0 || (f.payload > data && f.payload + f.payload_len + PMW_CHECK_BYTES == data + size));
    REQUIRE(pmw_frame_encode(again, sizeof(again), &f, f.payload) == (int)size);
    REQUIRE(memcmp(again, data, size - PMW_CHECK_BYTES) == 0);
    pmw_frame_seal(again, size, &seed);
    REQUIRE(pmw_frame_check(again, size, &seed));
    REQUIRE(pmw_frame_check(data, size, &seed) == (memcmp(again, data, size) == 0));
    return 0;
}
