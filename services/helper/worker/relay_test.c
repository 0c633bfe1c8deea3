/* SPDX-License-Identifier: Apache-2.0
 *
 * The whole relay: where frames of clients go, what servers' batches become, what is dropped and why.
 */
#include <errno.h>
#include <stdio.h>

#include "relay_fixture.h"

struct fixture {
    struct sink sink;
    struct relay_config config;
    struct relay *relay;
    struct relay_server server, shard1;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    f->config = config_for(&f->sink);
    f->server = server_named(1, 0);
    f->shard1 = server_named(1, 1);
    assert_int_equal(relay_new(&f->relay, &f->config), 0);
    assert_int_equal(relay_server_set(f->relay, &f->server), 0);
    assert_int_equal(relay_server_set(f->relay, &f->shard1), 0);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    relay_free(f->relay);
    assert_int_equal(f->sink.nb_out, 0); /* no buffer is lost */
    sink_forget(&f->sink);
    free(f);
    return 0;
}

static struct relay_stats stats_of(const struct fixture *f)
{
    struct relay_stats stats;

    relay_stats_get(f->relay, &stats);
    return stats;
}

static int client_sends(struct fixture *f, uint64_t now, const uint8_t *frame, size_t len)
{
    uint8_t *exact = malloc(len ? len : 1);

    memcpy(exact, frame, len);
    int reason = relay_client_datagram(f->relay, now, &CLIENT, exact, len);
    free(exact);
    return reason;
}

static int client_sends_data(struct fixture *f, uint64_t now, uint64_t cid)
{
    uint8_t frame[PMW_FRAME_BYTES_BASE];
    return client_sends(f, now, frame, data_frame(frame, cid, 64, 0));
}

static void test_a_connection_id_finds_its_shard(void **state)
{
    struct fixture *f = *state;
    struct pmw_trunk header;
    struct pmw_entry entries[PMW_TRUNK_ENTRIES_MAX];

    for (int round = 0; round < 2; round++) /* the second time from the flow table */
        assert_int_equal(client_sends_data(f, 0, cid_of(1, 1, 5)), 0);
    assert_int_equal(client_sends_data(f, 0, cid_of(1, 0, 5)), 0);
    relay_flush_due(f->relay, HOLD_US);
    assert_int_equal(f->sink.nb_sent, 2);
    const struct sent *to_shard1 = &f->sink.sent[f->sink.sent[0].to.port == f->shard1.addr.port ? 0 : 1];
    assert_int_equal(open_batch(to_shard1, &f->shard1, &header, entries), 2);
    assert_int_equal(header.shard, 1);
    assert_true(pmw_addr_equal(&entries[0].client, &CLIENT));
    assert_int_equal(stats_of(f).nb_flows, 2);
    assert_int_equal(stats_of(f).trunk_data_entries_out, 3);
}

static void test_session_frames_go_where_they_say_at_once(void **state)
{
    struct fixture *f = *state;
    uint8_t frame[PMW_FRAME_BYTES_BASE];
    struct pmw_trunk header;
    struct pmw_entry entries[PMW_TRUNK_ENTRIES_MAX];
    const struct pmw_open open = {.session_id = 8, .open_nonce = 1, .epoch = 1, .server_id = 1, .shard = 1};
    const struct pmw_resume resume = {.session_id = 8, .nonce = 1, .epoch = 2, .server_id = 1, .shard = 1};

    assert_int_equal(client_sends(f, 0, frame, (size_t)pmw_open_encode(frame, sizeof(frame), &open)), 0);
    assert_int_equal(client_sends(f, 0, frame, (size_t)pmw_resume_encode(frame, sizeof(frame), &resume)), 0);
    assert_int_equal(f->sink.nb_sent, 2);
    for (int i = 0; i < 2; i++)
        assert_int_equal(open_batch(&f->sink.sent[i], &f->shard1, &header, entries), 1);
    assert_int_equal(stats_of(f).flush_urgent, 2);
    assert_int_equal(stats_of(f).trunk_data_entries_out, 0);
}

static void test_urgent_data_and_reset_are_not_held(void **state)
{
    struct fixture *f = *state;
    uint8_t frame[PMW_FRAME_BYTES_BASE];
    const struct pmw_reset reset = {.cid = cid_of(1, 0, 5), .epoch = 1};

    assert_int_equal(client_sends(f, 0, frame, data_frame(frame, cid_of(1, 0, 5), 64, PMW_F_URGENT)), 0);
    assert_int_equal(f->sink.nb_sent, 1);
    assert_int_equal(client_sends(f, 0, frame, (size_t)pmw_reset_encode(frame, sizeof(frame), &reset)), 0);
    assert_int_equal(f->sink.nb_sent, 2);
}

static void test_probe_is_answered_and_passed_on(void **state)
{
    struct fixture *f = *state;
    uint8_t frame[PMW_FRAME_BYTES_BASE];
    struct pmw_probe pong;

    for (int draining = 0; draining < 2; draining++) {
        relay_set_draining(f->relay, draining);
        assert_int_equal(client_sends(f, 0, frame, probe_frame(frame, 1)), 0);
        assert_int_equal(f->sink.nb_sent, 2);
        assert_false(f->sink.sent[0].to_server);
        assert_true(pmw_addr_equal(&f->sink.sent[0].to, &CLIENT));
        assert_int_equal(f->sink.sent[0].len, PMW_PROBE_BYTES);
        assert_int_equal(pmw_type_of(f->sink.sent[0].buf, f->sink.sent[0].len), PMW_PONG);
        assert_int_equal(pmw_probe_decode(f->sink.sent[0].buf, f->sink.sent[0].len, &pong), 0);
        assert_int_equal(pong.nonce, 22);
        assert_int_equal(pong.session_id, 11);
        assert_int_equal(pong.helper_id, HELPER_ID);
        assert_int_equal(pong.incarnation, INCARNATION);
        assert_int_equal(pong.state, draining);
        assert_true(f->sink.sent[1].to_server);
        sink_forget(&f->sink);
    }
    assert_int_equal(client_sends(f, 0, frame, probe_frame(frame, 99)), RELAY_DROP_UNKNOWN_SERVER);
    assert_int_equal(f->sink.nb_sent, 1); /* the helper lives, whatever the server does (S8) */
    assert_int_equal(stats_of(f).pongs, 3);
}

static void test_what_no_client_sends_is_refused(void **state)
{
    struct fixture *f = *state;
    static const uint8_t TYPES[] = {PMW_OPEN_ACK, PMW_RESUME_ACK, PMW_PONG, PMW_ECHO, PMW_REFUSED, PMW_TRUNK};
    uint8_t frame[200] = {0};

    for (size_t i = 0; i < sizeof(TYPES); i++) {
        frame[0] = PMW_FIRST_BYTE(TYPES[i]);
        assert_int_equal(client_sends(f, 0, frame, sizeof(frame)), RELAY_DROP_NOT_FOR_HELPER);
    }
    assert_int_equal(stats_of(f).drops[RELAY_DROP_NOT_FOR_HELPER], sizeof(TYPES));
}

static void test_garbage_changes_counters_only(void **state)
{
    struct fixture *f = *state;
    uint8_t frame[PMW_TRUNK_BYTES_MAX];
    uint64_t seed = 7, nb = 20000, dropped = 0;

    for (uint64_t i = 0; i < nb; i++) {
        size_t len = (seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407) >> 48;
        len %= sizeof(frame) + 1;
        for (size_t at = 0; at < len; at++)
            frame[at] = (uint8_t)((seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407) >> 56);
        if (i % 2 && len > 0)
            frame[0] = PMW_FIRST_BYTE(frame[0]); /* right version, any type */
        client_sends(f, 0, frame, len);
        relay_trunk_datagram(f->relay, 0, i % 3 ? &f->server.addr : &CLIENT, frame, len, false);
    }
    struct relay_stats stats = stats_of(f);
    for (int reason = 0; reason < RELAY_DROP_COUNT; reason++)
        dropped += stats.drops[reason];
    /* A random connection id names server 1 with probability 2^-23; a PROBE of the right length is as unlikely. */
    assert_int_equal(dropped, 2 * nb);
    assert_int_equal(f->sink.nb_sent, 0);
    assert_true(stats.drops[RELAY_DROP_TRUNK_UNKNOWN] > 0 && stats.drops[RELAY_DROP_UNKNOWN_SERVER] > 0);
}

static void test_truncated_frames_are_malformed(void **state)
{
    struct fixture *f = *state;
    uint8_t frame[PMW_FRAME_BYTES_BASE + 1] = {0};
    size_t probe_len = probe_frame(frame, 1);

    for (size_t len = 0; len < probe_len; len++)
        assert_int_equal(client_sends(f, 0, frame, len), RELAY_DROP_MALFORMED);
    data_frame(frame, cid_of(1, 0, 1), 1280, 0);
    for (size_t len = 0; len < PMW_FRAME_HEADER_BYTES; len++)
        assert_int_equal(client_sends(f, 0, frame, len), RELAY_DROP_MALFORMED);
    assert_int_equal(client_sends(f, 0, frame, sizeof(frame)), RELAY_DROP_FRAME_LONG);
    assert_int_equal(f->sink.nb_sent, 0);
}

static void test_a_batch_becomes_one_frame_per_client(void **state)
{
    struct fixture *f = *state;
    uint8_t frame[PMW_FRAME_BYTES_BASE], batch[PMW_TRUNK_BYTES_MAX];
    struct pmw_entry entry = {.client = CLIENT, .frame = frame};

    entry.frame_len = (uint16_t)data_frame(frame, cid_of(1, 0, 5), 64, 0);
    size_t len = server_batch(batch, &f->server, 1, &entry, 10);
    assert_int_equal(relay_trunk_datagram(f->relay, 0, &f->server.addr, batch, len, false), 0);
    assert_int_equal(f->sink.nb_sent, 10);
    for (int i = 0; i < 10; i++) {
        assert_false(f->sink.sent[i].to_server);
        assert_true(pmw_addr_equal(&f->sink.sent[i].to, &CLIENT));
        assert_int_equal(f->sink.sent[i].len, entry.frame_len);
        assert_memory_equal(f->sink.sent[i].buf, frame, entry.frame_len);
    }
    assert_int_equal(relay_trunk_datagram(f->relay, 0, &f->server.addr, batch, len, false), RELAY_DROP_TRUNK_REPLAY);
    assert_int_equal(f->sink.nb_sent, 10);
    assert_int_equal(stats_of(f).client_frames_out, 10);
    assert_int_equal(stats_of(f).trunk_entries_in, 10);
}

static void test_without_buffers_frames_are_dropped_and_counted(void **state)
{
    struct fixture *f = *state;
    uint8_t frame[PMW_FRAME_BYTES_BASE], batch[PMW_TRUNK_BYTES_MAX];
    struct pmw_entry entry = {.client = CLIENT_V6, .frame = frame};

    entry.frame_len = (uint16_t)data_frame(frame, cid_of(1, 0, 5), 64, 0);
    f->sink.exhausted = true;
    assert_int_equal(client_sends_data(f, 0, cid_of(1, 0, 5)), RELAY_DROP_NO_BUFFER);
    assert_int_equal(client_sends(f, 0, batch, probe_frame(batch, 1)), RELAY_DROP_NO_BUFFER);
    size_t len = server_batch(batch, &f->server, 1, &entry, 4);
    assert_int_equal(relay_trunk_datagram(f->relay, 0, &f->server.addr, batch, len, false), RELAY_DROP_NO_BUFFER);
    assert_int_equal(stats_of(f).drops[RELAY_DROP_NO_BUFFER], 1 + 1 + 4);
}

static void test_a_removed_server_is_unknown_and_its_batch_given_back(void **state)
{
    struct fixture *f = *state;

    client_sends_data(f, 0, cid_of(1, 0, 5));
    client_sends_data(f, 0, cid_of(1, 1, 5));
    assert_int_equal(f->sink.nb_out, 2);
    assert_int_equal(relay_server_remove(f->relay, 1), 0);
    assert_int_equal(f->sink.nb_out, 0);
    assert_int_equal(relay_server_remove(f->relay, 1), -ENOENT);
    assert_true(relay_flush_due(f->relay, UINT64_MAX) == UINT64_MAX);
    assert_int_equal(client_sends_data(f, 0, cid_of(1, 0, 5)), RELAY_DROP_UNKNOWN_SERVER);
    assert_int_equal(stats_of(f).nb_servers, 0);
    assert_int_equal(relay_server_set(f->relay, &f->server), 0);
    assert_int_equal(client_sends_data(f, 0, cid_of(1, 0, 5)), 0);
}

static void test_idle_flows_are_forgotten(void **state)
{
    struct fixture *f = *state;

    client_sends_data(f, 0, cid_of(1, 0, 5));
    assert_int_equal(stats_of(f).nb_flows, 1);
    for (int call = 0; call < 2; call++) /* 1,024 flows are 256 buckets */
        relay_age(f->relay, 2 * f->config.flow_idle_us);
    assert_int_equal(stats_of(f).nb_flows, 0);
}

static void test_bad_configurations_are_refused(void **state)
{
    struct sink sink = {0};
    struct relay *relay = NULL;
#define REFUSED(field, value)                                                                                          \
    do {                                                                                                               \
        struct relay_config config = config_for(&sink);                                                                \
        config.field = value;                                                                                          \
        assert_int_equal(relay_new(&relay, &config), -EINVAL);                                                         \
    } while (0)
    REFUSED(flows_max, 0);
    REFUSED(flows_max, 1000);
    REFUSED(flows_max, 4);
    REFUSED(servers_max, 0);
    REFUSED(trunk_bytes_max, 1412);
    REFUSED(trunk_bytes_max, 1473);
    REFUSED(batch_entries_max, 0);
    REFUSED(batch_entries_max, 129);
    REFUSED(sink.send, NULL);
#undef REFUSED
    assert_null(relay);
}

static void *no_memory(size_t size)
{
    return NULL;
}

static void test_no_memory(void **state)
{
    struct sink sink = {0};
    struct relay_config config = config_for(&sink);
    struct relay *relay;

    config.alloc = no_memory;
    assert_int_equal(relay_new(&relay, &config), -ENOMEM);
}

static void test_every_drop_reason_has_a_key(void **state)
{
    for (int reason = 1; reason < RELAY_DROP_COUNT; reason++)
        assert_true(strcmp(relay_drop_key((enum relay_drop)reason), "none") != 0);
    assert_string_equal(relay_drop_key(RELAY_DROP_COUNT), "none");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_connection_id_finds_its_shard),
        TEST(test_session_frames_go_where_they_say_at_once),
        TEST(test_urgent_data_and_reset_are_not_held),
        TEST(test_probe_is_answered_and_passed_on),
        TEST(test_what_no_client_sends_is_refused),
        TEST(test_garbage_changes_counters_only),
        TEST(test_truncated_frames_are_malformed),
        TEST(test_a_batch_becomes_one_frame_per_client),
        TEST(test_without_buffers_frames_are_dropped_and_counted),
        TEST(test_a_removed_server_is_unknown_and_its_batch_given_back),
        TEST(test_idle_flows_are_forgotten),
        cmocka_unit_test(test_bad_configurations_are_refused),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_every_drop_reason_has_a_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
