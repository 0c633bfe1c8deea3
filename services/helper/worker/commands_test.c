/* SPDX-License-Identifier: Apache-2.0
 *
 * Each control command and each refusal, on a real relay and without DPDK.
 */
#include "commands.h"

#include <stdio.h>

#include "control.h"
#include "frame_fixture.h"
#include "relay_fixture.h"

#define KEYS " 000102030405060708090a0b0c0d0e0f f0e0d0c0b0a090807060504030201000"

struct fixture {
    struct worker worker;
    struct worker_config config;
    struct sink sink;
    char answer[CONTROL_ANSWER_BYTES_MAX];
};

static void no_ask(void *ctx, struct ip_addr ip)
{
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    struct relay_config relay = config_for(&f->sink);
    const struct neighbours_ports ports = {.ask = no_ask};

    relay.servers_max = 2;
    assert_int_equal(relay_new(&f->worker.relay, &relay), 0);
    neighbours_init(&f->worker.neighbours, zeroed(neighbours_bytes(1024)), 1024, &ports);
    f->config = (struct worker_config){.helper_id = 3, .incarnation = 9};
    f->worker.config = &f->config;
    f->worker.self = SELF;
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    relay_free(f->worker.relay);
    free(f->worker.neighbours.cells);
    free(f);
    return 0;
}

static const char *ask(struct fixture *f, const char *request)
{
    char line[CONTROL_LINE_BYTES_MAX + 1];

    snprintf(line, sizeof(line), "%s", request);
    size_t len = commands_execute(&f->worker, line, f->answer, sizeof(f->answer) - 1);
    assert_int_equal(strlen(f->answer), len);
    return f->answer;
}

static void refused(struct fixture *f, const char *request, const char *cause)
{
    static const char start[] = "{\"ok\":false,\"error\":\"";
    const char *answer = ask(f, request);

    if (strncmp(answer, start, sizeof(start) - 1) != 0 || !strstr(answer, cause))
        fail_msg("%s: %s", request, answer);
}

static void test_ping(void **state)
{
    static const char pong[] = "{\"ok\":true,\"helper_id\":3,\"incarnation\":9,\"draining\":false}";

    assert_string_equal(ask(*state, "ping"), pong);
    assert_string_equal(ask(*state, "  ping \t\r"), pong);
}

static void test_servers(void **state)
{
    struct fixture *f = *state;

    assert_string_equal(ask(f, "server set 7 0 198.18.0.2 9000" KEYS), "{\"ok\":true}");
    assert_string_equal(ask(f, "server set 7 1 198.18.0.2 9001" KEYS), "{\"ok\":true}");
    assert_string_equal(ask(f, "server set 7 1 198.18.0.3 9001" KEYS), "{\"ok\":true}");
    refused(f, "server set 8 0 198.18.0.2 9002" KEYS, "server table is full");
    assert_string_equal(ask(f, "server remove 7"), "{\"ok\":true,\"removed\":true}");
    assert_string_equal(ask(f, "server remove 7"), "{\"ok\":true,\"removed\":false}");
    assert_string_equal(ask(f, "server set 8 0 198.18.0.2 9002" KEYS), "{\"ok\":true}");
    assert_non_null(strstr(ask(f, "stats"), "\"nb_servers\":1"));
}

static void test_servers_that_cannot_be(void **state)
{
    struct fixture *f = *state;

    refused(f, "server set 0 0 198.18.0.2 9000" KEYS, "server_id");
    refused(f, "server set 65536 0 198.18.0.2 9000" KEYS, "server_id");
    refused(f, "server set x 0 198.18.0.2 9000" KEYS, "server_id");
    refused(f, "server set 1 256 198.18.0.2 9000" KEYS, "shard");
    refused(f, "server set 1 -1 198.18.0.2 9000" KEYS, "shard");
    refused(f, "server set 1 0 2001:db8::1 9000" KEYS, "IP version");
    refused(f, "server set 1 0 somewhere 9000" KEYS, "IP address");
    refused(f, "server set 1 0 198.18.0.10 9000" KEYS, "one other host");
    refused(f, "server set 1 0 198.18.0.255 9000" KEYS, "one other host");
    refused(f, "server set 1 0 224.0.0.1 9000" KEYS, "one other host");
    refused(f, "server set 1 0 198.18.1.2 9000" KEYS, "no gateway");
    refused(f, "server set 1 0 198.18.0.2 0" KEYS, "udp_port");
    refused(f, "server set 1 0 198.18.0.2 65536" KEYS, "udp_port");
    refused(f, "server set 1 0 198.18.0.2 9000 00 11", "32 hex digits");
    refused(f, "server set 1 0 198.18.0.2 9000" KEYS "g", "32 hex digits");
    refused(f, "server set 1 0 198.18.0.2 9000", "server set <server_id>");
    refused(f, "server set 1 0 198.18.0.2 9000" KEYS " more", "server set <server_id>");
    refused(f, "server set 1 0 198.18.0.2 9000" KEYS " more and more and more", "server set <server_id>");
    refused(f, "server remove", "server remove <server_id>");
    refused(f, "server remove 0", "server_id");
    f->worker.self.gateway = PEER_IP;
    assert_string_equal(ask(f, "server set 1 0 203.0.113.2 9000" KEYS), "{\"ok\":true}");
}

static void test_unknown_requests(void **state)
{
    struct fixture *f = *state;

    refused(f, "", "unknown command");
    refused(f, "   ", "unknown command");
    refused(f, "PING", "unknown command");
    refused(f, "server", "unknown command");
    refused(f, "server move 1", "unknown command");
    refused(f, "ping me", "ping");
    refused(f, "drain", "drain on|off");
    refused(f, "drain maybe", "drain on");
    refused(f, "\x01\xff\"\\", "unknown command");
}

static void test_drain_and_quit(void **state)
{
    struct fixture *f = *state;

    assert_string_equal(ask(f, "drain on"), "{\"ok\":true,\"draining\":true}");
    assert_true(f->worker.draining);
    assert_non_null(strstr(ask(f, "ping"), "\"draining\":true"));
    assert_string_equal(ask(f, "drain off"), "{\"ok\":true,\"draining\":false}");
    assert_false(f->worker.quit);
    assert_string_equal(ask(f, "quit"), "{\"ok\":true}");
    assert_true(f->worker.quit);
}

static void test_stats_show_every_counter(void **state)
{
    struct fixture *f = *state;

    f->worker.stats.drops[DROP_IP_CHECKSUM] = 12;
    f->worker.stats.rx_packets = UINT64_MAX;
    f->worker.load.share = 0.25;
    ask(f, "stats");
    assert_non_null(strstr(f->answer, "\"ip_checksum\":12,"));
    assert_non_null(strstr(f->answer, "\"rx_packets\":18446744073709551615,"));
    assert_non_null(strstr(f->answer, "\"load\":0.2500,"));
    assert_non_null(strstr(f->answer, "\"trunk_data_entries_out\":0,"));
    assert_string_equal(f->answer + strlen(f->answer) - 2, "}}");
}

static void test_neighbours_are_bounded(void **state)
{
    struct fixture *f = *state;
    int nb = 0;

    for (uint32_t i = 1; i <= 5000; i++)
        neighbours_learn(&f->worker.neighbours, 0, (struct ip_addr){.lo = PEER_IP.lo + i}, PEER_MAC, NEIGHBOUR_BY_ARP);
    ask(f, "neighbours");
    assert_non_null(strstr(f->answer, "\"mac\":\"02:00:00:00:00:01\",\"state\":\"proven\""));
    for (const char *at = f->answer; (at = strstr(at, "\"ip\"")); at++)
        nb++;
    assert_int_equal(nb, 400);
    assert_string_equal(f->answer + strlen(f->answer) - 3, "}]}");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_ping),
        TEST(test_servers),
        TEST(test_servers_that_cannot_be),
        TEST(test_unknown_requests),
        TEST(test_drain_and_quit),
        TEST(test_stats_show_every_counter),
        TEST(test_neighbours_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
