/* SPDX-License-Identifier: Apache-2.0
 *
 * The golden vectors, which a second implementation wrote: the encoders make exactly their bytes from their fields,
 * checks and MACs included, and the decoders give back the same fields (encoded again, the same bytes). Argument: the
 * folder of the vectors.
 */
#include "vectors.h"

#include <stdio.h>
#include <string.h>

static const char *vectors_folder;
static size_t nb_visited; /* vectors whose kind the test of their file knows */

void vector_known(void)
{
    nb_visited++;
}

void assert_bytes(const struct vector *v, const uint8_t *buf, int len)
{
    uint8_t expected[PMW_FRAME_BYTES_MAX];
    size_t expected_len = vector_octets(v, "bytes", expected, sizeof(expected));
    if (len < 0 || (size_t)len != expected_len || memcmp(buf, expected, expected_len) != 0)
        fail_msg("%s: encoded otherwise (result %d, expected %zu bytes)", v->name, len, expected_len);
}

static void each(const char *file, void (*visit)(const struct vector *v))
{
    char path[4096];
    assert_true((size_t)snprintf(path, sizeof(path), "%s/%s", vectors_folder, file) < sizeof(path));
    nb_visited = 0;
    size_t nb = vectors_each(path, visit);
    assert_true(nb > 0);
    assert_int_equal(nb_visited, nb);
}

/* --- DATA and ACK ---------------------------------------------------------------------------- */
static void frame_vector(const struct vector *v)
{
    uint8_t payload[PMW_PAYLOAD_BYTES_MAX], buf[PMW_FRAME_BYTES_MAX];
    struct pmw_frame f = {.type = strcmp(v->kind, "data") == 0 ? PMW_DATA : PMW_ACK}, back;
    INTEGER(&f, v, flags), INTEGER(&f, v, epoch8), INTEGER(&f, v, tx), INTEGER(&f, v, tx_echo), INTEGER(&f, v, cid);
    INTEGER(&f, v, seq), INTEGER(&f, v, ack), INTEGER(&f, v, window);
    const char *line;
    for (; (line = vector_line(v, "sack", f.nb_sacks)) != NULL; f.nb_sacks++) {
        unsigned start, len;
        assert_true(f.nb_sacks < PMW_SACK_MAX);
        assert_int_equal(sscanf(line, "%x %x", &start, &len), 2);
        f.sacks[f.nb_sacks] = (struct pmw_sack){start, (uint16_t)len};
    }
    f.payload_len = (uint16_t)vector_octets(v, "payload", payload, sizeof(payload));
    struct pmw_check_seed seed = {
        .secret = vector_integer(v, "check_secret"),
        .cid = f.cid,
        .seq = vector_integer(v, "check_seq"),
        .ack = vector_integer(v, "check_ack"),
        .epoch = (uint32_t)vector_integer(v, "check_epoch"),
    };
    int len = pmw_frame_encode(buf, sizeof(buf), &f, payload);
    assert_true(len > 0);
    pmw_frame_seal(buf, (size_t)len, &seed);
    assert_bytes(v, buf, len);
    assert_int_equal(pmw_frame_decode(guarded(buf, (size_t)len), (size_t)len, &back), 0);
    assert_true(pmw_frame_check(guarded(buf, (size_t)len), (size_t)len, &seed));
    assert_int_equal(pmw_frame_encode(buf, sizeof(buf), &back, back.payload), len);
    pmw_frame_seal(buf, (size_t)len, &seed);
    assert_bytes(v, buf, len);
    vector_known();
}

static void frames(void **state)
{
    each("frame.hex", frame_vector);
}

static void control(void **state)
{
    each("control.hex", control_vector);
}

static void trunk(void **state)
{
    each("trunk.hex", trunk_vector);
}

/* --- sealed frames --------------------------------------------------------------------------- */
static void sealed_vector(const struct vector *v)
{
    uint8_t payload[PMW_PAYLOAD_BYTES_MAX], buf[PMW_FRAME_BYTES_MAX], plain[PMW_FRAME_BYTES_MAX];
    uint8_t seal_key[PMW_KEY_BYTES];
    struct pmw_frame f = {.type = (uint8_t)vector_integer(v, "type")}, back;
    struct pmw_aead a;
    enum pmw_feature cipher =
        strcmp(v->kind, "aes_256_gcm") == 0 ? PMW_FEATURE_AES_256_GCM : PMW_FEATURE_CHACHA20_POLY1305;
    INTEGER(&f, v, flags), INTEGER(&f, v, epoch8), INTEGER(&f, v, tx), INTEGER(&f, v, tx_echo), INTEGER(&f, v, cid);
    INTEGER(&f, v, seq), INTEGER(&f, v, ack), INTEGER(&f, v, window);
    f.payload_len = (uint16_t)vector_octets(v, "payload", payload, sizeof(payload));
    vector_octets_exact(v, "seal_key", seal_key, sizeof(seal_key));
    const struct pmw_check_seed seed = {.cid = f.cid,
                                        .seq = vector_integer(v, "check_seq"),
                                        .ack = vector_integer(v, "check_ack"),
                                        .epoch = (uint32_t)vector_integer(v, "check_epoch")};
    uint64_t number = vector_integer(v, "packet_number");
    vector_known();
    if (!pmw_aead_supports(cipher)) /* AES without the CPU's help */
        return;
    pmw_aead_init(&a, cipher, seal_key, vector_integer(v, "to_server") != 0, f.cid);
    int len = pmw_frame_encode(buf, sizeof(buf), &f, payload);
    assert_true(len > 0 && pmw_aead_seal(&a, buf, (size_t)len, &seed, number));
    assert_bytes(v, buf, len);
    assert_int_equal(pmw_frame_decode(guarded(buf, (size_t)len), (size_t)len, &back), 0);
    assert_int_equal(back.packet_number, (uint32_t)number);
    assert_true(pmw_aead_open(&a, guarded(buf, (size_t)len), (size_t)len, &seed, number, plain));
    assert_memory_equal(plain, payload, f.payload_len);
}

static void sealed(void **state)
{
    each("sealed.hex", sealed_vector);
}

/* --- tokens, keys, connection ids, CRC32C ---------------------------------------------------- */
static void token_vector(const struct vector *v)
{
    uint8_t buf[PMW_TOKEN_BYTES], k_srv[PMW_KEY_BYTES], key[PMW_KEY_BYTES], expected[PMW_KEY_BYTES];
    struct pmw_token t = {0}, back;
    INTEGER(&t, v, key_id), INTEGER(&t, v, client_id), INTEGER(&t, v, service_id), INTEGER(&t, v, not_before);
    INTEGER(&t, v, lifetime_s), INTEGER(&t, v, max_conns), INTEGER(&t, v, rate_class), INTEGER(&t, v, server_id);
    vector_octets_exact(v, "random", t.random, sizeof(t.random));
    vector_octets_exact(v, "k_srv", k_srv, sizeof(k_srv));
    vector_octets_exact(v, "token_key", expected, sizeof(expected));
    pmw_token_encode(buf, &t);
    pmw_token_mac(t.mac, k_srv, buf);
    pmw_token_encode(buf, &t);
    assert_bytes(v, buf, sizeof(buf));
    assert_int_equal(pmw_token_decode(guarded(buf, sizeof(buf)), &back), 0);
    pmw_token_key(key, k_srv, buf);
    assert_memory_equal(key, expected, sizeof(key));
    pmw_token_encode(buf, &back);
    assert_bytes(v, buf, sizeof(buf));
    vector_known();
}

static void tokens(void **state)
{
    each("token.hex", token_vector);
}

static void assert_octets(const struct vector *v, const char *key, const uint8_t *found, size_t len)
{
    uint8_t expected[64];
    vector_octets_exact(v, key, expected, len);
    assert_memory_equal(found, expected, len);
}

static void keys_vector(const struct vector *v)
{
    uint8_t secret[PMW_KEY_BYTES];
    if (strcmp(v->kind, "session_keys") == 0) {
        struct pmw_session_keys k;
        vector_octets_exact(v, "token_key", secret, sizeof(secret));
        pmw_session_keys_derive(&k, secret, vector_integer(v, "session_id"));
        assert_octets(v, "mac_c2s", k.mac_c2s, 16);
        assert_octets(v, "mac_s2c", k.mac_s2c, 16);
        assert_octets(v, "seal_key", k.seal_key, PMW_KEY_BYTES);
        assert_true(k.check_c2s == vector_integer(v, "check_c2s"));
        assert_true(k.check_s2c == vector_integer(v, "check_s2c"));
        vector_known();
    } else if (strcmp(v->kind, "reset_token") == 0) {
        uint8_t key[16], token[16];
        vector_octets_exact(v, "trunk_secret", secret, sizeof(secret));
        pmw_reset_key(key, secret);
        assert_octets(v, "reset_key", key, 16);
        pmw_reset_token(token, key, vector_integer(v, "cid"));
        assert_octets(v, "reset_token", token, 16);
        vector_known();
    } else if (strcmp(v->kind, "open_cookie_value") == 0) {
        uint8_t key[16], cookie[PMW_COOKIE_BYTES];
        struct pmw_addr from = {.port = (uint16_t)vector_integer(v, "port")};
        vector_octets_exact(v, "secret", key, sizeof(key));
        from.family = vector_octets(v, "ip", from.ip, sizeof(from.ip)) == 4 ? 4 : 6;
        pmw_open_cookie(cookie, key, &from, vector_integer(v, "session_id"), vector_integer(v, "open_nonce"),
                        (uint32_t)vector_integer(v, "slot"));
        assert_octets(v, "cookie", cookie, sizeof(cookie));
        vector_known();
    } else if (strcmp(v->kind, "trunk_keys") == 0) {
        struct pmw_trunk_keys k;
        vector_octets_exact(v, "trunk_secret", secret, sizeof(secret));
        pmw_trunk_keys_derive(&k, secret, (uint16_t)vector_integer(v, "helper_id"),
                              (uint32_t)vector_integer(v, "incarnation"));
        assert_octets(v, "to_server", k.to_server, 16);
        assert_octets(v, "to_helper", k.to_helper, 16);
        vector_known();
    }
}

static void keys(void **state)
{
    each("keys.hex", keys_vector);
}

static void cid_vector(const struct vector *v)
{
    uint8_t key[16];
    struct pmw_cid c = {0}, back;
    vector_octets_exact(v, "key", key, sizeof(key));
    INTEGER(&c, v, server_id), INTEGER(&c, v, shard), INTEGER(&c, v, slot), INTEGER(&c, v, generation);
    uint64_t cid = vector_integer(v, "cid");
    assert_true(pmw_cid_seal(&c, key) == cid);
    pmw_cid_open(cid, key, &back);
    assert_int_equal(back.server_id, c.server_id);
    assert_int_equal(back.shard, c.shard);
    assert_int_equal(back.slot, c.slot);
    assert_int_equal(back.generation, c.generation);
    vector_known();
}

static void cids(void **state)
{
    each("cid.hex", cid_vector);
}

static void crc_vector(const struct vector *v)
{
    uint8_t data[PMW_FRAME_BYTES_MAX];
    size_t len = vector_octets(v, "data", data, sizeof(data));
    assert_int_equal(pmw_crc32c(0, guarded(data, len), len), vector_integer(v, "crc"));
    vector_known();
}

static void crcs(void **state)
{
    each("crc32c.hex", crc_vector);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: %s FOLDER\n", argv[0]);
        return 2;
    }
    vectors_folder = argv[1];
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames), cmocka_unit_test(sealed), cmocka_unit_test(control), cmocka_unit_test(trunk),
        cmocka_unit_test(tokens), cmocka_unit_test(keys),   cmocka_unit_test(cids),    cmocka_unit_test(crcs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
