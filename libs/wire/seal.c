/* SPDX-License-Identifier: Apache-2.0
 *
 * Keys and tags (K1 to K5, W6, T1, C9, S17): keyed BLAKE2b derives, SipHash-2-4 authenticates. libsodium does the work.
 */
#include <assert.h>
#include <sodium.h>
#include <string.h>

#include "bytes.h"
#include "key_derive.h"

_Static_assert(crypto_shorthash_siphashx24_BYTES == PMW_MAC_BYTES && crypto_shorthash_siphashx24_KEYBYTES == 16, "MAC");
_Static_assert(crypto_shorthash_BYTES == PMW_TRUNK_TAG_BYTES && crypto_shorthash_KEYBYTES == 16, "trunk tag");

void key_derive(uint8_t *out, size_t out_len, const uint8_t key[PMW_KEY_BYTES], const char *label, const uint8_t *data,
                size_t data_len)
{
    uint8_t in[16 + PMW_TOKEN_BYTES];
    size_t label_len = strlen(label);
    assert(label_len + data_len <= sizeof(in));
    memcpy(in, label, label_len);
    if (data_len > 0)
        memcpy(in + label_len, data, data_len);
    crypto_generichash(out, out_len, in, label_len + data_len, key, PMW_KEY_BYTES);
}

void pmw_token_key(uint8_t out[PMW_KEY_BYTES], const uint8_t k_srv[PMW_KEY_BYTES], const uint8_t token[PMW_TOKEN_BYTES])
{
    key_derive(out, PMW_KEY_BYTES, k_srv, "postman token", token, PMW_TOKEN_BYTES);
}

void pmw_token_mac(uint8_t out[16], const uint8_t k_srv[PMW_KEY_BYTES], const uint8_t token[PMW_TOKEN_BYTES])
{
    key_derive(out, 16, k_srv, "", token, PMW_TOKEN_BYTES - 16);
}

void pmw_session_keys_derive(struct pmw_session_keys *out, const uint8_t token_key[PMW_KEY_BYTES], uint64_t session_id)
{
    uint8_t id[8], k[64];
    put64(id, session_id);
    key_derive(k, sizeof(k), token_key, "postman session", id, sizeof(id));
    memcpy(out->mac_c2s, k, 16);
    memcpy(out->mac_s2c, k + 16, 16);
    out->check_c2s = get64(k + 32);
    out->check_s2c = get64(k + 40);
    key_derive(out->seal_key, sizeof(out->seal_key), token_key, "postman seal", id, sizeof(id));
    sodium_memzero(k, sizeof(k));
}

void pmw_trunk_keys_derive(struct pmw_trunk_keys *out, const uint8_t trunk_secret[PMW_KEY_BYTES], uint16_t helper_id,
                           uint32_t incarnation)
{
    uint8_t id[6], k[32];
    put16(id, helper_id);
    put32(id + 2, incarnation);
    key_derive(k, sizeof(k), trunk_secret, "postman trunk", id, sizeof(id));
    memcpy(out->to_server, k, 16);
    memcpy(out->to_helper, k + 16, 16);
    sodium_memzero(k, sizeof(k));
}

void pmw_reset_key(uint8_t out[16], const uint8_t trunk_secret[PMW_KEY_BYTES])
{
    uint8_t k[PMW_KEY_BYTES];
    key_derive(k, sizeof(k), trunk_secret, "postman reset", NULL, 0);
    memcpy(out, k, 16);
    sodium_memzero(k, sizeof(k));
}

void pmw_reset_token(uint8_t out[16], const uint8_t reset_key[16], uint64_t cid)
{
    uint8_t in[8];
    put64(in, cid);
    crypto_shorthash_siphashx24(out, in, sizeof(in), reset_key);
}

void pmw_open_cookie(uint8_t out[PMW_COOKIE_BYTES], const uint8_t secret[16], const struct pmw_addr *from,
                     uint64_t session_id, uint64_t open_nonce, uint32_t slot)
{
    uint8_t in[1 + 16 + 2 + 8 + 8 + 4];
    in[0] = from->family;
    memcpy(in + 1, from->ip, sizeof(from->ip));
    put16(in + 17, from->port);
    put64(in + 19, session_id);
    put64(in + 27, open_nonce);
    put32(in + 35, slot);
    crypto_shorthash_siphashx24(out, in, sizeof(in), secret);
}

void pmw_control_seal(uint8_t *buf, size_t len, const uint8_t key[16])
{
    assert(len >= PMW_MAC_BYTES);
    crypto_shorthash_siphashx24(buf + len - PMW_MAC_BYTES, buf, len - PMW_MAC_BYTES, key);
}

bool pmw_control_check(const uint8_t *buf, size_t len, const uint8_t key[16])
{
    uint8_t mac[PMW_MAC_BYTES];
    if (len < PMW_CONTROL_HEADER_BYTES + PMW_MAC_BYTES)
        return false;
    crypto_shorthash_siphashx24(mac, buf, len - PMW_MAC_BYTES, key);
    return sodium_memcmp(mac, buf + len - PMW_MAC_BYTES, PMW_MAC_BYTES) == 0;
}

void pmw_trunk_seal(uint8_t *buf, size_t len, const uint8_t key[16], uint32_t batch_seq_high)
{
    uint8_t tag[PMW_TRUNK_TAG_BYTES];
    assert(len >= PMW_TRUNK_BYTES_MIN && len <= PMW_TRUNK_BYTES_MAX);
    uint8_t *end = buf + len - PMW_TRUNK_TAG_BYTES;
    put32(end, batch_seq_high); /* the tag's own room makes the input contiguous */
    crypto_shorthash(tag, buf, len - PMW_TRUNK_TAG_BYTES + 4, key);
    memcpy(end, tag, sizeof(tag));
}

bool pmw_trunk_check(const uint8_t *buf, size_t len, const uint8_t key[16], uint32_t batch_seq_high)
{
    uint8_t in[PMW_TRUNK_BYTES_MAX], tag[PMW_TRUNK_TAG_BYTES];
    if (len < PMW_TRUNK_BYTES_MIN || len > PMW_TRUNK_BYTES_MAX)
        return false;
    size_t body = len - PMW_TRUNK_TAG_BYTES;
    memcpy(in, buf, body);
    put32(in + body, batch_seq_high);
    crypto_shorthash(tag, in, body + 4, key);
    return sodium_memcmp(tag, buf + body, sizeof(tag)) == 0;
}
