/* SPDX-License-Identifier: Apache-2.0
 *
 * Any 64 bytes as a token: what decodes encodes to the same bytes. The rest of the input is a connection id, of
 * which every value is legal.
 */
#include <string.h>

#include "postman/wire.h"
#include "require.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pmw_token t;
    uint8_t again[PMW_TOKEN_BYTES];
    if (size < PMW_TOKEN_BYTES)
        return 0;
    if (pmw_token_decode(data, &t) == 0) {
        pmw_token_encode(again, &t);
        REQUIRE(memcmp(again, data, PMW_TOKEN_BYTES) == 0);
    }
    uint64_t cid = 0;
    struct pmw_cid c;
    memcpy(&cid, data + PMW_TOKEN_BYTES, size - PMW_TOKEN_BYTES < 8 ? size - PMW_TOKEN_BYTES : 8);
    pmw_cid_open(cid, data, &c);
    REQUIRE(pmw_cid_seal(&c, data) == cid);
    return 0;
}
