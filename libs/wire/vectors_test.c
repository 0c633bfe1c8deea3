/* SPDX-License-Identifier: Apache-2.0
 *
 * The golden vectors, which a second implementation wrote: the encoders make exactly their bytes from their fields,
 * checks and MACs included, and the decoders give back the same fields (encoded again, the same bytes). Argument: the
 * folder of the vectors.
 */
#include "wire_test.h"

#include <stdio.h>
#include <string.h>

#include "vector_file.h"

#define INTEGER(f, v, field) ((f)->field = (__typeof__((f)->field))vector_integer(v, #field))

static const char *vectors_folder;
static size_t nb_visited; /* vectors whose kind the test of their file knows */

static void assert_bytes(const struct vector *v, const uint8_t *buf, int len)
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
    nb_visited++;
}

static void frames(void **state)
{
    each("frame.hex", frame_vector);
}

/* --- control frames -------------------------------------------------------------------------- */
static void open_fields(const struct vector *v, struct pmw_open *f)
{
    INTEGER(f, v, session_id), INTEGER(f, v, epoch), INTEGER(f, v, open_nonce), INTEGER(f, v, server_id);
    INTEGER(f, v, shard), INTEGER(f, v, client_port), INTEGER(f, v, rwnd), INTEGER(f, v, features);
    vector_octets_exact(v, "token", f->token, sizeof(f->token));
    vector_octets_exact(v, "cookie", f->cookie, sizeof(f->cookie));
}

static void open_cookie_fields(const struct vector *v, struct pmw_open_cookie *f)
{
    INTEGER(f, v, session_id), INTEGER(f, v, epoch), INTEGER(f, v, open_nonce);
    vector_octets_exact(v, "cookie", f->cookie, sizeof(f->cookie));
}

static void open_ack_fields(const struct vector *v, struct pmw_open_ack *f)
{
    INTEGER(f, v, session_id), INTEGER(f, v, epoch), INTEGER(f, v, open_nonce), INTEGER(f, v, cid);
    INTEGER(f, v, rwnd), INTEGER(f, v, features), INTEGER(f, v, max_hold_us), INTEGER(f, v, max_ack_delay_us);
    vector_octets_exact(v, "reset_token", f->reset_token, sizeof(f->reset_token));
}

static void refused_fields(const struct vector *v, struct pmw_refused *f)
{
    INTEGER(f, v, session_id), INTEGER(f, v, epoch), INTEGER(f, v, open_nonce), INTEGER(f, v, reason);
}

static void reset_fields(const struct vector *v, struct pmw_reset *f)
{
    INTEGER(f, v, cid), INTEGER(f, v, epoch), INTEGER(f, v, offset), INTEGER(f, v, reason);
}

/* The four numbers of the next conn line; false after the last one. */
static bool conn_line(const struct vector *v, size_t index, unsigned long long n[4])
{
    const char *line = vector_line(v, "conn", index);
    if (line == NULL)
        return false;
    assert_true(index < PMW_RESUME_CONNS_MAX);
    assert_int_equal(sscanf(line, "%llx %llx %llx %llx", &n[0], &n[1], &n[2], &n[3]), 4);
    return true;
}

static void resume_fields(const struct vector *v, struct pmw_resume *f)
{
    unsigned long long n[4];
    INTEGER(f, v, session_id), INTEGER(f, v, epoch), INTEGER(f, v, nonce), INTEGER(f, v, server_id);
    INTEGER(f, v, helper_id), INTEGER(f, v, shard), INTEGER(f, v, flags);
    for (; conn_line(v, f->nb_conns, n); f->nb_conns++)
        f->conns[f->nb_conns] =
            (struct pmw_resume_conn){.cid = n[0], .rcv_nxt = n[1], .snd_una = n[2], .snd_nxt = n[3]};
}

static void resume_ack_fields(const struct vector *v, struct pmw_resume_ack *f)
{
    unsigned long long n[4];
    INTEGER(f, v, session_id), INTEGER(f, v, epoch), INTEGER(f, v, nonce), INTEGER(f, v, challenge);
    for (; conn_line(v, f->nb_conns, n); f->nb_conns++)
        f->conns[f->nb_conns] =
            (struct pmw_resume_ack_conn){.cid = n[0], .rcv_nxt = n[1], .snd_una = n[2], .window = (uint32_t)n[3]};
}

/* Encode from the fields, seal, compare; decode, encode, seal, compare again. */
#define CONTROL(kind)                                                                                                  \
    static void kind##_vector(const struct vector *v, const uint8_t key[16])                                           \
    {                                                                                                                  \
        uint8_t buf[PMW_FRAME_BYTES_MAX];                                                                              \
        struct pmw_##kind f = {0}, back = {0};                                                                         \
        kind##_fields(v, &f);                                                                                          \
        int len = pmw_##kind##_encode(buf, sizeof(buf), &f);                                                           \
        assert_true(len > 0);                                                                                          \
        pmw_control_seal(buf, (size_t)len, key);                                                                       \
        assert_bytes(v, buf, len);                                                                                     \
        assert_true(pmw_control_check(buf, (size_t)len, key));                                                         \
        assert_int_equal(pmw_##kind##_decode(guarded(buf, (size_t)len), (size_t)len, &back), 0);                       \
        assert_int_equal(pmw_##kind##_encode(buf, sizeof(buf), &back), len);                                           \
        pmw_control_seal(buf, (size_t)len, key);                                                                       \
        assert_bytes(v, buf, len);                                                                                     \
    }
CONTROL(open)
CONTROL(open_cookie)
CONTROL(open_ack)
CONTROL(refused)
CONTROL(resume)
CONTROL(resume_ack)
CONTROL(reset)

static void probe_vector(const struct vector *v, uint8_t type, const uint8_t key[16])
{
    uint8_t buf[PMW_FRAME_BYTES_MAX];
    struct pmw_probe f = {0}, back = {0};
    INTEGER(&f, v, session_id), INTEGER(&f, v, epoch), INTEGER(&f, v, nonce), INTEGER(&f, v, helper_id);
    if (type == PMW_PONG)
        INTEGER(&f, v, state), INTEGER(&f, v, incarnation);
    else
        INTEGER(&f, v, server_id), INTEGER(&f, v, shard);
    f.bytes = type == PMW_PONG ? 0 : (uint16_t)vector_integer(v, "whole_bytes");
    for (int pass = 0; pass < 2; pass++) {
        int len = pmw_probe_encode(buf, sizeof(buf), type, pass == 0 ? &f : &back);
        assert_true(len >= PMW_PROBE_BYTES);
        if (type != PMW_PONG)
            pmw_control_seal(buf, (size_t)len, key);
        assert_bytes(v, buf, len);
        assert_int_equal(pmw_probe_decode(guarded(buf, (size_t)len), (size_t)len, &back), 0);
    }
}

static void path_vector(const struct vector *v, uint8_t type, const uint8_t key[16])
{
    uint8_t buf[PMW_PATH_BYTES];
    struct pmw_path f = {0}, back = {0};
    INTEGER(&f, v, session_id), INTEGER(&f, v, epoch), INTEGER(&f, v, challenge), INTEGER(&f, v, server_id);
    INTEGER(&f, v, helper_id), INTEGER(&f, v, shard);
    for (int pass = 0; pass < 2; pass++) {
        int len = pmw_path_encode(buf, sizeof(buf), type, pass == 0 ? &f : &back);
        assert_int_equal(len, sizeof(buf));
        pmw_control_seal(buf, sizeof(buf), key);
        assert_bytes(v, buf, len);
        assert_int_equal(pmw_path_decode(guarded(buf, sizeof(buf)), sizeof(buf), &back), 0);
    }
}

static void path_challenge_vector(const struct vector *v, const uint8_t key[16])
{
    path_vector(v, PMW_PATH_CHALLENGE, key);
}

static void path_response_vector(const struct vector *v, const uint8_t key[16])
{
    path_vector(v, PMW_PATH_RESPONSE, key);
}

/* Without a MAC: fields, bytes, fields, bytes. */
static void busy_vector(const struct vector *v, const uint8_t key[16])
{
    uint8_t buf[PMW_BUSY_BYTES];
    struct pmw_busy f = {0}, back = {0};
    (void)key;
    INTEGER(&f, v, cid), INTEGER(&f, v, seq), INTEGER(&f, v, retry_after_us), INTEGER(&f, v, helper_id);
    assert_bytes(v, buf, pmw_busy_encode(buf, sizeof(buf), &f));
    assert_int_equal(pmw_busy_decode(guarded(buf, sizeof(buf)), sizeof(buf), &back), 0);
    assert_bytes(v, buf, pmw_busy_encode(buf, sizeof(buf), &back));
}

static void stateless_reset_vector(const struct vector *v, const uint8_t key[16])
{
    uint8_t buf[PMW_STATELESS_RESET_BYTES];
    struct pmw_stateless_reset f = {0}, back = {0};
    (void)key;
    INTEGER(&f, v, cid);
    vector_octets_exact(v, "reset_token", f.reset_token, sizeof(f.reset_token));
    assert_bytes(v, buf, pmw_stateless_reset_encode(buf, sizeof(buf), &f));
    assert_int_equal(pmw_stateless_reset_decode(guarded(buf, sizeof(buf)), sizeof(buf), &back), 0);
    assert_bytes(v, buf, pmw_stateless_reset_encode(buf, sizeof(buf), &back));
}

static void control_vector(const struct vector *v)
{
    static const struct {
        const char *kind;
        void (*check)(const struct vector *v, const uint8_t key[16]);
        uint8_t probe_type;
    } kinds[] = {
        {"open", open_vector, 0},
        {"open_cookie", open_cookie_vector, 0},
        {"open_ack", open_ack_vector, 0},
        {"path_challenge", path_challenge_vector, 0},
        {"path_response", path_response_vector, 0},
        {"busy", busy_vector, 0},
        {"stateless_reset", stateless_reset_vector, 0},
        {"refused", refused_vector, 0},
        {"resume", resume_vector, 0},
        {"resume_ack", resume_ack_vector, 0},
        {"reset", reset_vector, 0},
        {"probe", NULL, PMW_PROBE},
        {"pong", NULL, PMW_PONG},
        {"echo", NULL, PMW_ECHO},
    };
    uint8_t key[16] = {0};
    if (vector_line(v, "mac_key", 0) != NULL)
        vector_octets_exact(v, "mac_key", key, sizeof(key));
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (strcmp(v->kind, kinds[i].kind) != 0)
            continue;
        if (kinds[i].check != NULL)
            kinds[i].check(v, key);
        else
            probe_vector(v, kinds[i].probe_type, key);
        nb_visited++;
    }
}

static void control(void **state)
{
    each("control.hex", control_vector);
}

/* --- trunk batches --------------------------------------------------------------------------- */
static struct pmw_entry entry_fields(const char *line, uint8_t *frame)
{
    struct pmw_entry e = {.frame = frame};
    int ip_from, ip_to, frame_from;
    unsigned port;
    assert_int_equal(sscanf(line, "%n%*s%n %x %n", &ip_from, &ip_to, &port, &frame_from), 1);
    e.client.family = hex_decode(line + ip_from, (size_t)(ip_to - ip_from), e.client.ip, 16) == 4 ? 4 : 6;
    e.client.port = (uint16_t)port;
    e.frame_len = (uint16_t)hex_decode(line + frame_from, strlen(line + frame_from), frame, PMW_FRAME_BYTES_MAX);
    return e;
}

static size_t trunk_build(const struct vector *v, uint8_t *buf, size_t cap)
{
    uint8_t frame[PMW_FRAME_BYTES_MAX];
    struct pmw_trunk h = {0};
    INTEGER(&h, v, helper_id), INTEGER(&h, v, worker), INTEGER(&h, v, shard), INTEGER(&h, v, incarnation);
    INTEGER(&h, v, batch_seq), INTEGER(&h, v, hold_us), INTEGER(&h, v, flags), INTEGER(&h, v, ack_batch);
    INTEGER(&h, v, ack_bits), INTEGER(&h, v, credit), INTEGER(&h, v, ce_count);
    size_t at = PMW_TRUNK_HEADER_BYTES;
    const char *line;
    for (; (line = vector_line(v, "entry", h.nb_entries)) != NULL; h.nb_entries++) {
        struct pmw_entry e = entry_fields(line, frame);
        int len = pmw_entry_encode(buf + at, cap - at, &e);
        assert_true(len > 0);
        at += (size_t)len;
    }
    assert_int_equal(pmw_trunk_encode(buf, cap, &h), PMW_TRUNK_HEADER_BYTES);
    size_t pad = (size_t)vector_integer(v, "pad");
    assert_true(at + pad + PMW_TRUNK_TAG_BYTES <= cap);
    memset(buf + at, 0, pad + PMW_TRUNK_TAG_BYTES);
    return at + pad + PMW_TRUNK_TAG_BYTES;
}

static void trunk_vector(const struct vector *v)
{
    uint8_t buf[PMW_TRUNK_BYTES_MAX], back[PMW_TRUNK_BYTES_MAX] = {0}, key[16];
    uint32_t seq_high = (uint32_t)vector_integer(v, "batch_seq_high");
    vector_octets_exact(v, "key", key, sizeof(key));
    size_t len = trunk_build(v, buf, sizeof(buf));
    pmw_trunk_seal(buf, len, key, seq_high);
    assert_bytes(v, buf, (int)len);
    assert_true(pmw_trunk_check(guarded(buf, len), len, key, seq_high));

    const uint8_t *in = guarded(buf, len);
    struct pmw_trunk h;
    struct pmw_any_entry e;
    assert_int_equal(pmw_trunk_decode(in, len, &h), 0);
    size_t at = PMW_TRUNK_HEADER_BYTES, to = (size_t)pmw_trunk_encode(back, sizeof(back), &h);
    unsigned nb = 0;
    int rc;
    for (; (rc = pmw_entry_next(in, len - PMW_TRUNK_TAG_BYTES, &at, &e)) == 1; nb++)
        to += (size_t)pmw_entry_encode(back + to, sizeof(back) - to, &e.as_long);
    assert_int_equal(rc, 0);
    assert_int_equal(nb, h.nb_entries);
    assert_memory_equal(buf, back, len - PMW_TRUNK_TAG_BYTES);
    nb_visited++;
}

static void trunk(void **state)
{
    each("trunk.hex", trunk_vector);
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
    nb_visited++;
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
        nb_visited++;
    } else if (strcmp(v->kind, "reset_token") == 0) {
        uint8_t key[16], token[16];
        vector_octets_exact(v, "trunk_secret", secret, sizeof(secret));
        pmw_reset_key(key, secret);
        assert_octets(v, "reset_key", key, 16);
        pmw_reset_token(token, key, vector_integer(v, "cid"));
        assert_octets(v, "reset_token", token, 16);
        nb_visited++;
    } else if (strcmp(v->kind, "trunk_keys") == 0) {
        struct pmw_trunk_keys k;
        vector_octets_exact(v, "trunk_secret", secret, sizeof(secret));
        pmw_trunk_keys_derive(&k, secret, (uint16_t)vector_integer(v, "helper_id"),
                              (uint32_t)vector_integer(v, "incarnation"));
        assert_octets(v, "to_server", k.to_server, 16);
        assert_octets(v, "to_helper", k.to_helper, 16);
        nb_visited++;
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
    nb_visited++;
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
    nb_visited++;
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
        cmocka_unit_test(frames), cmocka_unit_test(control), cmocka_unit_test(trunk), cmocka_unit_test(tokens),
        cmocka_unit_test(keys),   cmocka_unit_test(cids),    cmocka_unit_test(crcs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
