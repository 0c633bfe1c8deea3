/* SPDX-License-Identifier: Apache-2.0
 *
 * CRC32C, keys, MACs, tags, AEAD, cookies and connection ids. A part of wire.h, which includes it: include that.
 */
#ifndef POSTMAN_WIRE_KEYS_H
#define POSTMAN_WIRE_KEYS_H

#ifndef POSTMAN_WIRE_H
#error "include postman/wire.h"
#endif

/* --- CRC32C (Castagnoli, RFC 3720 appendix B.4), hardware when the CPU has it. Start with crc 0; giving the result of
 * one call to the next continues it: crc(crc(0, a), b) = crc(0, a || b). --------------------------------------------
 */
uint32_t pmw_crc32c(uint32_t crc, const void *data, size_t len);

/* --- keyed functions (libsodium): seal.c ------------------------------------------------------ */
#define PMW_KEY_BYTES 32
struct pmw_session_keys {
    uint8_t mac_c2s[16], mac_s2c[16]; /* SipHash-2-4-128 keys of control frames */
    uint64_t check_c2s, check_s2c;    /* secrets of the CRC seed */
    uint8_t seal_key[PMW_KEY_BYTES];  /* of the AEAD keys of connections (W11) */
};
/* token key = BLAKE2b-256(K_srv, "postman token" || token 64): what the registry hands to the client beside the token.
 */
void pmw_token_key(uint8_t out[PMW_KEY_BYTES], const uint8_t k_srv[PMW_KEY_BYTES],
                   const uint8_t token[PMW_TOKEN_BYTES]);
void pmw_token_mac(uint8_t out[16], const uint8_t k_srv[PMW_KEY_BYTES], const uint8_t token[PMW_TOKEN_BYTES]);
/* 64 bytes = BLAKE2b-512(token key, "postman session" || session_id 8), split in the order of the struct:
 * mac_c2s 16, mac_s2c 16, check_c2s 8, check_s2c 8 (big-endian), 16 unused; seal_key = BLAKE2b-256(token key,
 * "postman seal" || session_id 8). */
void pmw_session_keys_derive(struct pmw_session_keys *out, const uint8_t token_key[PMW_KEY_BYTES], uint64_t session_id);
/* reset_token of OPEN_ACK (C9) = SipHash-2-4-128(reset key of the server, CID 8); reset key = first 16 bytes of
 * BLAKE2b-256(trunk_secret, "postman reset"): a successor that the registry gave the secret of its predecessor can
 * write it.
 */
void pmw_reset_key(uint8_t out[16], const uint8_t trunk_secret[PMW_KEY_BYTES]);
void pmw_reset_token(uint8_t out[16], const uint8_t reset_key[16], uint64_t cid);
/* AEAD of one connection and direction (W11): key = BLAKE2b-256(seal_key, "postman c2s" or "postman s2c" || CID 8),
 * nonce = 4 zero bytes || packet number 8, additional data = what the check of W7 covers before the payload, from cid
 * on (without the secret). In place: the payload in the frame is encrypted, packet number and tag are written. The
 * context is made once for a connection. seal and open return false when the frame is no sealed one; open also when its
 * packet number is not the low half of the one given, or the tag does not hold. Aligned to 16 bytes. */
struct pmw_aead {
    uint8_t opaque[560];
} __attribute__((aligned(16)));
bool pmw_aead_supports(enum pmw_feature cipher); /* AES-256-GCM needs the CPU's help; no cipher: false */
void pmw_aead_init(struct pmw_aead *a, enum pmw_feature cipher, const uint8_t seal_key[PMW_KEY_BYTES], bool to_server,
                   uint64_t cid);
bool pmw_aead_seal(const struct pmw_aead *a, uint8_t *frame, size_t len, const struct pmw_check_seed *seed,
                   uint64_t packet_number);
/* Decrypts the payload of frame into out (room for len bytes). */
bool pmw_aead_open(const struct pmw_aead *a, const uint8_t *frame, size_t len, const struct pmw_check_seed *seed,
                   uint64_t packet_number, uint8_t *out);
/* cookie of OPEN_COOKIE (S17) = SipHash-2-4-128(secret, family 1 || address 16 || port 2 || session 8 || nonce 8 ||
 * slot 4), slot = time / 60 s. */
void pmw_open_cookie(uint8_t out[PMW_COOKIE_BYTES], const uint8_t secret[16], const struct pmw_addr *from,
                     uint64_t session_id, uint64_t open_nonce, uint32_t slot);
void pmw_control_seal(uint8_t *buf, size_t len, const uint8_t key[16]);        /* MAC into the last 16 bytes */
bool pmw_control_check(const uint8_t *buf, size_t len, const uint8_t key[16]); /* constant time */
/* trunk key pair = BLAKE2b-256(trunk_secret of the server, "postman trunk" || helper_id 2 || incarnation 4 of the
 * helper): first 16 bytes helper -> server, last 16 server -> helper. */
struct pmw_trunk_keys {
    uint8_t to_server[16], to_helper[16];
};
void pmw_trunk_keys_derive(struct pmw_trunk_keys *out, const uint8_t trunk_secret[PMW_KEY_BYTES], uint16_t helper_id,
                           uint32_t incarnation);
/* tag = SipHash-2-4-64(key, datagram without tag || high 32 bits of batch_seq) */
void pmw_trunk_seal(uint8_t *buf, size_t len, const uint8_t key[16], uint32_t batch_seq_high);
bool pmw_trunk_check(const uint8_t *buf, size_t len, const uint8_t key[16], uint32_t batch_seq_high);

/* --- connection ids: a 64-bit permutation (4-round Feistel, SipHash-2-4 round function, Luby-Rackoff 1988) of the
 * route, so that any helper holding cid_key routes a flow it has never seen (QUIC-LB's idea), and nobody else can
 * guess a live id. Plain: server_id 16, shard 8, slot 24, generation 16, from the top bit. Round r = 0 ... 3 turns
 * (left, right) into (right, left ^ F), F = first 4 bytes of SipHash-2-4(key, r 1 || right 4).
 * ------------------------------------------- */
struct pmw_cid {
    uint16_t server_id;
    uint8_t shard;
    uint32_t slot; /* 24 bits */
    uint16_t generation;
};
uint64_t pmw_cid_seal(const struct pmw_cid *c, const uint8_t cid_key[16]);
void pmw_cid_open(uint64_t cid, const uint8_t cid_key[16], struct pmw_cid *out);

#endif
