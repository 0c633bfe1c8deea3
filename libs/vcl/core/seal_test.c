/* SPDX-License-Identifier: Apache-2.0
 *
 * Encrypted connections (W11): negotiated or refused, blind for who carries them, no number used twice.
 */
#include "state.h"
#include "testkit.h"
#include "testnet.h"

#include <string.h>

enum { MS = 1000, SECOND = 1000000, TEXT_BYTES = 16 };

static const char text[TEXT_BYTES + 1] = "attack at dawn !";

struct watch {
    int sealed, plain, seen;  /* DATA and ACK of each kind; datagrams in which the text can be read */
    bool flip;                /* each sealed one is also delivered with one altered byte, before the true one */
    uint32_t numbers[2][512]; /* of each direction */
    int nb_numbers[2], nb_again;
};

static void note_number(struct watch *w, int direction, uint32_t number)
{
    for (int i = 0; i < w->nb_numbers[direction]; i++)
        w->nb_again += w->numbers[direction][i] == number;
    if (w->nb_numbers[direction] < 512)
        w->numbers[direction][w->nb_numbers[direction]++] = number;
}

static void flip_each_byte(struct testnet *n, const struct flight *f)
{
    struct vcl_engine *to = pmw_addr_equal(&f->to, &n->server_addr) ? n->server : n->client;
    uint8_t bytes[PMW_FRAME_BYTES_MAX];
    struct vcl_datagram out;
    for (size_t i = 1; i < f->len; i++) {
        memcpy(bytes, f->bytes, f->len);
        bytes[i] ^= (uint8_t)(1u << (i % 8));
        if (i == 1)
            bytes[i] = f->bytes[i] ^ PMW_F_FIN;
        assert_true(vcl_engine_receive(to, n->now, &f->from, bytes, f->len) > 0);
        if (to == n->server)
            assert_int_equal(vcl_engine_send(to, n->now, &out), 0);
    }
}

static enum verdict look(struct testnet *n, struct flight *f)
{
    struct watch *w = n->filter_ctx;
    struct pmw_frame frame;
    for (size_t i = 0; i + TEXT_BYTES <= f->len; i++)
        w->seen += memcmp(f->bytes + i, text, TEXT_BYTES) == 0;
    int type = pmw_type_of(f->bytes, f->len);
    if ((type != PMW_DATA && type != PMW_ACK) || pmw_frame_decode(f->bytes, f->len, &frame) < 0)
        return DELIVER;
    if ((frame.flags & PMW_F_SEALED) == 0) {
        w->plain++;
        return DELIVER;
    }
    w->sealed++;
    if (!pmw_addr_equal(&f->from, &n->relays[0].addr))
        note_number(w, pmw_addr_equal(&f->from, &n->client_addr), frame.packet_number);
    if (w->flip)
        flip_each_byte(n, f);
    return DELIVER;
}

static void open_sealed(struct testnet *n, struct vcl_conn **c, struct vcl_conn **s)
{
    struct vcl_conn_info info;
    assert_int_equal(vcl_conn_open(n->session, n->now, c), VCL_OK);
    assert_int_equal(vcl_conn_encrypt(*c), VCL_OK);
    testnet_run(n, n->now + 20 * MS);
    assert_int_equal(vcl_conn_accept(n->server, s), VCL_OK);
    vcl_conn_info(*c, &info);
    assert_true(info.encrypted);
    vcl_conn_info(*s, &info);
    assert_true(info.encrypted);
}

static void say(struct testnet *n, struct vcl_conn *from, struct vcl_conn *to)
{
    char got[TEXT_BYTES + 1] = "";
    assert_int_equal(vcl_conn_write(from, n->now, text, TEXT_BYTES), TEXT_BYTES);
    testnet_run(n, n->now + 10 * MS);
    assert_int_equal(vcl_conn_read(to, n->now, got, sizeof(got), false), TEXT_BYTES);
    assert_memory_equal(got, text, TEXT_BYTES);
}

/* Neither on the client's leg nor in the batches of a helper; every DATA and ACK is sealed; a plain connection of the
 * same session shows what the test would see otherwise. */
static void w11_helpers_see_no_payload(void **state)
{
    for (int nb_relays = 0; nb_relays < 2; nb_relays++) {
        struct testnet n;
        struct vcl_conn *c, *s;
        struct watch w = {0};
        testnet_init(&n, nb_relays);
        n.filter = look;
        n.filter_ctx = &w;
        testnet_start(&n);
        open_sealed(&n, &c, &s);
        say(&n, c, s);
        say(&n, s, c);
        assert_int_equal(w.seen, 0);
        assert_int_equal(w.plain, 0);
        assert_true(w.sealed >= 4);
        testnet_open(&n, &c, &s);
        say(&n, c, s);
        assert_true(w.seen > 0 && w.plain > 0);
        testnet_stop(&n);
    }
}

/* Any bit of a sealed frame, in its header too: dropped, and nothing else. */
static void w11_an_altered_frame_is_none(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s;
    struct watch w = {.flip = true};
    testnet_init(&n, 0);
    n.filter = look;
    n.filter_ctx = &w;
    testnet_start(&n);
    open_sealed(&n, &c, &s);
    say(&n, c, s);
    say(&n, s, c);
    assert_int_equal(vcl_conn_error(c), VCL_OK);
    assert_int_equal(vcl_conn_error(s), VCL_OK);
    testnet_stop(&n);
}

static enum verdict lose_half(struct testnet *n, struct flight *f)
{
    enum verdict v = look(n, f);
    return pmw_type_of(f->bytes, f->len) == PMW_DATA && f->number % 2 == 0 ? DROP : v;
}

/* A resent frame has a new number: under loss every number is seen once on its leg, and all bytes arrive. */
static void w11_a_number_is_used_once(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s;
    struct watch w = {0};
    testnet_init(&n, 0);
    n.filter_ctx = &w;
    testnet_start(&n);
    open_sealed(&n, &c, &s);
    n.filter = lose_half;
    uint64_t got = 0;
    assert_int_equal(testnet_write(&n, c, 0, 100000, 1), 100000);
    for (int i = 0; i < 100 && got < 100000; i++) {
        testnet_run(&n, n.now + 50 * MS);
        got += testnet_read(&n, s, got, 1);
    }
    assert_int_equal(got, 100000);
    assert_int_equal(w.nb_again, 0);
    assert_true(w.nb_numbers[1] > 12);
    testnet_stop(&n);
}

static enum verdict without_cipher(struct testnet *n, struct flight *f)
{
    struct pmw_open o;
    if (pmw_type_of(f->bytes, f->len) != PMW_OPEN)
        return DELIVER;
    assert_true(pmw_open_decode(f->bytes, f->len, &o) >= 0);
    o.features = n->filter_ctx != NULL ? 0 : o.features & PMW_FEATURE_SHORT;
    pmw_open_encode(f->bytes, sizeof(f->bytes), &o);
    pmw_control_seal(f->bytes, f->len, n->session->keys.mac_c2s); /* as if the server had not understood */
    return DELIVER;
}

/* A server without the cipher: no connection, at neither end, and never a byte in clear. */
static void w11_who_demands_a_cipher_gets_it_or_nothing(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s;
    struct vcl_stats st;
    testnet_init(&n, 0);
    n.filter = without_cipher;
    testnet_start(&n);
    assert_int_equal(vcl_conn_open(n.session, n.now, &c), VCL_OK);
    assert_int_equal(vcl_conn_encrypt(c), VCL_OK);
    vcl_conn_write(c, n.now, text, TEXT_BYTES);
    testnet_run(&n, n.now + SECOND);
    assert_int_equal(vcl_conn_error(c), VCL_ERR_REFUSED);
    assert_int_equal(vcl_conn_accept(n.server, &s), VCL_ERR_AGAIN);
    vcl_engine_stats(n.server, &st);
    assert_int_equal(st.nb_conns, 0);
    assert_int_equal(st.data_frames_in, 0);
    testnet_stop(&n);
}

static enum verdict unseal(struct testnet *n, struct flight *f)
{
    struct pmw_frame frame;
    uint8_t payload[PMW_PAYLOAD_BYTES_BASE];
    if (pmw_type_of(f->bytes, f->len) != PMW_DATA || pmw_frame_decode(f->bytes, f->len, &frame) < 0)
        return DELIVER;
    frame.flags = (uint8_t)((frame.flags & ~PMW_F_SEALED) | PMW_F_CHECK);
    memcpy(payload, frame.payload, frame.payload_len);
    int len = pmw_frame_encode(f->bytes, sizeof(f->bytes), &frame, payload);
    struct vcl_session *s = n->session;
    struct pmw_check_seed seed = {s->keys.check_c2s, frame.cid, frame.seq, frame.ack, s->epoch};
    pmw_frame_seal(f->bytes, (size_t)len, &seed);
    f->len = (size_t)len;
    return DELIVER;
}

/* Not even with the secret of the check: a sealed connection takes no plain frame. */
static void w11_a_sealed_connection_takes_no_plain_frame(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s;
    struct vcl_stats st;
    testnet_init(&n, 0);
    testnet_start(&n);
    open_sealed(&n, &c, &s);
    n.filter = unseal;
    vcl_conn_write(c, n.now, text, TEXT_BYTES);
    testnet_run(&n, n.now + 50 * MS);
    assert_int_equal(vcl_conn_readable(s), 0);
    vcl_engine_stats(n.server, &st);
    assert_true(st.drops[VCL_DROP_CHECK] > 0);
    n.filter = NULL;
    testnet_run(&n, n.now + SECOND);
    assert_int_equal(vcl_conn_readable(s), TEXT_BYTES);
    testnet_stop(&n);
}

/* 2^32 frames: the end of the connection, not of its nonces. */
static void w11_no_number_is_left(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s;
    testnet_init(&n, 0);
    testnet_start(&n);
    open_sealed(&n, &c, &s);
    c->seal->next_out = s->seal->next_out = UINT64_C(0xfffffff0);
    s->seal->highest_in = c->seal->highest_in = UINT64_C(0xffffffe0);
    say(&n, c, s);
    for (int i = 0; i < 40 && vcl_conn_error(c) == VCL_OK; i++) {
        vcl_conn_write(c, n.now, text, TEXT_BYTES);
        testnet_run(&n, n.now + 2 * MS);
        assert_true(c->seal->next_out <= UINT64_C(0x100000000));
    }
    assert_int_equal(vcl_conn_error(c), VCL_ERR_RESET);
    testnet_run(&n, n.now + 10 * MS);
    assert_int_equal(vcl_conn_error(s), VCL_ERR_RESET);
    testnet_stop(&n);
}

/* An allocation that fails: no connection, or one that works; never one in clear. */
static void w11_memory_runs_dry(void **state)
{
    for (uint64_t fails_at = 1; fails_at < 40; fails_at++) {
        struct testnet n;
        struct vcl_conn *c, *s;
        struct watch w = {0};
        testnet_init(&n, 0);
        testnet_start(&n);
        n.filter = look;
        n.filter_ctx = &w;
        n.alloc_fails_at = fails_at;
        if (vcl_conn_open(n.session, n.now, &c) == VCL_OK && vcl_conn_encrypt(c) == VCL_OK) {
            int64_t took = vcl_conn_write(c, n.now, text, TEXT_BYTES);
            testnet_run(&n, n.now + SECOND);
            if (vcl_conn_error(c) == VCL_OK) {
                assert_int_equal(vcl_conn_accept(n.server, &s), VCL_OK);
                assert_int_equal(vcl_conn_readable(s), took > 0 ? took : 0);
            }
        }
        assert_int_equal(w.seen + w.plain, 0);
        testnet_stop(&n);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(w11_helpers_see_no_payload),
        cmocka_unit_test(w11_an_altered_frame_is_none),
        cmocka_unit_test(w11_a_number_is_used_once),
        cmocka_unit_test(w11_who_demands_a_cipher_gets_it_or_nothing),
        cmocka_unit_test(w11_a_sealed_connection_takes_no_plain_frame),
        cmocka_unit_test(w11_no_number_is_left),
        cmocka_unit_test(w11_memory_runs_dry),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
