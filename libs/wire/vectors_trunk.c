/* SPDX-License-Identifier: Apache-2.0
 *
 * The vectors of trunk batches: entries of all kinds. A short entry is given as the short frame that it stands for
 * (T6).
 */
#include "vectors.h"

#include <stdio.h>
#include <string.h>

/* Words of an entry line; the last is the rest of it. */
enum { WORDS_MAX = 6 };

static unsigned words_of(char *line, char *word[WORDS_MAX])
{
    unsigned nb = 0;
    for (char *at = strtok(line, " "); at != NULL; at = strtok(NULL, " ")) {
        assert_true(nb < WORDS_MAX);
        word[nb++] = at;
    }
    return nb;
}

static uint64_t integer(const char *word)
{
    unsigned long long value;
    assert_int_equal(sscanf(word, "%llx", &value), 1);
    return value;
}

static struct pmw_addr address(const char *ip, const char *port)
{
    struct pmw_addr a = {.port = (uint16_t)integer(port)};
    a.family = hex_decode(ip, strlen(ip), a.ip, sizeof(a.ip)) == 4 ? 4 : 6;
    return a;
}

static int long_put(uint8_t *buf, size_t cap, char *const *word)
{
    uint8_t frame[PMW_FRAME_BYTES_BASE];
    struct pmw_entry e = {.client = address(word[1], word[2]), .frame = frame};
    e.frame_len = (uint16_t)hex_decode(word[3], strlen(word[3]), frame, sizeof(frame));
    return pmw_entry_encode(buf, cap, &e);
}

static int short_put(uint8_t *buf, size_t cap, char *const *word)
{
    uint8_t frame[PMW_FRAME_BYTES_BASE], again[PMW_FRAME_BYTES_BASE];
    struct pmw_short e;
    struct pmw_route r;
    size_t len = hex_decode(word[3], strlen(word[3]), frame, sizeof(frame));
    assert_true(pmw_short_of_frame(guarded(frame, len), len, &e));
    assert_int_equal(pmw_route_decode(frame, len, &r), 0);
    assert_int_equal(pmw_short_to_frame(again, sizeof(again), &e, r.id), len);
    assert_memory_equal(frame, again, len);
    e.index = (uint32_t)integer(word[1]);
    e.generation = (uint8_t)integer(word[2]);
    return pmw_short_encode(buf, cap, &e);
}

static int entry_put(uint8_t *buf, size_t cap, const char *line)
{
    static const struct {
        const char *name;
        enum pmw_entry_kind kind;
    } refs[] = {{"bind_ack", PMW_ENTRY_BIND_ACK}, {"bind_err", PMW_ENTRY_BIND_ERR}, {"unbind", PMW_ENTRY_UNBIND}};
    char copy[VECTOR_LINE_CHARS_MAX], *word[WORDS_MAX] = {NULL};
    assert_true(strlen(line) < sizeof(copy));
    strcpy(copy, line);
    unsigned nb = words_of(copy, word);
    if (strcmp(word[0], "long") == 0 && nb == 4)
        return long_put(buf, cap, word);
    if (strcmp(word[0], "short") == 0 && nb == 4)
        return short_put(buf, cap, word);
    if (strcmp(word[0], "bind") == 0 && nb == 6) {
        struct pmw_bind b = {.index = (uint32_t)integer(word[1]),
                             .generation = (uint8_t)integer(word[2]),
                             .client = address(word[3], word[4]),
                             .cid = integer(word[5])};
        return pmw_bind_encode(buf, cap, &b);
    }
    assert_int_equal(nb, 3);
    if (strcmp(word[0], "nack") == 0) {
        struct pmw_nack n = {(uint32_t)integer(word[1]), (uint16_t)integer(word[2])};
        return pmw_nack_encode(buf, cap, &n);
    }
    struct pmw_bind_ref r = {(uint32_t)integer(word[1]), (uint8_t)integer(word[2])};
    for (size_t i = 0; i < sizeof(refs) / sizeof(refs[0]); i++) {
        if (strcmp(word[0], refs[i].name) == 0)
            return pmw_bind_ref_encode(buf, cap, refs[i].kind, &r);
    }
    return PMW_ERR_ENTRY;
}

static size_t trunk_build(const struct vector *v, uint8_t *buf, size_t cap)
{
    struct pmw_trunk h = {0};
    INTEGER(&h, v, helper_id), INTEGER(&h, v, worker), INTEGER(&h, v, shard), INTEGER(&h, v, incarnation);
    INTEGER(&h, v, batch_seq), INTEGER(&h, v, hold_us), INTEGER(&h, v, flags), INTEGER(&h, v, ack_batch);
    INTEGER(&h, v, ack_bits), INTEGER(&h, v, credit), INTEGER(&h, v, ce_count);
    size_t at = PMW_TRUNK_HEADER_BYTES;
    const char *line;
    for (; (line = vector_line(v, "entry", h.nb_entries)) != NULL; h.nb_entries++) {
        int len = entry_put(buf + at, cap - at, line);
        if (len <= 0)
            fail_msg("%s: entry %u: %d", v->name, h.nb_entries, len);
        at += (size_t)len;
    }
    assert_int_equal(pmw_trunk_encode(buf, cap, &h), PMW_TRUNK_HEADER_BYTES);
    size_t pad = (size_t)vector_integer(v, "pad");
    assert_true(at + pad + PMW_TRUNK_TAG_BYTES <= cap);
    memset(buf + at, 0, pad + PMW_TRUNK_TAG_BYTES);
    return at + pad + PMW_TRUNK_TAG_BYTES;
}

static int entry_again(uint8_t *buf, size_t cap, const struct pmw_any_entry *e)
{
    if (e->kind == PMW_ENTRY_LONG_V4 || e->kind == PMW_ENTRY_LONG_V6)
        return pmw_entry_encode(buf, cap, &e->as_long);
    if (e->kind == PMW_ENTRY_SHORT)
        return pmw_short_encode(buf, cap, &e->as_short);
    if (e->kind == PMW_ENTRY_BIND)
        return pmw_bind_encode(buf, cap, &e->bind);
    if (e->kind == PMW_ENTRY_NACK)
        return pmw_nack_encode(buf, cap, &e->nack);
    return pmw_bind_ref_encode(buf, cap, (enum pmw_entry_kind)e->kind, &e->ref);
}

void trunk_vector(const struct vector *v)
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
        to += (size_t)entry_again(back + to, sizeof(back) - to, &e);
    assert_int_equal(rc, 0);
    assert_int_equal(nb, h.nb_entries);
    assert_memory_equal(buf, back, len - PMW_TRUNK_TAG_BYTES);
    vector_known();
}
