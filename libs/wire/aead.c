/* SPDX-License-Identifier: Apache-2.0
 *
 * Sealed frames (W11): the payload encrypted, what the header means authenticated. libsodium does the work. The
 * expanded AES key is kept in the context (crypto_aead_aes256gcm_beforenm): expanding it costs more than sealing a
 * small frame.
 */
#include <assert.h>
#include <sodium.h>
#include <string.h>

#include "bytes.h"
#include "frame.h"
#include "key_derive.h"

enum { NONCE_BYTES = 12, TAG_BYTES = 16, NUMBER_BYTES = 4 };
_Static_assert(crypto_aead_aes256gcm_NPUBBYTES == NONCE_BYTES && crypto_aead_aes256gcm_ABYTES == TAG_BYTES, "GCM");
_Static_assert(crypto_aead_chacha20poly1305_ietf_NPUBBYTES == NONCE_BYTES &&
                   crypto_aead_chacha20poly1305_ietf_ABYTES == TAG_BYTES,
               "ChaCha20-Poly1305");
_Static_assert(crypto_aead_aes256gcm_KEYBYTES == PMW_KEY_BYTES &&
                   crypto_aead_chacha20poly1305_ietf_KEYBYTES == PMW_KEY_BYTES,
               "keys of 32 bytes");
_Static_assert(NUMBER_BYTES + TAG_BYTES == PMW_SEAL_BYTES, "number and tag");

struct context {
    union {
        crypto_aead_aes256gcm_state aes;
        uint8_t chacha[PMW_KEY_BYTES];
    } key;
    enum pmw_feature cipher;
};
_Static_assert(sizeof(struct context) <= sizeof(struct pmw_aead), "the context fits its opaque room");
_Static_assert(_Alignof(struct context) <= _Alignof(struct pmw_aead), "and its alignment");

bool pmw_aead_supports(enum pmw_feature cipher)
{
    /* libsodium knows of the CPU only after its initialisation, which does nothing the second time. */
    if (cipher == PMW_FEATURE_AES_256_GCM)
        return sodium_init() >= 0 && crypto_aead_aes256gcm_is_available() == 1;
    return cipher == PMW_FEATURE_CHACHA20_POLY1305;
}

void pmw_aead_init(struct pmw_aead *a, enum pmw_feature cipher, const uint8_t seal_key[PMW_KEY_BYTES], bool to_server,
                   uint64_t cid)
{
    struct context *c = (struct context *)(void *)a->opaque;
    uint8_t key[PMW_KEY_BYTES], id[8];
    assert(pmw_aead_supports(cipher));
    memset(a, 0, sizeof(*a));
    put64(id, cid);
    key_derive(key, sizeof(key), seal_key, to_server ? "postman c2s" : "postman s2c", id, sizeof(id));
    c->cipher = cipher;
    if (cipher == PMW_FEATURE_AES_256_GCM)
        crypto_aead_aes256gcm_beforenm(&c->key.aes, key);
    else
        memcpy(c->key.chacha, key, sizeof(key));
    sodium_memzero(key, sizeof(key));
}

static void make_nonce(uint8_t nonce[NONCE_BYTES], uint64_t packet_number)
{
    memset(nonce, 0, 4);
    put64(nonce + 4, packet_number);
}

bool pmw_aead_seal(const struct pmw_aead *a, uint8_t *frame, size_t len, const struct pmw_check_seed *seed,
                   uint64_t packet_number)
{
    const struct context *c = (const struct context *)(const void *)a->opaque;
    uint8_t meaning[FRAME_MEANING_BYTES_MAX], nonce[NONCE_BYTES];
    size_t head = frame_head_bytes(frame, len);
    if (head == 0 || (frame[1] & PMW_F_SEALED) == 0)
        return false;
    uint8_t *payload = frame + head, *trailer = frame + len - PMW_SEAL_BYTES;
    size_t payload_len = (size_t)(trailer - payload), n = frame_meaning(meaning, frame, head, seed);
    make_nonce(nonce, packet_number);
    put32(trailer, (uint32_t)packet_number);
    if (c->cipher == PMW_FEATURE_AES_256_GCM)
        crypto_aead_aes256gcm_encrypt_detached_afternm(payload, trailer + NUMBER_BYTES, NULL, payload, payload_len,
                                                       meaning, n, NULL, nonce, &c->key.aes);
    else
        crypto_aead_chacha20poly1305_ietf_encrypt_detached(payload, trailer + NUMBER_BYTES, NULL, payload, payload_len,
                                                           meaning, n, NULL, nonce, c->key.chacha);
    return true;
}

bool pmw_aead_open(const struct pmw_aead *a, const uint8_t *frame, size_t len, const struct pmw_check_seed *seed,
                   uint64_t packet_number, uint8_t *out)
{
    const struct context *c = (const struct context *)(const void *)a->opaque;
    uint8_t meaning[FRAME_MEANING_BYTES_MAX], nonce[NONCE_BYTES];
    size_t head = frame_head_bytes(frame, len);
    if (head == 0 || (frame[1] & PMW_F_SEALED) == 0)
        return false;
    const uint8_t *payload = frame + head, *trailer = frame + len - PMW_SEAL_BYTES;
    if (get32(trailer) != (uint32_t)packet_number)
        return false;
    size_t payload_len = (size_t)(trailer - payload), n = frame_meaning(meaning, frame, head, seed);
    make_nonce(nonce, packet_number);
    if (c->cipher == PMW_FEATURE_AES_256_GCM)
        return crypto_aead_aes256gcm_decrypt_detached_afternm(out, NULL, payload, payload_len, trailer + NUMBER_BYTES,
                                                              meaning, n, nonce, &c->key.aes) == 0;
    return crypto_aead_chacha20poly1305_ietf_decrypt_detached(out, NULL, payload, payload_len, trailer + NUMBER_BYTES,
                                                              meaning, n, nonce, c->key.chacha) == 0;
}
