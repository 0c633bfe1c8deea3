/* SPDX-License-Identifier: Apache-2.0
 *
 * Any bytes as a DATA or ACK frame: what decodes encodes to the same bytes, and a helper can route it. A short one goes
 * through a short entry and back, check untouched (T6); a sealed one through both ciphers (W11).
 */
#include <string.h>

#include "postman/wire.h"
#include "require.h"

static void require_check(const uint8_t *data, size_t size, const struct pmw_check_seed *seed)
{
    uint8_t again[PMW_FRAME_BYTES_MAX];
    memcpy(again, data, size);
    pmw_frame_seal(again, size, seed);
    REQUIRE(pmw_frame_check(again, size, seed));
    REQUIRE(pmw_frame_check(data, size, seed) == (memcmp(again, data, size) == 0));
}

static void require_seal(const uint8_t *data, size_t size, const struct pmw_frame *f, const struct pmw_check_seed *seed)
{
    static const uint8_t seal_key[PMW_KEY_BYTES] = "a key of the fuzzer";
    static const enum pmw_feature ciphers[] = {PMW_FEATURE_AES_256_GCM, PMW_FEATURE_CHACHA20_POLY1305};
    uint8_t again[PMW_FRAME_BYTES_MAX], plain[PMW_FRAME_BYTES_MAX];
    struct pmw_aead a;
    REQUIRE(!pmw_frame_check(data, size, seed));
    for (size_t i = 0; i < 2; i++) {
        if (!pmw_aead_supports(ciphers[i]))
            continue;
        pmw_aead_init(&a, ciphers[i], seal_key, size & 1, f->cid);
        REQUIRE(!pmw_aead_open(&a, data, size, seed, f->packet_number, plain)); /* 2^-128 */
        memcpy(again, data, size);
        REQUIRE(pmw_aead_seal(&a, again, size, seed, f->packet_number));
        REQUIRE(pmw_aead_open(&a, again, size, seed, f->packet_number, plain));
        REQUIRE(f->payload_len == 0 || memcmp(plain, f->payload, f->payload_len) == 0);
    }
}

static void require_short(const uint8_t *data, size_t size, const struct pmw_frame *f)
{
    struct pmw_short e;
    struct pmw_any_entry back;
    uint8_t entry[PMW_ENTRY_SHORT_BYTES_MAX + UINT8_MAX + PMW_SEAL_BYTES], again[PMW_FRAME_BYTES_MAX];
    size_t at = 0;
    bool fits = (f->flags & PMW_F_SHORT) != 0 && f->payload_len <= UINT8_MAX;
    REQUIRE(pmw_short_of_frame(data, size, &e) == fits);
    if (!fits)
        return;
    e.index = f->seq % (PMW_ENTRY_INDEX_MAX + 1);
    e.generation = f->ack % 16;
    int len = pmw_short_encode(entry, sizeof(entry), &e);
    REQUIRE(len > 0 && pmw_entry_next(entry, (size_t)len, &at, &back) == 1 && at == (size_t)len);
    REQUIRE(back.kind == PMW_ENTRY_SHORT && back.as_short.index == e.index && back.as_short.generation == e.generation);
    REQUIRE(pmw_short_to_frame(again, sizeof(again), &back.as_short, f->cid) == (int)size);
    REQUIRE(again[1] == (f->flags & ~PMW_F_URGENT));
    again[1] = f->flags;
    REQUIRE(memcmp(again, data, size) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pmw_frame f;
    struct pmw_route r;
    uint8_t again[PMW_FRAME_BYTES_MAX];
    const struct pmw_check_seed seed = {.secret = size};
    int rc = pmw_frame_decode(data, size, &f), routed = pmw_route_decode(data, size, &r);
    if (rc != 0) {
        struct pmw_short e;
        REQUIRE(rc < 0 && rc >= PMW_ERR_SPACE && !pmw_short_of_frame(data, size, &e));
        pmw_frame_check(data, size, &seed);
        return 0;
    }
    bool sealed = (f.flags & PMW_F_SEALED) != 0;
    size_t trailer = sealed ? PMW_SEAL_BYTES : PMW_CHECK_BYTES;
    REQUIRE(routed == 0 && r.id == f.cid && r.type == f.type && r.flags == f.flags && !r.session_scope);
    REQUIRE(f.payload > data && f.payload + f.payload_len + trailer == data + size);
    REQUIRE(pmw_frame_encode(again, sizeof(again), &f, f.payload) == (int)size);
    size_t written = size - (sealed ? PMW_MAC_BYTES : PMW_CHECK_BYTES); /* the packet number is a field */
    REQUIRE(memcmp(again, data, written) == 0);
    if (sealed)
        require_seal(data, size, &f, &seed);
    else
        require_check(data, size, &seed);
    require_short(data, size, &f);
    return 0;
}
