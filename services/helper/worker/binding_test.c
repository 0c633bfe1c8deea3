/* SPDX-License-Identifier: Apache-2.0
 *
 * Short entries and the bindings that they name (T6): when a flow gets one, what is said with it, when it ends, and
 * that nothing stale ever reaches another flow. With the server's end played by hand.
 */
#include "binding_fixture.h"

static void test_a_flow_is_bound_when_its_server_knows_the_client(void **state)
{
    struct fixture *f = *state;

    for (int i = 0; i < 3; i++) {
        struct taken taken = client_to_server(f, 0, &CLIENT, CID);
        assert_int_equal(taken.header.nb_entries, 1); /* nobody confirmed it: no BIND */
        assert_int_equal(taken.entries[0].kind, PMW_ENTRY_LONG_V4);
    }
    server_says_long(f, 0, &CLIENT, CID);
    struct taken taken = client_to_server(f, 0, &CLIENT, CID);
    assert_int_equal(taken.header.nb_entries, 2);
    assert_int_equal(taken.entries[0].kind, PMW_ENTRY_BIND);
    assert_int_equal(taken.entries[0].bind.index, 0); /* small ones first */
    assert_true(taken.entries[0].bind.cid == CID);
    assert_true(pmw_addr_equal(&taken.entries[0].bind.client, &CLIENT));
    assert_int_equal(taken.entries[1].kind, PMW_ENTRY_LONG_V4); /* until BIND_ACK */
    assert_int_equal(client_to_server(f, 0, &CLIENT, CID).entries[0].kind, PMW_ENTRY_LONG_V4);
}

static void test_a_flow_of_long_frames_needs_no_binding(void **state)
{
    struct fixture *f = *state;
    size_t len = data_frame(f->frame, CID, 64, 0);

    client_to_server(f, 0, &CLIENT, CID);
    server_says_long(f, 0, &CLIENT, CID);
    client_gives(f->relay, 0, &CLIENT, f->frame, len);
    assert_int_equal(fake_take_last(&f->server, &f->sink, f->relay, HOLD_US).header.nb_entries, 1);
    assert_int_equal(stats_of(f).bindings_asked, 0);
}

static void test_a_bound_flow_travels_in_short_entries_both_ways(void **state)
{
    struct fixture *f = *state;
    struct pmw_bind bound = bind(f, 0, CID);
    static const uint8_t FLAGS[] = {0, PMW_F_SEALED, PMW_F_URGENT};

    for (size_t i = 0; i < sizeof(FLAGS); i++) {
        for (uint16_t payload = 0; payload <= 255; payload += 51) {
            uint8_t rebuilt[PMW_FRAME_BYTES_BASE], type = payload ? PMW_DATA : PMW_ACK;
            size_t len = short_frame(f->frame, type, CID, 9, payload, FLAGS[i]);
            sink_forget(&f->sink);
            assert_int_equal(client_gives(f->relay, 0, &CLIENT, f->frame, len), 0);
            assert_int_equal(f->sink.nb_sent, FLAGS[i] == PMW_F_URGENT); /* the flag itself is not needed behind us */
            struct taken taken = fake_take_last(&f->server, &f->sink, f->relay, HOLD_US);
            assert_int_equal(taken.header.nb_entries, 1);
            assert_int_equal(taken.entries[0].kind, PMW_ENTRY_SHORT);
            assert_int_equal(taken.entries[0].as_short.index, bound.index);
            assert_int_equal(taken.entries[0].as_short.generation, bound.generation & 15);
            f->frame[1] &= (uint8_t)~PMW_F_URGENT;
            assert_int_equal(pmw_short_to_frame(rebuilt, sizeof(rebuilt), &taken.entries[0].as_short, CID), len);
            assert_memory_equal(rebuilt, f->frame, len);

            sink_forget(&f->sink);
            fake_begin(&f->server);
            fake_put_short(&f->server, bound.index, bound.generation, f->frame, len);
            assert_int_equal(fake_send(&f->server, f->relay, 0), 0);
            assert_int_equal(f->sink.nb_sent, 1);
            assert_true(pmw_addr_equal(&f->sink.sent[0].to, &CLIENT));
            assert_int_equal(f->sink.sent[0].len, len);
            assert_memory_equal(f->sink.sent[0].buf, f->frame, len);
        }
    }
    assert_int_equal(stats_of(f).bindings_made, 1);
    assert_int_equal(stats_of(f).nb_bindings, 1);
}

static void test_what_fits_no_short_entry_goes_in_a_long_one(void **state)
{
    struct fixture *f = *state;
    bind(f, 0, CID);
    size_t len = short_frame(f->frame, PMW_DATA, CID, 9, 256, 0);

    client_gives(f->relay, 0, &CLIENT, f->frame, len);
    assert_int_equal(fake_take_last(&f->server, &f->sink, f->relay, HOLD_US).entries[0].kind, PMW_ENTRY_LONG_V4);
    len = data_frame(f->frame, CID, 64, PMW_F_RESEND);
    client_gives(f->relay, 0, &CLIENT, f->frame, len);
    struct taken taken = fake_take_last(&f->server, &f->sink, f->relay, HOLD_US);
    assert_int_equal(taken.entries[0].kind, PMW_ENTRY_LONG_V4);
    assert_memory_equal(taken.entries[0].as_long.frame, f->frame, len);
}

static void test_a_short_entry_that_names_it_says_that_the_server_knows(void **state)
{
    struct fixture *f = *state;
    struct pmw_bind asked = ask(f, 0, CID); /* and its BIND_ACK is lost */

    assert_int_equal(server_says_short(f, 0, asked.index, asked.generation), 0);
    assert_int_equal(client_to_server(f, 0, &CLIENT, CID).entries[0].kind, PMW_ENTRY_SHORT);
}

static void test_bind_is_said_again_after_a_while_each_time_later(void **state)
{
    struct fixture *f = *state;
    uint64_t now = 0, gaps[4] = {0};
    int nb_asked = 0;

    ask(f, 0, CID);
    for (uint64_t last = 0; nb_asked < 4; now += 1024) {
        struct taken taken = client_to_server(f, now, &CLIENT, CID);
        assert_int_equal(taken.entries[taken.header.nb_entries - 1].kind, PMW_ENTRY_LONG_V4);
        sink_forget(&f->sink);
        if (taken.header.nb_entries == 1)
            continue;
        assert_int_equal(taken.entries[0].kind, PMW_ENTRY_BIND);
        gaps[nb_asked++] = now - last;
        last = now;
    }
    assert_true(gaps[0] >= 20000 && gaps[0] < 23000);
    for (int i = 1; i < 4; i++)
        assert_true(gaps[i] >= 2 * gaps[i - 1] - 2048);
}

/* A wrong generation is a binding of an older life of that index. */
static void test_short_entries_of_unknown_bindings_are_dropped_and_the_server_told(void **state)
{
    struct fixture *f = *state;
    struct pmw_bind bound = bind(f, 0, CID);
    const struct {
        uint32_t index;
        uint8_t generation;
    } rows[] = {{bound.index, (bound.generation + 1) & 15}, {1, 0}, {300, 0}, {PMW_ENTRY_INDEX_MAX, 0}};

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        sink_forget(&f->sink);
        assert_int_equal(server_says_short(f, 0, rows[i].index, rows[i].generation), RELAY_DROP_BINDING_UNKNOWN);
        assert_int_equal(f->sink.nb_sent, 0);
        struct taken taken = fake_take_last(&f->server, &f->sink, f->relay, HOLD_US);
        assert_int_equal(taken.entries[0].kind, PMW_ENTRY_UNBIND);
        assert_int_equal(taken.entries[0].ref.index, rows[i].index);
        assert_int_equal(taken.entries[0].ref.generation, rows[i].generation);
    }
    assert_int_equal(stats_of(f).drops[RELAY_DROP_BINDING_UNKNOWN], 4);
}

static void test_bind_err_means_long_entries_and_a_new_bind_later(void **state)
{
    struct fixture *f = *state;
    struct pmw_bind bound = bind(f, 0, CID);

    server_says_ref(f, 0, PMW_ENTRY_BIND_ERR, &bound);
    struct taken taken = client_to_server(f, 250000, &CLIENT, CID);
    assert_int_equal(taken.header.nb_entries, 1);
    assert_int_equal(taken.entries[0].kind, PMW_ENTRY_LONG_V4);
    taken = client_to_server(f, 800000, &CLIENT, CID);
    assert_int_equal(taken.entries[0].kind, PMW_ENTRY_BIND);
    assert_int_not_equal(taken.entries[0].bind.index, bound.index); /* that one rests */
    assert_int_equal(stats_of(f).bindings_refused, 1);
}

static void test_a_servers_unbind_ends_it_too(void **state)
{
    struct fixture *f = *state;
    struct pmw_bind bound = bind(f, 0, CID), stale = bound;

    stale.generation ^= 1;
    server_says_ref(f, 0, PMW_ENTRY_UNBIND, &stale); /* of an older life: nothing happens */
    assert_int_equal(stats_of(f).nb_bindings, 1);
    server_says_ref(f, 0, PMW_ENTRY_UNBIND, &bound);
    assert_int_equal(stats_of(f).nb_bindings, 0);
    assert_int_equal(client_to_server(f, 0, &CLIENT, CID).entries[0].kind, PMW_ENTRY_BIND);
}

static void test_no_frame_from_elsewhere_moves_the_replies(void **state)
{
    struct fixture *f = *state;
    struct pmw_bind bound = bind(f, 0, CID);
    struct taken taken = client_to_server(f, 0, &ELSEWHERE, CID);

    assert_int_equal(taken.entries[0].kind, PMW_ENTRY_LONG_V4);
    assert_true(pmw_addr_equal(&taken.entries[0].as_long.client, &ELSEWHERE));
    sink_forget(&f->sink);
    assert_int_equal(server_says_short(f, 0, bound.index, bound.generation), 0);
    assert_true(pmw_addr_equal(&f->sink.sent[0].to, &CLIENT));
    assert_int_equal(client_to_server(f, 0, &CLIENT, CID).entries[0].kind, PMW_ENTRY_SHORT);
}

static void test_a_client_that_moved_is_bound_anew(void **state)
{
    struct fixture *f = *state;
    struct pmw_bind bound = bind(f, 0, CID);

    server_says_long(f, 0, &ELSEWHERE, CID); /* it had a RESUME */
    struct taken taken = client_to_server(f, 0, &ELSEWHERE, CID);
    assert_int_equal(taken.header.nb_entries, 3);
    assert_int_equal(taken.entries[0].kind, PMW_ENTRY_UNBIND);
    assert_int_equal(taken.entries[0].ref.index, bound.index);
    assert_int_equal(taken.entries[1].kind, PMW_ENTRY_BIND);
    assert_int_not_equal(taken.entries[1].bind.index, bound.index);
    assert_true(pmw_addr_equal(&taken.entries[1].bind.client, &ELSEWHERE));
    assert_int_equal(server_says_short(f, 0, bound.index, bound.generation), RELAY_DROP_BINDING_UNKNOWN);
}

static void test_the_binding_ends_with_its_flow_and_the_index_rests(void **state)
{
    struct fixture *f = *state;
    struct pmw_bind bound = bind(f, 0, CID);
    uint64_t now = 2 * f->config.flow_idle_us;

    for (int call = 0; call < 2; call++)
        relay_age(f->relay, now);
    struct taken taken = fake_take_last(&f->server, &f->sink, f->relay, now + HOLD_US);
    assert_int_equal(taken.entries[0].kind, PMW_ENTRY_UNBIND);
    assert_int_equal(taken.entries[0].ref.index, bound.index);
    assert_int_equal(taken.entries[0].ref.generation, bound.generation);
    assert_int_equal(bind(f, now + 1990000, OTHER_CID).index, 1);
    struct pmw_bind again = bind(f, now + 2010000, cid_of(1, 0, 7));
    assert_int_equal(again.index, bound.index);
    assert_int_equal(again.generation, (uint8_t)(bound.generation + 1));
    assert_int_equal(server_says_short(f, now, bound.index, bound.generation), RELAY_DROP_BINDING_UNKNOWN);
}

static void test_a_server_that_was_removed_for_a_while_keeps_its_bindings(void **state)
{
    struct fixture *f = *state;
    bind(f, 0, CID);

    assert_int_equal(relay_server_remove(f->relay, 1), 0);
    assert_int_equal(client_gives_short(f->relay, 0, &CLIENT, CID, 1), RELAY_DROP_UNKNOWN_SERVER);
    assert_int_equal(relay_server_set(f->relay, &f->server.is), 0);
    assert_int_equal(client_to_server(f, 0, &CLIENT, CID).entries[0].kind, PMW_ENTRY_SHORT);
}

static void test_other_keys_end_every_binding(void **state)
{
    struct fixture *f = *state;
    bind(f, 0, CID);

    f->server.is.trunk_key_to_helper[0] ^= 1;
    f->server.seq = 0;
    assert_int_equal(relay_server_set(f->relay, &f->server.is), 0);
    assert_int_equal(stats_of(f).nb_bindings, 0);
    assert_int_equal(client_to_server(f, 0, &CLIENT, CID).entries[0].kind, PMW_ENTRY_LONG_V4);
    assert_int_equal(server_says_short(f, 0, 0, 0), RELAY_DROP_BINDING_UNKNOWN);
}

/* A worker that took over: same helper id, next incarnation, and so other trunk keys (K5). */
static void restart(struct fixture *f, struct relay_server *before)
{
    *before = f->server.is;
    relay_free(f->relay);
    sink_forget(&f->sink);
    f->config.incarnation++;
    f->server.is.trunk_key_to_helper[0] ^= 0x55;
    f->server.is.trunk_key_to_server[0] ^= 0x55;
    assert_int_equal(relay_new(&f->relay, &f->config), 0);
    assert_int_equal(relay_server_set(f->relay, &f->server.is), 0);
}

/* SIGKILL between BIND and BIND_ACK: the answer of a trunk that is gone binds nothing in the next worker, where the
 * same index stands for another flow. */
static void test_an_ack_of_the_last_incarnation_binds_nothing(void **state)
{
    struct fixture *f = *state;
    struct relay_server before;
    struct pmw_bind old = ask(f, 0, CID);

    restart(f, &before);
    f->server.seq = 0;
    struct pmw_bind new = ask(f, 0, OTHER_CID);
    assert_int_equal(new.index, old.index);

    struct fake_server late = {.is = before, .seq = 50};
    fake_begin(&late);
    fake_put_ref(&late, PMW_ENTRY_BIND_ACK, old.index, new.generation);
    fake_put_short(&late, old.index, new.generation, f->frame, short_frame(f->frame, PMW_DATA, 0, 3, 20, 0));
    assert_int_equal(fake_send(&late, f->relay, 0), RELAY_DROP_TRUNK_TAG);
    assert_int_equal(f->sink.nb_sent, 0);
    assert_int_equal(stats_of(f).bindings_made, 0);
    assert_int_equal(client_to_server(f, 0, &CLIENT, OTHER_CID).entries[0].kind, PMW_ENTRY_LONG_V4);
}

/* The next worker of the helper id gives the same indexes to other flows: late replies that name them reach nobody. */
static void test_replies_to_the_last_incarnation_reach_nobody(void **state)
{
    struct fixture *f = *state;
    struct relay_server before;
    struct pmw_bind old = bind(f, 0, CID);

    restart(f, &before);
    f->server.seq = 0;
    struct pmw_bind new = bind(f, 0, OTHER_CID);
    assert_int_equal(new.index, old.index);
    assert_int_equal(new.generation & 15, old.generation & 15); /* the generation alone would not tell them apart */

    struct fake_server late = {.is = before, .seq = 50};
    sink_forget(&f->sink);
    fake_begin(&late);
    fake_put_short(&late, old.index, old.generation, f->frame, short_frame(f->frame, PMW_DATA, 0, 3, 20, 0));
    assert_int_equal(fake_send(&late, f->relay, 0), RELAY_DROP_TRUNK_TAG);
    assert_int_equal(f->sink.nb_sent, 0);
    assert_int_equal(server_says_short(f, 0, new.index, new.generation), 0); /* and its own do */
    assert_int_equal(f->sink.nb_sent, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_flow_is_bound_when_its_server_knows_the_client),
        TEST(test_a_flow_of_long_frames_needs_no_binding),
        TEST(test_a_bound_flow_travels_in_short_entries_both_ways),
        TEST(test_what_fits_no_short_entry_goes_in_a_long_one),
        TEST(test_a_short_entry_that_names_it_says_that_the_server_knows),
        TEST(test_bind_is_said_again_after_a_while_each_time_later),
        TEST(test_short_entries_of_unknown_bindings_are_dropped_and_the_server_told),
        TEST(test_bind_err_means_long_entries_and_a_new_bind_later),
        TEST(test_a_servers_unbind_ends_it_too),
        TEST(test_no_frame_from_elsewhere_moves_the_replies),
        TEST(test_a_client_that_moved_is_bound_anew),
        TEST(test_the_binding_ends_with_its_flow_and_the_index_rests),
        TEST(test_a_server_that_was_removed_for_a_while_keeps_its_bindings),
        TEST(test_other_keys_end_every_binding),
        TEST(test_an_ack_of_the_last_incarnation_binds_nothing),
        TEST(test_replies_to_the_last_incarnation_reach_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
