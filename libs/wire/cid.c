/* SPDX-License-Identifier: Apache-2.0
 *
 * Connection ids: a 4-round Feistel network over two halves of 32 bits (W5). Four rounds with a pseudo-random
 * round function make a strong pseudo-random permutation (Luby, Rackoff 1988).
 */
#include <assert.h>
#include <sodium.h>

#include "bytes.h"
#include "postman/wire.h"

enum { ROUNDS = 4, SLOT_BITS = 24 };

/* First 4 bytes of SipHash-2-4(key, round 1 || half 4). */
static uint32_t round_function(const uint8_t key[16], uint8_t round, uint32_t half)
{
    uint8_t in[5], out[crypto_shorthash_BYTES];
    in[0] = round;
    put32(in + 1, half);
    crypto_shorthash(out, in, sizeof(in), key);
    return get32(out);
}

uint64_t pmw_cid_seal(const struct pmw_cid *c, const uint8_t cid_key[16])
{
    assert(c->slot >> SLOT_BITS == 0);
    uint32_t left = (uint32_t)c->server_id << 16 | (uint32_t)c->shard << 8 | c->slot >> 16;
    uint32_t right = (c->slot & 0xffff) << 16 | c->generation;
    for (uint8_t round = 0; round < ROUNDS; round++) {
        uint32_t next = left ^ round_function(cid_key, round, right);
        left = right;
        right = next;
    }
    return (uint64_t)left << 32 | right;
}

void pmw_cid_open(uint64_t cid, const uint8_t cid_key[16], struct pmw_cid *out)
{
    uint32_t left = (uint32_t)(cid >> 32), right = (uint32_t)cid;
    for (uint8_t round = ROUNDS; round-- > 0;) {
        uint32_t previous = right ^ round_function(cid_key, round, left);
        right = left;
        left = previous;
    }
    *out = (struct pmw_cid){
        .server_id = (uint16_t)(left >> 16),
        .shard = (uint8_t)(left >> 8),
        .slot = (left & 0xff) << 16 | right >> 16,
        .generation = (uint16_t)right,
    };
}
