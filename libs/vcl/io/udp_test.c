/* SPDX-License-Identifier: Apache-2.0
 *
 * Bursts over loopback: whatever the kernel cuts and merges, each datagram arrives whole, in order, from its sender. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "udp.h"

struct ends {
    struct vcl_udp from, to;
    struct pmw_addr from_addr, to_addr;
    struct vcl_io_stats stats;
    struct vcl_udp_tx *tx;
    struct vcl_udp_rx *rx;
};

static void open_end(struct vcl_udp *u, struct pmw_addr *addr, bool gso, bool gro, struct vcl_io_stats *stats)
{
    struct pmw_addr loopback = {.ip = {127, 0, 0, 1}, .family = 4};
    int fd = vcl_udp_open(&loopback);
    assert_true(fd >= 0);
    assert_int_equal(vcl_udp_local_addr(fd, addr), 0);
    assert_int_equal(vcl__udp_adopt(u, fd, gso, gro, stats), 0);
}

static void ends_open(struct ends *e, bool gso, bool gro)
{
    memset(e, 0, sizeof(*e));
    open_end(&e->from, &e->from_addr, gso, false, &e->stats);
    open_end(&e->to, &e->to_addr, false, gro, &e->stats);
    e->tx = calloc(1, sizeof(*e->tx));
    e->rx = calloc(1, sizeof(*e->rx));
    vcl__udp_rx_init(e->rx);
}

static void ends_close(struct ends *e)
{
    close(e->from.fd);
    close(e->to.fd);
    free(e->tx);
    free(e->rx);
}

/* Each datagram names its number in every byte, so that a wrong cut shows. */
static void queue(struct ends *e, size_t len)
{
    struct vcl_datagram *d = &e->tx->slots[e->tx->nb];
    d->to = e->to_addr;
    d->len = len;
    memset(d->bytes, (int)e->tx->nb, len);
    e->tx->nb++;
}

static void expect_in_order(struct ends *e, const size_t *lens, unsigned nb)
{
    unsigned got = 0;
    while (got < nb) {
        struct pollfd p = {.fd = e->to.fd, .events = POLLIN};
        assert_int_equal(poll(&p, 1, 5000), 1);
        assert_true(vcl__udp_receive(&e->to, e->rx) > 0);
        struct pmw_addr from;
        const uint8_t *bytes;
        size_t len;
        while (vcl__udp_rx_next(e->rx, &from, &bytes, &len)) {
            assert_true(got < nb);
            assert_int_equal(len, lens[got]);
            assert_true(pmw_addr_equal(&from, &e->from_addr));
            for (size_t i = 0; i < len; i++)
                assert_int_equal(bytes[i], (uint8_t)got);
            got++;
        }
    }
    assert_int_equal(vcl__udp_receive(&e->to, e->rx), 0);
}

static void send_all(struct ends *e, const size_t *lens, unsigned nb)
{
    for (unsigned i = 0; i < nb; i++)
        queue(e, lens[i]);
    assert_int_equal(vcl__udp_send(&e->from, e->tx), 0);
    assert_int_equal(e->tx->nb, 0);
    assert_int_equal(e->stats.tx_datagrams, nb);
}

static const size_t runs[] = {100, 100, 100, 60, 100, 100, 1400, 1400, 1400, 1400, 7, 9, 9, 1, 1472, 1472, 1471};
enum { NB_RUNS = sizeof(runs) / sizeof(runs[0]) };

static void runs_arrive_as_sent(void **state)
{
    for (int mode = 0; mode < 4; mode++) {
        struct ends e;
        ends_open(&e, mode & 1, mode & 2);
        send_all(&e, runs, NB_RUNS);
        expect_in_order(&e, runs, NB_RUNS);
        if ((mode & 1) == 0)
            assert_int_equal(e.stats.tx_gso_messages, 0);
        ends_close(&e);
    }
}

static void a_full_burst_is_cut_at_the_kernels_limits(void **state)
{
    struct ends e;
    size_t lens[VCL_UDP_TX_SLOTS];
    for (unsigned i = 0; i < VCL_UDP_TX_SLOTS; i++)
        lens[i] = 1440; /* 45 of them exceed 64 KB */
    ends_open(&e, true, true);
    send_all(&e, lens, VCL_UDP_TX_SLOTS);
    expect_in_order(&e, lens, VCL_UDP_TX_SLOTS);
    ends_close(&e);
}

/* T9: what comes with CE is told; a batch leaves with ECT(0), whatever the socket says of the rest. */
static void marks_are_told_and_batches_can_be_marked(void **state)
{
    struct ends e;
    struct pmw_addr from;
    const uint8_t *bytes;
    size_t len;
    const int ce = 3;
    ends_open(&e, true, true);
    (void)setsockopt(e.from.fd, IPPROTO_IP, IP_TOS, &ce, sizeof(ce));
    if (e.from.v6)
        assert_int_equal(setsockopt(e.from.fd, IPPROTO_IPV6, IPV6_TCLASS, &ce, sizeof(ce)), 0);
    queue(&e, 100);
    queue(&e, 300);
    e.tx->slots[1].bytes[0] = PMW_FIRST_BYTE(PMW_TRUNK);
    assert_int_equal(vcl__udp_send(&e.from, e.tx), 0);
    for (unsigned got = 0; got < 2;) {
        struct pollfd p = {.fd = e.to.fd, .events = POLLIN};
        assert_int_equal(poll(&p, 1, 5000), 1);
        assert_true(vcl__udp_receive(&e.to, e.rx) > 0);
        for (; vcl__udp_rx_next(e.rx, &from, &bytes, &len); got++)
            assert_int_equal(e.rx->marked, len == 100);
    }
    ends_close(&e);
}

static void different_destinations_do_not_mix(void **state)
{
    struct ends e;
    struct vcl_udp other;
    struct pmw_addr other_addr;
    ends_open(&e, true, true);
    open_end(&other, &other_addr, false, true, &e.stats);
    for (unsigned i = 0; i < 8; i++) {
        queue(&e, 200);
        if (i % 2 == 1)
            e.tx->slots[i].to = other_addr;
    }
    assert_int_equal(vcl__udp_send(&e.from, e.tx), 0);
    assert_int_equal(e.stats.tx_gso_messages, 0);
    for (int side = 0; side < 2; side++) {
        unsigned got = 0;
        struct pmw_addr from;
        const uint8_t *bytes;
        size_t len;
        while (got < 4) {
            struct pollfd p = {.fd = side == 0 ? e.to.fd : other.fd, .events = POLLIN};
            assert_int_equal(poll(&p, 1, 5000), 1);
            vcl__udp_receive(side == 0 ? &e.to : &other, e.rx);
            for (; vcl__udp_rx_next(e.rx, &from, &bytes, &len); got++)
                assert_int_equal(bytes[0], got * 2 + (unsigned)side);
        }
    }
    close(other.fd);
    ends_close(&e);
}

static void what_cannot_be_sent_is_dropped_and_counted(void **state)
{
    struct ends e;
    ends_open(&e, true, false);
    queue(&e, 50);
    e.tx->slots[0].to = (struct pmw_addr){.ip = {0x20, 0x01}, .port = 1, .family = 6}; /* from an IPv4 socket */
    queue(&e, 50);
    e.tx->slots[1].to = (struct pmw_addr){.ip = {255, 255, 255, 255}, .port = 1, .family = 4}; /* EACCES */
    queue(&e, 50);
    assert_int_equal(vcl__udp_send(&e.from, e.tx), 0);
    assert_int_equal(e.stats.tx_drops, 2);
    assert_int_equal(e.stats.tx_datagrams, 1);
    ends_close(&e);
}

static void one_socket_serves_both_families(void **state)
{
    struct vcl_io_stats stats = {0};
    struct pmw_addr any = {.family = 0}, bound, from;
    struct vcl_udp u;
    int fd = vcl_udp_open(&any);
    assert_true(fd >= 0);
    assert_int_equal(vcl_udp_local_addr(fd, &bound), 0);
    assert_int_equal(vcl__udp_adopt(&u, fd, true, true, &stats), 0);
    struct vcl_udp_tx *tx = calloc(1, sizeof(*tx));
    struct vcl_udp_rx *rx = calloc(1, sizeof(*rx));
    vcl__udp_rx_init(rx);
    tx->nb = 1;
    tx->slots[0].len = 3;
    tx->slots[0].to = (struct pmw_addr){.ip = {127, 0, 0, 1}, .port = bound.port, .family = 4};
    assert_int_equal(vcl__udp_send(&u, tx), 0);
    struct pollfd p = {.fd = fd, .events = POLLIN};
    assert_int_equal(poll(&p, 1, 5000), 1);
    assert_int_equal(vcl__udp_receive(&u, rx), 1);
    const uint8_t *bytes;
    size_t len;
    assert_true(vcl__udp_rx_next(rx, &from, &bytes, &len));
    assert_int_equal(len, 3);
    assert_int_equal(from.family, 4); /* not its v4-mapped form */
    assert_int_equal(from.port, bound.port);
    close(fd);
    free(tx);
    free(rx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(runs_arrive_as_sent),
        cmocka_unit_test(a_full_burst_is_cut_at_the_kernels_limits),
        cmocka_unit_test(marks_are_told_and_batches_can_be_marked),
        cmocka_unit_test(different_destinations_do_not_mix),
        cmocka_unit_test(what_cannot_be_sent_is_dropped_and_counted),
        cmocka_unit_test(one_socket_serves_both_families),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
