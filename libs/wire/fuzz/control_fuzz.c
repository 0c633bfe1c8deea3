/* SPDX-License-Identifier: Apache-2.0
 *
 * Any bytes as a control frame: every decoder looks at them, and what decodes encodes to the same bytes.
 */
#include <string.h>

#include "postman/wire.h"
#include "require.h"

/* encoded: result of the encoder. All but the MAC, which is left to the caller's key, must be what came in. */
static void require_same(const uint8_t *data, size_t size, const uint8_t *again, int encoded, size_t mac_bytes)
{
    REQUIRE(encoded == (int)size);
    REQUIRE(memcmp(again, data, size - mac_bytes) == 0);
}

#define TRY(kind, TYPE)                                                                                                \
    do {                                                                                                               \
        struct pmw_##kind f;                                                                                           \
        int rc = pmw_##kind##_decode(data, size, &f);                                                                  \
        REQUIRE(rc == 0 || (rc < 0 && rc >= PMW_ERR_SPACE));                                                           \
        if (rc == 0) {                                                                                                 \
            REQUIRE(type == (TYPE));                                                                                   \
            int len = pmw_##kind##_encode(again, sizeof(again), &f);                                                   \
            require_same(data, size, again, len, PMW_MAC_BYTES);                                                       \
            nb_decoded++;                                                                                              \
        }                                                                                                              \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t again[PMW_FRAME_BYTES_MAX];
    struct pmw_route r;
    unsigned nb_decoded = 0;
    int type = pmw_type_of(data, size), routed = pmw_route_decode(data, size, &r);

    TRY(open, PMW_OPEN);
    TRY(open_ack, PMW_OPEN_ACK);
    TRY(refused, PMW_REFUSED);
    TRY(resume, PMW_RESUME);
    TRY(resume_ack, PMW_RESUME_ACK);
    TRY(reset, PMW_RESET);

    struct pmw_probe p;
    if (pmw_probe_decode(data, size, &p) == 0) {
        REQUIRE(type == PMW_PROBE || type == PMW_PONG || type == PMW_ECHO);
        int len = pmw_probe_encode(again, sizeof(again), (uint8_t)type, &p);
        require_same(data, size, again, len, type == PMW_PONG ? 0 : PMW_MAC_BYTES);
        nb_decoded++;
    }
    REQUIRE(nb_decoded <= 1);
    REQUIRE(nb_decoded == 0 || (routed == 0 && r.type == type));

    uint8_t key[16] = {0};
    if (nb_decoded > 0) {
        memcpy(again, data, size);
        pmw_control_seal(again, size, key);
        REQUIRE(pmw_control_check(again, size, key));
    }
    REQUIRE(!pmw_control_check(data, size, key) || size >= PMW_CONTROL_HEADER_BYTES + PMW_MAC_BYTES);
    return 0;
}
