/* SPDX-License-Identifier: Apache-2.0
 *
 * The vectors of control frames, and of BUSY and STATELESS_RESET.
 */
#include "vectors.h"

#include <stdio.h>
#include <string.h>

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

void control_vector(const struct vector *v)
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
        vector_known();
    }
}
