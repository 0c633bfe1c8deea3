/* SPDX-License-Identifier: Apache-2.0
 *
 * DATA and ACK.
 */
#include "wire_test.h"

#include <string.h>

static const struct pmw_check_seed SEED = {
    .secret = 0x1122334455667788, .cid = 9, .seq = 1ull << 40, .ack = 1ull << 41, .epoch = 258};

static struct pmw_frame random_frame(uint8_t type, const uint8_t *payload)
{
    struct pmw_frame f = {.type = type, .flags = PMW_F_CHECK, .nb_sacks = (uint8_t)random_below(PMW_SACK_MAX + 1)};
    f.epoch8 = (uint8_t)random_below(256);
    f.tx = (uint8_t)random_below(16);
    f.tx_echo = (uint8_t)random_below(16);
    random_fill(&f.cid, sizeof(f.cid));
    random_fill(&f.seq, sizeof(f.seq));
    random_fill(&f.ack, sizeof(f.ack));
    random_fill(&f.window, sizeof(f.window));
    if (f.nb_sacks > 0)
        f.flags |= PMW_F_SACK;
    for (unsigned i = 0; i < f.nb_sacks; i++) {
        random_fill(&f.sacks[i].start, sizeof(f.sacks[i].start));
        f.sacks[i].len = (uint16_t)(1 + random_below(UINT16_MAX));
    }
    if (type == PMW_DATA) {
        f.flags |= (uint8_t)(random_below(8) << 2); /* FIN, RESEND, URGENT */
        f.payload_len = (uint16_t)random_below(PMW_PAYLOAD_BYTES_MAX + 1);
        f.payload = payload;
    }
    return f;
}

static size_t encode_ok(uint8_t *buf, const struct pmw_frame *f)
{
    int len = pmw_frame_encode(buf, PMW_FRAME_BYTES_MAX, f, f->payload);
    assert_in_range(len, PMW_FRAME_HEADER_BYTES + PMW_CHECK_BYTES, PMW_FRAME_BYTES_MAX);
    return (size_t)len;
}

static void assert_frame_equal(const struct pmw_frame *a, const struct pmw_frame *b)
{
    assert_int_equal(a->type, b->type);
    assert_int_equal(a->flags, b->flags);
    assert_int_equal(a->epoch8, b->epoch8);
    assert_int_equal(a->tx, b->tx);
    assert_int_equal(a->tx_echo, b->tx_echo);
    assert_true(a->cid == b->cid);
    assert_int_equal(a->seq, b->seq);
    assert_int_equal(a->ack, b->ack);
    assert_int_equal(a->window, b->window);
    assert_int_equal(a->payload_len, b->payload_len);
    assert_int_equal(a->nb_sacks, b->nb_sacks);
    for (unsigned i = 0; i < a->nb_sacks; i++) {
        assert_int_equal(a->sacks[i].start, b->sacks[i].start);
        assert_int_equal(a->sacks[i].len, b->sacks[i].len);
    }
    if (a->payload_len > 0)
        assert_memory_equal(a->payload, b->payload, a->payload_len);
}

static void round_trip(void **state)
{
    uint8_t buf[PMW_FRAME_BYTES_MAX], payload[PMW_PAYLOAD_BYTES_MAX];
    random_fill(payload, sizeof(payload));
    for (int i = 0; i < 2000; i++) {
        struct pmw_frame f = random_frame(i % 2 == 0 ? PMW_DATA : PMW_ACK, payload), back;
        size_t len = encode_ok(buf, &f);
        assert_int_equal(pmw_frame_decode(guarded(buf, len), len, &back), 0);
        assert_frame_equal(&f, &back);
    }
}

static int decode(const uint8_t *buf, size_t len)
{
    struct pmw_frame f;
    return pmw_frame_decode(buf, len, &f);
}

static void strict(void **state)
{
    uint8_t buf[PMW_FRAME_BYTES_MAX], payload[40] = {1};
    struct pmw_frame f = {.type = PMW_DATA,
                          .flags = PMW_F_CHECK | PMW_F_SACK,
                          .payload_len = sizeof(payload),
                          .payload = payload,
                          .nb_sacks = 2,
                          .sacks = {{1, 2}, {3, 4}}};
    assert_strict(decode, buf, encode_ok(buf, &f), NULL, 0);
    struct pmw_frame ack = {.type = PMW_ACK, .flags = PMW_F_CHECK};
    assert_strict(decode, buf, encode_ok(buf, &ack), NULL, 0);
}

/* Which flags bytes a frame without SACK and payload may carry: all 256 of them. */
static void flags(void **state)
{
    uint8_t buf[PMW_FRAME_BYTES_MAX];
    for (unsigned flags = 0; flags < 256; flags++) {
        struct pmw_frame f = {.type = PMW_DATA, .flags = PMW_F_CHECK};
        size_t len = encode_ok(buf, &f);
        buf[1] = (uint8_t)flags;
        if ((flags & PMW_F_SEALED) != 0) /* its trailer is longer */
            memset(buf + len, 0, 20), len += PMW_SEAL_BYTES - PMW_CHECK_BYTES;
        bool is_short = (flags & PMW_F_SHORT) != 0; /* then 8 bytes are payload: not in ACK, and not with FIN, RESEND */
        bool known = ((flags & PMW_F_CHECK) != 0) != ((flags & PMW_F_SEALED) != 0) && (flags & 1) == 0 &&
                     !(flags & PMW_F_SACK) && !(is_short && (flags & (PMW_F_FIN | PMW_F_RESEND)));
        assert_int_equal(decode(buf, len) == 0, known);
        buf[0] = PMW_FIRST_BYTE(PMW_ACK);
        assert_int_equal(decode(buf, len) == 0, known && !(flags & PMW_F_FIN) && !is_short);
    }
}

struct refused_case {
    const char *name;
    struct pmw_frame frame;
    int error;
};

static const struct refused_case REFUSED[] = {
    {"another type", {.type = PMW_OPEN, .flags = PMW_F_CHECK}, PMW_ERR_TYPE},
    {"no check", {.type = PMW_DATA}, PMW_ERR_FLAGS},
    {"reserved flag", {.type = PMW_DATA, .flags = PMW_F_CHECK | 0x01}, PMW_ERR_FLAGS},
    {"FIN on ACK", {.type = PMW_ACK, .flags = PMW_F_CHECK | PMW_F_FIN}, PMW_ERR_FLAGS},
    {"payload on ACK", {.type = PMW_ACK, .flags = PMW_F_CHECK, .payload_len = 1}, PMW_ERR_LENGTH},
    {"SACK flag, no range", {.type = PMW_ACK, .flags = PMW_F_CHECK | PMW_F_SACK}, PMW_ERR_FLAGS},
    {"range, no SACK flag", {.type = PMW_ACK, .flags = PMW_F_CHECK, .nb_sacks = 1, .sacks = {{1, 1}}}, PMW_ERR_FLAGS},
    {"five ranges", {.type = PMW_ACK, .flags = PMW_F_CHECK | PMW_F_SACK, .nb_sacks = 5}, PMW_ERR_LIMIT},
    {"empty range", {.type = PMW_ACK, .flags = PMW_F_CHECK | PMW_F_SACK, .nb_sacks = 1}, PMW_ERR_LIMIT},
    {"payload too long",
     {.type = PMW_DATA, .flags = PMW_F_CHECK, .payload_len = PMW_PAYLOAD_BYTES_MAX + 1},
     PMW_ERR_LIMIT},
};

static void encoder_refuses(void **state)
{
    uint8_t buf[2 * PMW_FRAME_BYTES_MAX], payload[PMW_PAYLOAD_BYTES_MAX + 1] = {0};
    for (size_t i = 0; i < sizeof(REFUSED) / sizeof(REFUSED[0]); i++) {
        int rc = pmw_frame_encode(buf, sizeof(buf), &REFUSED[i].frame, payload);
        if (rc != REFUSED[i].error)
            fail_msg("%s: %d", REFUSED[i].name, rc);
    }
    struct pmw_frame f = {.type = PMW_DATA, .flags = PMW_F_CHECK, .payload_len = 10};
    assert_int_equal(pmw_frame_encode(buf, 37, &f, payload), PMW_ERR_SPACE);
    assert_int_equal(pmw_frame_encode(buf, 38, &f, payload), 38);
}

static void decoder_refuses_sacks(void **state)
{
    uint8_t buf[PMW_FRAME_BYTES_MAX];
    struct pmw_frame f = {.type = PMW_ACK, .flags = PMW_F_CHECK | PMW_F_SACK, .nb_sacks = 1, .sacks = {{7, 1}}};
    size_t len = encode_ok(buf, &f);
    buf[PMW_FRAME_HEADER_BYTES] = 0;
    assert_int_equal(decode(buf, len), PMW_ERR_LIMIT);
    buf[PMW_FRAME_HEADER_BYTES] = PMW_SACK_MAX + 1;
    assert_int_equal(decode(buf, len), PMW_ERR_LIMIT);
    buf[PMW_FRAME_HEADER_BYTES] = 1;
    assert_int_equal(decode(buf, len), 0);
    buf[PMW_FRAME_HEADER_BYTES + 6] = 0; /* low byte of the range's length */
    assert_int_equal(decode(buf, len), PMW_ERR_LIMIT);
}

static void decoder_refuses_long_payload(void **state)
{
    uint8_t buf[2 * PMW_FRAME_BYTES_MAX] = {PMW_FIRST_BYTE(PMW_DATA), PMW_F_CHECK};
    size_t payload_bytes = PMW_PAYLOAD_BYTES_MAX + 1;
    buf[22] = (uint8_t)(payload_bytes >> 8);
    buf[23] = (uint8_t)payload_bytes;
    assert_int_equal(decode(buf, PMW_FRAME_HEADER_BYTES + payload_bytes + PMW_CHECK_BYTES), PMW_ERR_LIMIT);
}

static void check_covers_every_byte(void **state)
{
    uint8_t buf[PMW_FRAME_BYTES_MAX], payload[64];
    random_fill(payload, sizeof(payload));
    struct pmw_frame f = {.type = PMW_DATA, .flags = PMW_F_CHECK, .payload_len = sizeof(payload), .payload = payload};
    size_t len = encode_ok(buf, &f);
    pmw_frame_seal(buf, len, &SEED);
    assert_true(pmw_frame_check(guarded(buf, len), len, &SEED));
    for (size_t bit = 0; bit < len * 8; bit++) {
        /* Epoch, CID, seq and ack are checked as the seed, as the receiver understood them; URGENT is no meaning. */
        bool seeded = bit / 8 == 2 || (bit / 8 >= 4 && bit / 8 < 20);
        bool urgent = bit / 8 == 1 && 1u << bit % 8 == PMW_F_URGENT;
        buf[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(pmw_frame_check(buf, len, &SEED), seeded || urgent);
        buf[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    for (size_t shorter = 0; shorter < len; shorter++)
        assert_false(pmw_frame_check(guarded(buf, shorter), shorter, &SEED));
}

/* W7: a truncated number that was widened to another value fails the check. */
static void check_covers_the_seed(void **state)
{
    uint8_t buf[PMW_FRAME_BYTES_MAX];
    struct pmw_frame f = {.type = PMW_ACK, .flags = PMW_F_CHECK};
    size_t len = encode_ok(buf, &f);
    pmw_frame_seal(buf, len, &SEED);
    struct pmw_check_seed wrong[5] = {SEED, SEED, SEED, SEED, SEED};
    wrong[0].secret ^= 1;
    wrong[1].cid += 1ull << 63;
    wrong[2].seq += 1ull << 32;
    wrong[3].ack -= 1ull << 32;
    wrong[4].epoch += 256;
    for (size_t i = 0; i < 5; i++)
        assert_false(pmw_frame_check(buf, len, &wrong[i]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),
        cmocka_unit_test(strict),
        cmocka_unit_test(flags),
        cmocka_unit_test(encoder_refuses),
        cmocka_unit_test(decoder_refuses_sacks),
        cmocka_unit_test(decoder_refuses_long_payload),
        cmocka_unit_test(check_covers_every_byte),
        cmocka_unit_test(check_covers_the_seed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
