/* SPDX-License-Identifier: Apache-2.0
 *
 * Datagrams put right after they were changed, by one who holds every key: so that the fuzzer gets behind checks, MACs,
 * token and tags, as a client, helper or server gone wrong would.
 */
#ifndef VCL_FUZZ_FORGE_H
#define VCL_FUZZ_FORGE_H

#include "postman/wire.h"

struct forge {
    uint8_t k_srv[PMW_KEY_BYTES], trunk_secret[PMW_KEY_BYTES], token_key[PMW_KEY_BYTES];
    uint16_t helper_id;
    uint32_t helper_incarnation;
    uint64_t session_id; /* of the newest OPEN that was seen: connection frames do not name theirs */
};

/* A look at an unchanged datagram. */
void forge_observe(struct forge *f, const uint8_t *buf, size_t len);
/* Seals whatever buf is; nothing happens to what is too short to carry a seal. */
void forge_seal(const struct forge *f, uint8_t *buf, size_t len, bool to_server);

#endif
