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

/* Types that carry no MAC have mac_bytes 0. */
#define TRY(kind, TYPE, mac_bytes)                                                                                     \
    do {                                                                                                               \
        struct pmw_##kind f;                                                                                           \
        int rc = pmw_##kind##_decode(data, size, &f);                                                                  \
        REQUIRE(rc == 0 || (rc < 0 && rc >= PMW_ERR_SPACE));                                                           \
        if (rc == 0) {                                                                                                 \
            REQUIRE(type == (TYPE));                                                                                   \
            int len = pmw_##kind##_encode(again, sizeof(again), &f);                                                   \
            require_same(data, size, again, len, mac_bytes);                                                           \
            nb_decoded++;                                                                                              \
        }                                                                                                              \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t again[PMW_FRAME_BYTES_MAX];
    struct pmw_route r;
    unsigned nb_decoded = 0;
    int type = pmw_type_of(data, size), routed = pmw_route_decode(data, size, &r);

    TRY(open, PMW_OPEN, PMW_MAC_BYTES);
    TRY(open_cookie, PMW_OPEN_COOKIE, PMW_MAC_BYTES);
    TRY(open_ack, PMW_OPEN_ACK, PMW_MAC_BYTES);
    TRY(refused, PMW_REFUSED, PMW_MAC_BYTES);
    TRY(resume, PMW_RESUME, PMW_MAC_BYTES);
    TRY(resume_ack, PMW_RESUME_ACK, PMW_MAC_BYTES);
    TRY(reset, PMW_RESET, PMW_MAC_BYTES);
    TRY(busy, PMW_BUSY, 0);
    TRY(stateless_reset, PMW_STATELESS_RESET, 0);

    struct pmw_path path;
    if (pmw_path_decode(data, size, &path) == 0) {
        REQUIRE(type == PMW_PATH_CHALLENGE || type == PMW_PATH_RESPONSE);
        int len = pmw_path_encode(again, sizeof(again), (uint8_t)type, &path);
        require_same(data, size, again, len, PMW_MAC_BYTES);
        nb_decoded++;
    }

    struct pmw_probe p;
    if (pmw_probe_decode(data, size, &p) == 0) {
        REQUIRE(type == PMW_PROBE || type == PMW_PONG || type == PMW_ECHO);
        int len = pmw_probe_encode(again, sizeof(again), (uint8_t)type, &p);
        require_same(data, size, again, len, type == PMW_PONG ? 0 : PMW_MAC_BYTES);
        REQUIRE(type == PMW_PONG || (p.bytes >= PMW_PROBE_BYTES && p.bytes <= PMW_FRAME_BYTES_MAX));
        nb_decoded++;
    }
    REQUIRE(nb_decoded <= 1);
    REQUIRE(nb_decoded == 0 || (routed == 0 && r.type == type));

    uint8_t key[16] = {0};
    if (nb_decoded > 0 && type != PMW_BUSY && type != PMW_STATELESS_RESET) {
        memcpy(again, data, size);
        pmw_control_seal(again, size, key);
        REQUIRE(pmw_control_check(again, size, key));
    }
    REQUIRE(!pmw_control_check(data, size, key) || size >= PMW_CONTROL_HEADER_BYTES + PMW_MAC_BYTES);
    return 0;
}
