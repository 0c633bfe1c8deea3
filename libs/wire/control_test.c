/* SPDX-License-Identifier: Apache-2.0
 *
 * OPEN to RESET: open.c, resume.c, probe.c, path.c, unkeyed.c. That fields lie where the protocol says is
 * vectors_test.c's work.
 */
#include "wire_test.h"

#include <string.h>

/* An adapter per type: random fields encoded, and bytes decoded and encoded again. */
#define CODEC(kind, LIMIT_FIELDS)                                                                                      \
    static int kind##_random(uint8_t *buf, size_t cap)                                                                 \
    {                                                                                                                  \
        struct pmw_##kind f;                                                                                           \
        random_fill(&f, sizeof(f));                                                                                    \
        LIMIT_FIELDS;                                                                                                  \
        return pmw_##kind##_encode(buf, cap, &f);                                                                      \
    }                                                                                                                  \
    static int kind##_again(const uint8_t *in, size_t len, uint8_t *buf, size_t cap)                                   \
    {                                                                                                                  \
        struct pmw_##kind f;                                                                                           \
        int rc = pmw_##kind##_decode(in, len, &f);                                                                     \
        return rc < 0 ? rc : pmw_##kind##_encode(buf, cap, &f);                                                        \
    }                                                                                                                  \
    static int kind##_check(const uint8_t *in, size_t len)                                                             \
    {                                                                                                                  \
        struct pmw_##kind f;                                                                                           \
        return pmw_##kind##_decode(in, len, &f);                                                                       \
    }

CODEC(open, (void)0)
CODEC(open_cookie, (void)0)
CODEC(busy, (void)0)
CODEC(stateless_reset, (void)0)
CODEC(open_ack, (void)0)
CODEC(refused, (void)0)
CODEC(resume, f.nb_conns = (uint8_t)random_below(PMW_RESUME_CONNS_MAX + 1); f.flags &= PMW_RESUME_PLANNED)
CODEC(resume_ack, f.nb_conns = (uint8_t)random_below(PMW_RESUME_CONNS_MAX + 1))
CODEC(reset, (void)0)

static int probe_check(const uint8_t *in, size_t len)
{
    struct pmw_probe f;
    return pmw_probe_decode(in, len, &f);
}

#define PROBE_CODEC(kind, TYPE)                                                                                        \
    static int kind##_random(uint8_t *buf, size_t cap)                                                                 \
    {                                                                                                                  \
        struct pmw_probe f;                                                                                            \
        random_fill(&f, sizeof(f));                                                                                    \
        f.state &= 1;                                                                                                  \
        f.bytes = (uint16_t)(PMW_PROBE_BYTES + random_below(400));                                                     \
        return pmw_probe_encode(buf, cap, TYPE, &f);                                                                   \
    }                                                                                                                  \
    static int kind##_again(const uint8_t *in, size_t len, uint8_t *buf, size_t cap)                                   \
    {                                                                                                                  \
        struct pmw_probe f;                                                                                            \
        int rc = pmw_probe_decode(in, len, &f);                                                                        \
        return rc < 0 ? rc : pmw_probe_encode(buf, cap, TYPE, &f);                                                     \
    }

PROBE_CODEC(probe, PMW_PROBE)
PROBE_CODEC(pong, PMW_PONG)
PROBE_CODEC(echo, PMW_ECHO)

static int path_check(const uint8_t *in, size_t len)
{
    struct pmw_path f;
    return pmw_path_decode(in, len, &f);
}

static int path_random(uint8_t *buf, size_t cap)
{
    struct pmw_path f;
    random_fill(&f, sizeof(f));
    return pmw_path_encode(buf, cap, random_below(2) == 0 ? PMW_PATH_CHALLENGE : PMW_PATH_RESPONSE, &f);
}

static int path_again(const uint8_t *in, size_t len, uint8_t *buf, size_t cap)
{
    struct pmw_path f;
    int rc = pmw_path_decode(in, len, &f);
    return rc < 0 ? rc : pmw_path_encode(buf, cap, (uint8_t)pmw_type_of(in, len), &f);
}

static const struct codec {
    const char *name;
    int (*random)(uint8_t *buf, size_t cap);
    int (*again)(const uint8_t *in, size_t len, uint8_t *buf, size_t cap);
    decode_fn *check;
    struct reserved reserved[2]; /* beside type, flags, epoch8 and the zero byte, or two zero bytes */
} CODECS[] = {
    {"open", open_random, open_again, open_check, {{27, 28}, {30, 32}}},
    {"open_cookie", open_cookie_random, open_cookie_again, open_cookie_check, {{0}}},
    {"path", path_random, path_again, path_check, {{29, 32}}},
    {"busy", busy_random, busy_again, busy_check, {{22, 24}}},
    {"stateless_reset", stateless_reset_random, stateless_reset_again, stateless_reset_check, {{0}}},
    {"open_ack", open_ack_random, open_ack_again, open_ack_check, {{0}}},
    {"refused", refused_random, refused_again, refused_check, {{25, 28}}},
    {"resume", resume_random, resume_again, resume_check, {{31, 32}}},
    {"resume_ack", resume_ack_random, resume_ack_again, resume_ack_check, {{33, 36}}},
    {"reset", reset_random, reset_again, reset_check, {{25, 28}}},
    {"probe", probe_random, probe_again, probe_check, {{29, 30}}},
    {"pong", pong_random, pong_again, probe_check, {{26, 27}, {32, 48}}},
    {"echo", echo_random, echo_again, probe_check, {{29, 30}}},
};
#define FOR_EACH_CODEC(c) for (const struct codec *c = CODECS; c < CODECS + sizeof(CODECS) / sizeof(CODECS[0]); c++)

static void round_trip(void **state)
{
    uint8_t buf[PMW_FRAME_BYTES_MAX], back[PMW_FRAME_BYTES_MAX];
    FOR_EACH_CODEC(c)
    {
        for (int i = 0; i < 300; i++) {
            int len = c->random(buf, sizeof(buf));
            assert_in_range(len, PMW_CONTROL_HEADER_BYTES, PMW_FRAME_BYTES_MAX);
            assert_int_equal(c->again(guarded(buf, (size_t)len), (size_t)len, back, sizeof(back)), len);
            assert_memory_equal(buf, back, (size_t)len);
        }
    }
}

static void strict(void **state)
{
    static const struct reserved head[] = {{0, 4}}; /* type, flags, epoch8 or zero, zero */
    uint8_t buf[PMW_FRAME_BYTES_MAX];
    FOR_EACH_CODEC(c)
    {
        for (int i = 0; i < 20; i++) {
            size_t len = (size_t)c->random(buf, sizeof(buf));
            assert_strict(c->check, buf, len, head, 1);
            assert_strict(c->check, buf, len, c->reserved, 2);
        }
    }
}

static void no_space(void **state)
{
    uint8_t buf[PMW_FRAME_BYTES_MAX], back[PMW_FRAME_BYTES_MAX];
    FOR_EACH_CODEC(c)
    {
        size_t len = (size_t)c->random(buf, sizeof(buf));
        memset(back, 0x5a, sizeof(back));
        for (size_t cap = 0; cap < len; cap++)
            assert_int_equal(c->again(buf, len, back, cap), PMW_ERR_SPACE);
        for (size_t i = 0; i < sizeof(back); i++)
            assert_int_equal(back[i], 0x5a);
    }
}

static void resume_count_limit(void **state)
{
    uint8_t buf[PMW_FRAME_BYTES_MAX + 64] = {0};
    struct pmw_resume resume = {.nb_conns = PMW_RESUME_CONNS_MAX + 1};
    struct pmw_resume_ack ack = {.nb_conns = PMW_RESUME_CONNS_MAX + 1};
    assert_int_equal(pmw_resume_encode(buf, sizeof(buf), &resume), PMW_ERR_LIMIT);
    assert_int_equal(pmw_resume_ack_encode(buf, sizeof(buf), &ack), PMW_ERR_LIMIT);

    buf[0] = PMW_FIRST_BYTE(PMW_RESUME);
    buf[28] = PMW_RESUME_CONNS_MAX + 1;
    assert_int_equal(resume_check(buf, PMW_RESUME_FIXED_BYTES + 33 * PMW_RESUME_CONN_BYTES), PMW_ERR_LIMIT);
    buf[0] = PMW_FIRST_BYTE(PMW_RESUME_ACK);
    buf[28] = 0;
    buf[32] = PMW_RESUME_CONNS_MAX + 1;
    assert_int_equal(resume_ack_check(buf, PMW_RESUME_ACK_FIXED_BYTES + 33 * PMW_RESUME_ACK_CONN_BYTES), PMW_ERR_LIMIT);
}

static void pong_state_limit(void **state)
{
    uint8_t buf[PMW_PONG_BYTES];
    struct pmw_probe f = {.state = 1};
    assert_int_equal(pmw_probe_encode(buf, sizeof(buf), PMW_PONG, &f), PMW_PONG_BYTES);
    buf[27] = 2;
    assert_int_equal(probe_check(buf, sizeof(buf)), PMW_ERR_LIMIT);
    f.state = 2;
    assert_int_equal(pmw_probe_encode(buf, sizeof(buf), PMW_PONG, &f), PMW_ERR_LIMIT);
    assert_int_equal(pmw_probe_encode(buf, sizeof(buf), PMW_RESET, &f), PMW_ERR_TYPE);
}

/* S21: a PROBE is as long as it says, zeros before its MAC; ECHO says the same in 48 bytes. */
static void padded_probe_s21(void **state)
{
    static uint8_t buf[PMW_FRAME_BYTES_MAX + 1];
    static const uint16_t bytes[] = {48, 49, 4416, PMW_FRAME_BYTES_MAX};
    struct pmw_probe f = {.nonce = 7}, back;
    for (size_t i = 0; i < 4; i++) {
        f.bytes = bytes[i];
        assert_int_equal(pmw_probe_encode(buf, sizeof(buf), PMW_PROBE, &f), bytes[i]);
        assert_int_equal(pmw_probe_decode(guarded(buf, bytes[i]), bytes[i], &back), 0);
        assert_int_equal(back.bytes, bytes[i]);
        assert_int_equal(probe_check(guarded(buf, bytes[i] - 1u), bytes[i] - 1u), PMW_ERR_SHORT);
        assert_int_equal(probe_check(buf, bytes[i] + 1u), PMW_ERR_LENGTH);
        if (bytes[i] > PMW_PROBE_BYTES) {
            buf[bytes[i] - PMW_MAC_BYTES - 1] = 1;
            assert_int_equal(probe_check(guarded(buf, bytes[i]), bytes[i]), PMW_ERR_RESERVED);
        }
        assert_int_equal(pmw_probe_encode(buf, PMW_ECHO_BYTES, PMW_ECHO, &f), PMW_ECHO_BYTES);
        assert_int_equal(pmw_probe_decode(guarded(buf, PMW_ECHO_BYTES), PMW_ECHO_BYTES, &back), 0);
        assert_int_equal(back.bytes, bytes[i]);
    }
    f.bytes = PMW_PROBE_BYTES - 1;
    assert_int_equal(pmw_probe_encode(buf, sizeof(buf), PMW_PROBE, &f), PMW_ERR_LIMIT);
    f.bytes = PMW_FRAME_BYTES_MAX + 1;
    assert_int_equal(pmw_probe_encode(buf, sizeof(buf), PMW_ECHO, &f), PMW_ERR_LIMIT);
    f.bytes = PMW_PROBE_BYTES;
    assert_int_equal(pmw_probe_encode(buf, PMW_PROBE_BYTES, PMW_PROBE, &f), PMW_PROBE_BYTES);
    buf[31] = PMW_PROBE_BYTES - 1;
    assert_int_equal(probe_check(buf, PMW_PROBE_BYTES), PMW_ERR_LIMIT);
}

static void resume_flags_s19(void **state)
{
    uint8_t buf[PMW_RESUME_FIXED_BYTES];
    struct pmw_resume f = {.flags = PMW_RESUME_PLANNED}, back;
    assert_int_equal(pmw_resume_encode(buf, sizeof(buf), &f), sizeof(buf));
    assert_int_equal(pmw_resume_decode(buf, sizeof(buf), &back), 0);
    assert_int_equal(back.flags, PMW_RESUME_PLANNED);
    f.flags = buf[30] = 2;
    assert_int_equal(pmw_resume_decode(buf, sizeof(buf), &back), PMW_ERR_FLAGS);
    assert_int_equal(pmw_resume_encode(buf, sizeof(buf), &f), PMW_ERR_FLAGS);
}

/* A decoder takes its own type only. */
static void other_types_refused(void **state)
{
    uint8_t buf[PMW_FRAME_BYTES_MAX];
    FOR_EACH_CODEC(writer)
    {
        size_t len = (size_t)writer->random(buf, sizeof(buf));
        FOR_EACH_CODEC(reader)
        {
            if (reader->check != writer->check)
                assert_int_equal(reader->check(guarded(buf, len), len), PMW_ERR_TYPE);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),       cmocka_unit_test(strict),
        cmocka_unit_test(no_space),         cmocka_unit_test(padded_probe_s21),
        cmocka_unit_test(resume_flags_s19), cmocka_unit_test(resume_count_limit),
        cmocka_unit_test(pong_state_limit), cmocka_unit_test(other_types_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
