/* SPDX-License-Identifier: Apache-2.0
 *
 * What is believed of a trunk batch: nothing before its tag, nothing twice, nothing that does not decode (T1, T2, W1).
 */
#include "disassembler.h"
#include "relay_fixture.h"

struct fixture {
    struct server_table servers;
    struct relay_server server;
    struct pmw_entry entry;
    uint8_t frame[PMW_FRAME_BYTES_BASE], batch[PMW_TRUNK_BYTES_MAX];
    size_t len;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    server_table_init(&f->servers, calloc(1, server_table_bytes(4)), 4);
    f->server = server_named(1, 0);
    bool fresh;

    server_table_set(&f->servers, &f->server, &fresh);
    f->entry =
        (struct pmw_entry){.client = CLIENT, .frame = f->frame, .frame_len = (uint16_t)data_frame(f->frame, 42, 64, 0)};
    f->len = server_batch(f->batch, &f->server, 1, &f->entry, 3);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    free(f->servers.slots);
    free(f);
    return 0;
}

/* The batch is copied to memory of its exact length, so that the sanitizer sees a read past it. */
static int open_from(struct fixture *f, const struct pmw_addr *from, size_t len, struct pmw_entry *last)
{
    struct opened opened;
    uint8_t *exact = malloc(len ? len : 1);

    memcpy(exact, f->batch, len);
    int nb_entries = disassembler_open(&f->servers, from, exact, len, &opened);
    if (nb_entries > 0 && last) {
        *last = opened.entries[nb_entries - 1].as_long;
        assert_memory_equal(last->frame, f->frame, f->entry.frame_len);
    }
    free(exact);
    return nb_entries;
}

static int open_again(struct fixture *f)
{
    return open_from(f, &f->server.addr, f->len, NULL);
}

static void reseal(struct fixture *f, uint32_t batch_seq_high)
{
    pmw_trunk_seal(f->batch, f->len, f->server.trunk_key_to_helper, batch_seq_high);
}

static void test_opens_a_good_batch_once(void **state)
{
    struct fixture *f = *state;
    struct pmw_entry last;

    assert_int_equal(open_from(f, &f->server.addr, f->len, &last), 3);
    assert_true(pmw_addr_equal(&last.client, &CLIENT));
    assert_int_equal(open_again(f), -RELAY_DROP_TRUNK_REPLAY);
}

static void test_only_known_servers_are_heard(void **state)
{
    struct fixture *f = *state;
    struct pmw_addr other_port = f->server.addr, other_ip = f->server.addr;

    other_port.port++;
    other_ip.ip[3]++;
    assert_int_equal(open_from(f, &other_port, f->len, NULL), -RELAY_DROP_TRUNK_UNKNOWN);
    assert_int_equal(open_from(f, &other_ip, f->len, NULL), -RELAY_DROP_TRUNK_UNKNOWN);
    assert_int_equal(open_again(f), 3);
}

static void test_any_altered_bit_fails(void **state)
{
    struct fixture *f = *state;

    for (size_t bit = 0; bit < f->len * 8; bit++) {
        f->batch[bit / 8] ^= (uint8_t)(1 << bit % 8);
        int result = open_again(f);
        assert_true(result == -RELAY_DROP_TRUNK_TAG || (result == -RELAY_DROP_MALFORMED && bit < 32 * 8));
        f->batch[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    assert_int_equal(open_again(f), 3); /* a failed tag moved nothing, not even the window */
}

static void test_any_truncation_fails(void **state)
{
    struct fixture *f = *state;

    for (size_t len = 0; len < f->len; len++)
        assert_true(open_from(f, &f->server.addr, len, NULL) < 0);
}

static void test_the_other_direction_s_key_fails(void **state)
{
    struct fixture *f = *state;

    pmw_trunk_seal(f->batch, f->len, f->server.trunk_key_to_server, 0);
    assert_int_equal(open_again(f), -RELAY_DROP_TRUNK_TAG);
}

static void test_numbers_are_64_bits(void **state)
{
    struct fixture *f = *state;
    const uint64_t seq = (UINT64_C(1) << 32) + 5;
    struct server *s = server_table_find(&f->servers, 1, 0);

    f->len = server_batch(f->batch, &f->server, seq, &f->entry, 1);
    assert_int_equal(open_again(f), -RELAY_DROP_TRUNK_TAG); /* near 0 it means 5 */
    s->rx_incarnation = 1;
    pmw_replay_mark(&s->rx, seq - 10);
    assert_int_equal(open_again(f), 1);
    reseal(f, 0); /* number 5, sealed as such: decodes near 2^32, so its tag fails */
    assert_int_equal(open_again(f), -RELAY_DROP_TRUNK_TAG);
}

/* T2: numbers belong to one life of the server. */
static void test_a_successor_starts_over_and_ends_the_life_before(void **state)
{
    static const struct {
        uint8_t incarnation, seq;
        int result;
    } steps[] = {
        {1, 9, 3}, {2, 0, -RELAY_DROP_TRUNK_REPLAY}, /* numbers start at 1 */
        {2, 1, 3}, {2, 1, -RELAY_DROP_TRUNK_REPLAY}, {1, 10, -RELAY_DROP_TRUNK_REPLAY}, {2, 9, 3},
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        f->batch[11] = steps[i].incarnation;
        f->batch[15] = steps[i].seq;
        reseal(f, 0);
        assert_int_equal(open_again(f), steps[i].result);
    }
}

static void test_entry_count_must_match(void **state)
{
    struct fixture *f = *state;

    for (uint8_t claimed = 0; claimed <= PMW_TRUNK_ENTRIES_MAX; claimed++) {
        f->len = server_batch(f->batch, &f->server, 10u + claimed, &f->entry, 3);
        f->batch[3] = claimed;
        reseal(f, 0);
        assert_int_equal(open_again(f), claimed == 3 ? 3 : -RELAY_DROP_TRUNK_ENTRY);
    }
}

static void test_one_bad_entry_spoils_the_batch(void **state)
{
    struct fixture *f = *state;
    const size_t third = 32 + 2 * (9u + f->entry.frame_len);

    f->batch[third] = 0x47; /* no such kind */
    reseal(f, 0);
    assert_int_equal(open_again(f), -RELAY_DROP_TRUNK_ENTRY);
}

static void test_padding_must_be_zero(void **state)
{
    struct fixture *f = *state;

    for (size_t pad = 1; pad < 40; pad++) {
        f->len = server_batch(f->batch, &f->server, 1 + 2 * pad, &f->entry, 1) + pad;
        memset(f->batch + f->len - pad - PMW_TRUNK_TAG_BYTES, 0, pad);
        reseal(f, 0);
        assert_int_equal(open_again(f), 1);
        f->len = server_batch(f->batch, &f->server, 2 + 2 * pad, &f->entry, 1) + pad;
        memset(f->batch + f->len - pad - PMW_TRUNK_TAG_BYTES, 0, pad);
        f->batch[f->len - PMW_TRUNK_TAG_BYTES - 1] = 1;
        reseal(f, 0);
        assert_int_equal(open_again(f), -RELAY_DROP_TRUNK_ENTRY);
    }
}

static void test_two_servers_at_one_address_are_told_apart_by_the_tag(void **state)
{
    struct fixture *f = *state;
    struct relay_server successor = server_named(2, 0);
    bool fresh;

    successor.addr = f->server.addr;
    server_table_set(&f->servers, &successor, &fresh);
    assert_int_equal(open_again(f), 3);
    f->len = server_batch(f->batch, &successor, 1, &f->entry, 2);
    assert_int_equal(open_again(f), 2);
    assert_int_equal(open_again(f), -RELAY_DROP_TRUNK_REPLAY);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_opens_a_good_batch_once),
        TEST(test_only_known_servers_are_heard),
        TEST(test_any_altered_bit_fails),
        TEST(test_any_truncation_fails),
        TEST(test_the_other_direction_s_key_fails),
        TEST(test_numbers_are_64_bits),
        TEST(test_a_successor_starts_over_and_ends_the_life_before),
        TEST(test_entry_count_must_match),
        TEST(test_one_bad_entry_spoils_the_batch),
        TEST(test_padding_must_be_zero),
        TEST(test_two_servers_at_one_address_are_told_apart_by_the_tag),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
