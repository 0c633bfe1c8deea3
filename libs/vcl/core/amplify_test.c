/* SPDX-License-Identifier: Apache-2.0
 *
 * Nobody but the client itself is flooded (S18): a client with a good token names somebody else's address as its own.
 * Whatever it sends in that name, and whatever it knows, that address gets three times those bytes at most.
 */
#include "paths_kit.h"

#include "state.h"

static const struct pmw_addr victim = {.ip = {203, 0, 113, 66}, .port = 6666, .family = 4};

static uint64_t to_victim, in_its_name;
static struct flight opened; /* the client's OPEN */
static bool open_is_mine;    /* it is kept, and does not leave */

static enum verdict watch(struct testnet *n, struct flight *f)
{
    if (pmw_addr_equal(&f->to, &victim)) {
        to_victim += f->len;
        return DROP;
    }
    if (!pmw_addr_equal(&f->from, &n->client_addr) || pmw_type_of(f->bytes, f->len) != PMW_OPEN)
        return DELIVER;
    opened = *f;
    return open_is_mine ? DROP : DELIVER;
}

static void say(struct testnet *n, const uint8_t *buf, size_t len)
{
    in_its_name += len;
    vcl_engine_receive(n->server, n->now, &victim, buf, len);
    testnet_run(n, n->now + 1);
}

static void begin(struct testnet *n, bool keep_open)
{
    to_victim = in_its_name = 0;
    open_is_mine = keep_open;
    testnet_init(n, 0);
    testnet_start(n);
    n->filter = watch;
}

/* The server's end of a connection that was opened in the victim's name alone. */
static struct vcl_conn *open_in_its_name(struct testnet *n, struct vcl_conn **client)
{
    struct vcl_conn *s;
    begin(n, true);
    assert_int_equal(vcl_conn_open(n->session, n->now, client), VCL_OK);
    testnet_flush(n);
    say(n, opened.bytes, opened.len);
    assert_int_equal(vcl_conn_accept(n->server, &s), VCL_OK);
    return s;
}

/* What the id, the keys and some imagination make: an acknowledgement. */
static void acknowledge(struct testnet *n, const struct vcl_conn *c, uint64_t cid, uint64_t ack)
{
    struct pmw_frame f = {
        .type = PMW_ACK, .flags = PMW_F_CHECK, .epoch8 = 1, .cid = cid, .ack = (uint32_t)ack, .window = 4096};
    struct pmw_check_seed seed = {.secret = c->s->keys.check_c2s, .cid = cid, .ack = ack, .epoch = 1};
    uint8_t buf[PMW_FRAME_HEADER_BYTES + PMW_CHECK_BYTES];
    int len = pmw_frame_encode(buf, sizeof(buf), &f, NULL);
    assert_int_equal(len, sizeof(buf));
    pmw_frame_seal(buf, sizeof(buf), &seed);
    say(n, buf, sizeof(buf));
}

static void s18_open_counts_with_its_answer_and_no_sizes_are_asked_for(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s = open_in_its_name(&n, &c);
    testnet_write(&n, s, 0, 200000, 2); /* enough for probes of size (S21) */
    testnet_run(&n, n.now + 5 * SECOND);
    assert_true(to_victim > 0);
    assert_true(to_victim <= 3 * in_its_name);
    testnet_stop(&n);
}

static void s18_probes_count_with_their_answers(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s = open_in_its_name(&n, &c);
    testnet_write(&n, s, 0, 200000, 2);
    for (int i = 0; i < 100; i++) {
        uint8_t buf[PMW_PROBE_BYTES];
        struct pmw_probe p = {.session_id = n.session->id,
                              .nonce = (uint64_t)i,
                              .epoch = i % 2, /* 0: answered where it came from (S8) */
                              .server_id = TESTNET_SERVER_ID,
                              .bytes = PMW_PROBE_BYTES};
        int len = pmw_probe_encode(buf, sizeof(buf), PMW_PROBE, &p);
        pmw_control_seal(buf, (size_t)len, n.session->keys.mac_c2s);
        say(&n, buf, (size_t)len);
        testnet_run(&n, n.now + 10 * MS);
        assert_true(to_victim <= 3 * in_its_name);
    }
    testnet_stop(&n);
}

/* S2 tells the id to everybody who repeats the OPEN: it proves no address any more. */
static void s18_an_id_that_was_told_elsewhere_proves_nothing(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s = open_in_its_name(&n, &c);
    struct vcl_conn_info info;
    vcl_engine_receive(n.server, n.now, &n.client_addr, opened.bytes, opened.len);
    testnet_run(&n, n.now + MS);
    vcl_conn_info(c, &info);
    assert_true(info.cid != 0); /* it knows the id */
    testnet_write(&n, s, 0, 200000, 2);
    for (int i = 0; i < 20; i++) {
        acknowledge(&n, c, info.cid, s->snd_nxt);
        testnet_run(&n, n.now + MS);
        assert_true(to_victim <= 3 * in_its_name);
    }
    testnet_stop(&n);
}

/* An id proves the path of the first OPEN, not one that a RESUME named. */
static void s18_an_id_proves_no_other_path_than_the_first(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s;
    struct vcl_conn_info info;
    begin(&n, false);
    testnet_open(&n, &c, &s);
    vcl_conn_info(c, &info);
    struct pmw_resume r = {.session_id = n.session->id, .nonce = 99, .epoch = 2, .server_id = TESTNET_SERVER_ID};
    uint8_t buf[PMW_RESUME_FIXED_BYTES];
    int len = pmw_resume_encode(buf, sizeof(buf), &r);
    pmw_control_seal(buf, (size_t)len, n.session->keys.mac_c2s);
    say(&n, buf, (size_t)len);
    testnet_write(&n, s, 0, 200000, 2);
    for (int i = 0; i < 20; i++) {
        acknowledge(&n, c, info.cid, s->snd_nxt);
        assert_true(to_victim <= 3 * in_its_name);
    }
    testnet_stop(&n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(s18_open_counts_with_its_answer_and_no_sizes_are_asked_for),
        cmocka_unit_test(s18_probes_count_with_their_answers),
        cmocka_unit_test(s18_an_id_that_was_told_elsewhere_proves_nothing),
        cmocka_unit_test(s18_an_id_proves_no_other_path_than_the_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
