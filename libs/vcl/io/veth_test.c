/* SPDX-License-Identifier: Apache-2.0
 *
 * What an AF_PACKET port behind a veth sees of a run of datagrams: each in a frame of its own, whether the veth takes
 * UDP_SEGMENT messages whole (the run is not merged) or has the kernel cut them up (it is). Skipped where no network
 * namespace can be made. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <linux/ethtool.h>
#include <linux/if_packet.h>
#include <linux/sockios.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "udp.h"

enum { NB_DATAGRAMS = 8, DATAGRAM_BYTES = 1200, HEADER_BYTES = 14 + 20 + 8 };

static const struct pmw_addr helper = {.ip = {198, 18, 9, 2}, .port = 4702, .family = 4};

static int make_veth(void **state)
{
    if (unshare(CLONE_NEWNET) < 0)
        return 0; /* each test then skips */
    static bool made;
    made = system("ip link add near type veth peer name far && ip addr add 198.18.9.1/24 dev near && "
                  "ip link set near up && ip link set far up && "
                  "ip neigh add 198.18.9.2 lladdr 02:00:00:00:00:02 dev near") == 0;
    *state = &made;
    return 0;
}

static int port_open(void)
{
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_IP));
    struct sockaddr_ll far = {
        .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_IP), .sll_ifindex = (int)if_nametoindex("far")};
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&far, sizeof(far)), 0);
    return fd;
}

static void send_run(struct vcl_io_stats *stats)
{
    struct pmw_addr any = {.family = 4};
    struct vcl_udp u;
    struct vcl_udp_tx *tx = calloc(1, sizeof(*tx));
    int fd = vcl_udp_open(&any);
    assert_true(fd >= 0);
    assert_int_equal(vcl__udp_adopt(&u, fd, true, false, stats), 0);
    for (; tx->nb < NB_DATAGRAMS; tx->nb++) {
        tx->slots[tx->nb].to = helper;
        tx->slots[tx->nb].len = DATAGRAM_BYTES;
    }
    assert_int_equal(vcl__udp_send(&u, tx), 0);
    assert_int_equal(stats->tx_datagrams, NB_DATAGRAMS);
    free(tx);
    close(fd);
}

static void each_datagram_has_its_frame(int port)
{
    static uint8_t frame[65536];
    for (int i = 0; i < NB_DATAGRAMS; i++) {
        struct pollfd p = {.fd = port, .events = POLLIN};
        assert_int_equal(poll(&p, 1, 5000), 1);
        assert_int_equal(recv(port, frame, sizeof(frame), 0), HEADER_BYTES + DATAGRAM_BYTES);
    }
    assert_int_equal(recv(port, frame, sizeof(frame), MSG_DONTWAIT), -1);
}

static void a_veth_that_takes_messages_whole_gets_none(void **state)
{
    struct vcl_io_stats stats = {0};
    if (*state == NULL || !*(bool *)*state)
        skip();
    int port = port_open();
    send_run(&stats);
    assert_int_equal(stats.tx_gso_messages, 0);
    assert_int_equal(stats.tx_gso_avoided, NB_DATAGRAMS - 1);
    each_datagram_has_its_frame(port);
    close(port);
}

static void a_veth_that_leaves_it_to_the_kernel_gets_them(void **state)
{
    struct vcl_io_stats stats = {0};
    struct ethtool_value off = {.cmd = ETHTOOL_STXCSUM, .data = 0}, gso = {.cmd = ETHTOOL_SGSO, .data = 0};
    struct ifreq request = {.ifr_name = "near", .ifr_data = (void *)&off};
    if (*state == NULL || !*(bool *)*state)
        skip();
    int port = port_open();
    /* As ./postman lab does: ethtool -K near tx off gso off. */
    assert_int_equal(ioctl(port, SIOCETHTOOL, &request), 0);
    request.ifr_data = (void *)&gso;
    assert_int_equal(ioctl(port, SIOCETHTOOL, &request), 0);
    send_run(&stats);
    assert_int_equal(stats.tx_gso_messages, 1);
    each_datagram_has_its_frame(port);
    close(port);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_veth_that_takes_messages_whole_gets_none),
        cmocka_unit_test(a_veth_that_leaves_it_to_the_kernel_gets_them),
    };
    return cmocka_run_group_tests(tests, make_veth, NULL);
}
